/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * pread threads, for where io_uring is refused, and for calls: one queue of attempts in, one of results out,
 * both under one lock, which no one holds during either.
 *
 * A few threads do for storage that answers. When attempts wait and every thread is busy, one more is started with
 * each flush, and one for each of them with a flush that brings nothing new, up to the depth: a shard whose storage
 * hangs must not stop the others.
 *
 * Threads: start, flush, reap and free belong to the engine's thread; the readers block every
 * signal and touch only the queues and the buffer or the data of their attempt.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "io/backend.h"

enum {
	STACK_BYTES = 128 << 10,
};

struct threads {
	int event_fd;
	unsigned depth;
	unsigned n_threads, n_started; /* n_started: attempts since the last flush */
	pthread_t *ids; /* depth of them */
	pthread_cond_t has_work;
	struct {
		pthread_mutex_t mutex;
		bool is_closing;
		unsigned in_head, n_in, out_head, n_out, n_idle;
		struct io_attempt *in; /* depth of each */
		struct io_result *out;
	} locked;
};

static ssize_t attempt(const struct io_attempt *a)
{
	ssize_t n;

	if (a->call)
		return a->call(a->data);
	if (a->is_drop)
		return -posix_fadvise(a->fd, (off_t)a->offset, (off_t)a->n_bytes, POSIX_FADV_DONTNEED);
	n = pread(a->fd, a->into, a->n_bytes, (off_t)a->offset);
	return n < 0 ? -errno : n;
}

/* Caller holds the lock, and gets it back. */
static void read_one(struct threads *t)
{
	const struct io_attempt a = t->locked.in[t->locked.in_head];
	bool was_empty;
	ssize_t n;

	t->locked.in_head = (t->locked.in_head + 1) % t->depth;
	t->locked.n_in--;
	pthread_mutex_unlock(&t->locked.mutex);
	n = attempt(&a);
	pthread_mutex_lock(&t->locked.mutex);
	assert(t->locked.n_out < t->depth);
	t->locked.out[(t->locked.out_head + t->locked.n_out) % t->depth] =
		(struct io_result){.number = a.number, .n_bytes = (int32_t)n};
	was_empty = t->locked.n_out++ == 0;
	if (was_empty)
		(void)eventfd_write(t->event_fd, 1);
}

static void *run(void *data)
{
	struct threads *t = data;

	pthread_mutex_lock(&t->locked.mutex);
	while (!t->locked.is_closing) {
		if (t->locked.n_in > 0) {
			read_one(t);
		} else {
			t->locked.n_idle++;
			pthread_cond_wait(&t->has_work, &t->locked.mutex);
			t->locked.n_idle--;
		}
	}
	pthread_mutex_unlock(&t->locked.mutex);
	return NULL;
}

/* Up to n of them, as many as can be had. Signals stay with the threads that were there before. 0 when one
 * runs at least. */
static int start_threads(struct threads *t, unsigned n)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r;

	r = pthread_attr_init(&attributes);
	if (r != 0)
		return fail(-r);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; t->n_threads < n; t->n_threads++) {
		r = pthread_create(&t->ids[t->n_threads], &attributes, run, t);
		if (r != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return t->n_threads > 0 ? 0 : fail(-r);
}

static void threads_free(void *backend)
{
	struct threads *t = backend;

	pthread_mutex_lock(&t->locked.mutex);
	t->locked.is_closing = true;
	pthread_cond_broadcast(&t->has_work);
	pthread_mutex_unlock(&t->locked.mutex);
	for (unsigned i = 0; i < t->n_threads; i++)
		pthread_join(t->ids[i], NULL);
	pthread_cond_destroy(&t->has_work);
	pthread_mutex_destroy(&t->locked.mutex);
	free(t->ids);
	free(t->locked.in);
	free(t->locked.out);
	free(t);
}

int threads_new(unsigned depth, unsigned n_threads, int event_fd, void **ret)
{
	struct threads *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return fail(-ENOMEM);
	t->event_fd = event_fd;
	t->depth = depth;
	pthread_mutex_init(&t->locked.mutex, NULL);
	pthread_cond_init(&t->has_work, NULL);
	t->locked.in = calloc(depth, sizeof(t->locked.in[0]));
	t->locked.out = calloc(depth, sizeof(t->locked.out[0]));
	t->ids = calloc(depth, sizeof(t->ids[0]));
	r = t->locked.in && t->locked.out && t->ids ? start_threads(t, depth < n_threads ? depth : n_threads)
						    : fail(-ENOMEM);
	if (r < 0) {
		threads_free(t);
		return pass(r);
	}
	*ret = t;
	return 0;
}

static void threads_start(void *backend, const struct io_attempt *a)
{
	struct threads *t = backend;

	pthread_mutex_lock(&t->locked.mutex);
	assert(t->locked.n_in < t->depth);
	t->locked.in[(t->locked.in_head + t->locked.n_in++) % t->depth] = *a;
	pthread_mutex_unlock(&t->locked.mutex);
	t->n_started++;
}

static void threads_flush(void *backend)
{
	struct threads *t = backend;
	unsigned n_missing, n_more;

	pthread_mutex_lock(&t->locked.mutex);
	n_missing = t->locked.n_in > t->locked.n_idle ? t->locked.n_in - t->locked.n_idle : 0;
	pthread_mutex_unlock(&t->locked.mutex);
	n_more = t->n_started > 0 && n_missing > 1 ? 1 : n_missing;
	if (n_more > t->depth - t->n_threads)
		n_more = t->depth - t->n_threads;
	start_threads(t, t->n_threads + n_more); /* none to be had: those that run go on */
	if (t->n_started >= t->n_threads)
		pthread_cond_broadcast(&t->has_work);
	else
		for (; t->n_started > 0; t->n_started--)
			pthread_cond_signal(&t->has_work);
	t->n_started = 0;
}

static unsigned threads_reap(void *backend, struct io_result *ret, unsigned n)
{
	struct threads *t = backend;
	unsigned n_taken = 0;

	pthread_mutex_lock(&t->locked.mutex);
	for (; n_taken < n && t->locked.n_out > 0; t->locked.n_out--) {
		ret[n_taken++] = t->locked.out[t->locked.out_head];
		t->locked.out_head = (t->locked.out_head + 1) % t->depth;
	}
	pthread_mutex_unlock(&t->locked.mutex);
	return n_taken;
}

const struct io_backend_ops threads_ops = {
	.kind = IO_THREADS,
	.start = threads_start,
	.flush = threads_flush,
	.reap = threads_reap,
	.free = threads_free,
};
