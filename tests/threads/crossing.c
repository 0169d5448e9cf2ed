/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One session, five threads: crossing SOCKET FEED EPOCHS. The main thread calls rf_session_next(); two threads read the
 * batches and release them, in any order; two ask the session where it stands all the while. Prints how many rows
 * came and the sum of their indices. Its point is to run under ThreadSanitizer, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringfeed/ringfeed.h>

enum { READERS = 2, ASKERS = 2, ROOM = 64 };

struct crossing {
	struct rf_session *session;
	pthread_mutex_t lock;
	pthread_cond_t is_filled;
	struct rf_batch *queue[ROOM]; /* under the lock, as all that follows */
	unsigned n_queued;
	bool is_over;
	int64_t n_rows, sum;
	unsigned long bytes; /* added up, so that they are read */
};

static void check(int64_t r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "crossing: %s: %" PRId64 "\n", what, r);
	exit(1);
}

/* The oldest batch, or NULL at the end. */
static struct rf_batch *take(struct crossing *c)
{
	struct rf_batch *b = NULL;

	pthread_mutex_lock(&c->lock);
	while (c->n_queued == 0 && !c->is_over)
		pthread_cond_wait(&c->is_filled, &c->lock);
	if (c->n_queued > 0)
		b = c->queue[--c->n_queued];
	pthread_mutex_unlock(&c->lock);
	return b;
}

static void read_batch(struct crossing *c, struct rf_batch *b)
{
	const int64_t n_rows = rf_batch_n_rows(b), *index = rf_batch_index(b);
	struct rf_array array;
	unsigned long bytes = 0;
	int64_t sum = 0;

	check(n_rows, "rf_batch_n_rows");
	for (int64_t i = 0; i < n_rows; i++)
		sum += index[i];
	check(rf_batch_array(b, rf_session_field_name(c->session, 0), &array), "rf_batch_array");
	for (size_t i = 0; i < array.n_bytes; i += 97)
		bytes += ((const unsigned char *)array.data)[i];
	check(rf_batch_release(b), "rf_batch_release");
	if (rf_batch_release(b) != -EALREADY)
		check(-EINVAL, "a second release");
	pthread_mutex_lock(&c->lock);
	c->n_rows += n_rows;
	c->sum += sum;
	c->bytes += bytes;
	pthread_mutex_unlock(&c->lock);
}

static void *read_all(void *context)
{
	struct crossing *c = context;
	struct rf_batch *b;

	while ((b = take(c)))
		read_batch(c, b);
	return NULL;
}

static void *ask_all(void *context)
{
	struct crossing *c = context;
	char text[1024];
	bool is_over = false;

	while (!is_over) {
		check(rf_session_token(c->session, text, sizeof(text)), "rf_session_token");
		check(rf_session_n_returned(c->session), "rf_session_n_returned");
		check(rf_session_wait_ns(c->session), "rf_session_wait_ns");
		check(rf_session_epoch(c->session), "rf_session_epoch");
		check(rf_session_pinned(c->session, text, sizeof(text)), "rf_session_pinned");
		pthread_mutex_lock(&c->lock);
		is_over = c->is_over;
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static void hand_on(struct crossing *c, struct rf_batch *b)
{
	pthread_mutex_lock(&c->lock);
	c->queue[c->n_queued++] = b; /* never full: there are fewer slots */
	pthread_cond_signal(&c->is_filled);
	pthread_mutex_unlock(&c->lock);
}

/* All that may be lent is held by the readers: they will release it. */
static struct rf_batch *next(struct crossing *c)
{
	struct rf_batch *b = NULL;
	int r;

	while ((r = rf_session_next(c->session, 20000, &b)) == -ENOBUFS)
		sched_yield();
	if (r != -ENODATA)
		check(r, "rf_session_next");
	return b;
}

int main(int argc, char **argv)
{
	static struct crossing c = {.lock = PTHREAD_MUTEX_INITIALIZER, .is_filled = PTHREAD_COND_INITIALIZER};
	const struct rf_options how = {.size = sizeof(how), .socket = argc == 4 ? argv[1] : NULL,
				       .feed = argc == 4 ? argv[2] : NULL, .has_rank = 1, .world_size = 1};
	const int n_epochs = argc == 4 ? atoi(argv[3]) : 0;
	pthread_t threads[READERS + ASKERS];
	struct rf_error error;

	if (n_epochs < 1) {
		fprintf(stderr, "usage: crossing SOCKET FEED EPOCHS\n");
		return 2;
	}
	if (rf_session_open(&how, &c.session, &error) < 0) {
		fprintf(stderr, "crossing: %s: %s\n", error.name, error.text);
		return 1;
	}
	for (int i = 0; i < READERS + ASKERS; i++)
		check(-pthread_create(&threads[i], NULL, i < READERS ? read_all : ask_all, &c), "pthread_create");
	for (int i = 0; i < n_epochs; i++) {
		struct rf_batch *b;

		while ((b = next(&c)))
			hand_on(&c, b);
	}
	pthread_mutex_lock(&c.lock);
	c.is_over = true;
	pthread_cond_broadcast(&c.is_filled);
	pthread_mutex_unlock(&c.lock);
	for (int i = 0; i < READERS + ASKERS; i++)
		pthread_join(threads[i], NULL);
	rf_session_close(c.session);
	printf("%" PRId64 " %" PRId64 "\n", c.n_rows, c.sum);
	return fflush(stdout) != 0;
}
