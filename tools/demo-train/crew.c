/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One lock, two conditions: a job is there, a job is done. Parts are handed out under the lock. */
#include "crew.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct crew {
	pthread_t *helpers;
	int n_helpers;
	struct {
		pthread_mutex_t lock;
		pthread_cond_t has_parts, is_done;
		void (*work)(void *data, int part);
		void *data;
		int next, n_parts, n_open; /* n_open: handed out or not, but not done */
		bool is_over;
	} shared; /* all under lock */
};

/* Caller holds the lock, which is open while the part is worked on. */
static void take_part(struct crew *crew)
{
	int part = crew->shared.next++;

	pthread_mutex_unlock(&crew->shared.lock);
	crew->shared.work(crew->shared.data, part);
	pthread_mutex_lock(&crew->shared.lock);
	if (--crew->shared.n_open == 0)
		pthread_cond_signal(&crew->shared.is_done);
}

static void *help(void *data)
{
	struct crew *crew = data;

	pthread_mutex_lock(&crew->shared.lock);
	while (!crew->shared.is_over) {
		if (crew->shared.next < crew->shared.n_parts)
			take_part(crew);
		else
			pthread_cond_wait(&crew->shared.has_parts, &crew->shared.lock);
	}
	pthread_mutex_unlock(&crew->shared.lock);
	return NULL;
}

/* Signals stay with the caller's thread. */
static int start_helpers(struct crew *crew, int n)
{
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (r == 0 && crew->n_helpers < n) {
		r = -pthread_create(&crew->helpers[crew->n_helpers], NULL, help, crew);
		crew->n_helpers += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int crew_new(int n_threads, struct crew **ret)
{
	struct crew *crew = calloc(1, sizeof(*crew));
	int r;

	if (!crew)
		return -ENOMEM;
	pthread_mutex_init(&crew->shared.lock, NULL);
	pthread_cond_init(&crew->shared.has_parts, NULL);
	pthread_cond_init(&crew->shared.is_done, NULL);
	crew->helpers = calloc((size_t)n_threads, sizeof(*crew->helpers));
	r = crew->helpers ? start_helpers(crew, n_threads - 1) : -ENOMEM;
	if (r < 0) {
		crew_free(crew);
		return r;
	}
	*ret = crew;
	return 0;
}

struct crew *crew_free(struct crew *crew)
{
	if (!crew)
		return NULL;
	pthread_mutex_lock(&crew->shared.lock);
	crew->shared.is_over = true;
	pthread_cond_broadcast(&crew->shared.has_parts);
	pthread_mutex_unlock(&crew->shared.lock);
	while (crew->n_helpers > 0)
		pthread_join(crew->helpers[--crew->n_helpers], NULL);
	pthread_cond_destroy(&crew->shared.is_done);
	pthread_cond_destroy(&crew->shared.has_parts);
	pthread_mutex_destroy(&crew->shared.lock);
	free(crew->helpers);
	free(crew);
	return NULL;
}

void crew_run(struct crew *crew, void (*work)(void *data, int part), void *data, int n_parts)
{
	pthread_mutex_lock(&crew->shared.lock);
	crew->shared.work = work;
	crew->shared.data = data;
	crew->shared.next = 0;
	crew->shared.n_parts = crew->shared.n_open = n_parts;
	pthread_cond_broadcast(&crew->shared.has_parts);
	while (crew->shared.next < n_parts)
		take_part(crew);
	while (crew->shared.n_open > 0)
		pthread_cond_wait(&crew->shared.is_done, &crew->shared.lock);
	pthread_mutex_unlock(&crew->shared.lock);
}
