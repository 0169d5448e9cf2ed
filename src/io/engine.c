/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The half of a reader engine that both kinds share. A backend makes single attempts; here a read
 * is continued until it is whole, the file ends, or it fails, so the result cannot depend on how
 * the kernel splits it. A call takes a read's place and is never repeated.
 *
 * Beside io_uring there are threads, one at first, for calls and for reads of files behind a server. io_uring would have
 * threads of the kernel make those, too, and FUSE does not tell it how far a short direct read came (Linux 6.18): it goes
 * on at the old offset, and the bytes are wrong.
 *
 * Reads live in one array made at start and are moved between three lists: free, waiting
 * (submitted, not yet with the backend) and done (finished, not yet reaped). Those in no list are
 * with the backend.
 */
#include "io/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "io/backend.h"

enum {
	DEPTH_MAX = 1024,
	QUEUE_FACTOR = 4, /* reads accepted per read in flight */
	TRIES_MAX = 64,	  /* interrupted attempts in a row */
	DIRECT_BLOCK = 4096,
	SECTOR = 512,
	RESULTS = 32,
	DROP_BLOCK = 2 << 20, /* pages of the cache may be as large, and go as a whole or not at all */
	THREADS = 8, /* to begin with: 8 requests of 512 KiB under way fill an NVMe drive */
};

#define NONE UINT32_MAX

struct read {
	struct io_request request;
	io_call *call; /* NULL: a read */
	void *data;
	uint32_t n_from; /* where the attempt under way begins */
	uint32_t n_got;	 /* bytes read by the attempts before */
	unsigned n_tries;
	int64_t result;
	uint32_t next;
	bool is_dropping; /* what the page cache has of it; then it is read */
};

struct list {
	uint32_t head, tail, n;
};

struct io_engine {
	const struct io_backend_ops *ops;
	void *backend, *threads; /* threads: the backend itself, or beside it */
	int event_fd;
	unsigned depth, n_flying, n_threaded; /* n_threaded: of the flying ones, those that threads make */
	uint32_t n_reads;
	struct list free, waiting, done;
	struct read reads[];
};

static void push(struct io_engine *e, struct list *l, uint32_t number)
{
	e->reads[number].next = NONE;
	if (l->n++ == 0)
		l->head = number;
	else
		e->reads[l->tail].next = number;
	l->tail = number;
}

static uint32_t pop(struct io_engine *e, struct list *l)
{
	uint32_t number = l->head;

	assert(l->n > 0);
	l->head = e->reads[number].next;
	l->n--;
	return number;
}

static bool is_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT);
}

/* A direct read was refused. Where it went on inside a block, a file of larger blocks did that: it is taken up at the
 * block. Else the file has none after all, and is read through the page cache from here on. */
static bool go_without(struct read *r)
{
	int flags = fcntl(r->request.fd, F_GETFL);

	if (flags < 0 || !(flags & O_DIRECT))
		return false;
	if (r->n_from % DIRECT_BLOCK != 0)
		r->n_from -= r->n_from % DIRECT_BLOCK;
	else if (fcntl(r->request.fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return false;
	return true;
}

/* What an attempt's result makes of the read: true when it is finished. Else it goes on where it ended; a direct read
 * at the sector that it ended in, for a short one is not always the end of the file. */
static bool settle(struct read *r, int32_t n)
{
	const uint32_t end = r->n_from + (n > 0 ? (uint32_t)n : 0);

	if (r->call) {
		r->result = n;
		return true;
	}
	if ((n == -EINTR || n == -EAGAIN) && r->n_tries++ < TRIES_MAX)
		return false;
	if (n == -EINVAL && go_without(r))
		return false;
	if (n < 0 || end >= r->request.n_bytes) {
		r->result = n < 0 ? n : (int64_t)r->request.n_bytes;
		return true;
	}
	if (end <= r->n_got) { /* not a byte more: the end of the file */
		r->result = r->n_got;
		return true;
	}
	r->n_got = r->n_from = end;
	if (end % SECTOR != 0 && is_direct(r->request.fd))
		r->n_from -= end % SECTOR;
	r->n_tries = 0;
	return false;
}

static bool is_threaded(const struct read *r)
{
	return r->call || r->request.is_remote;
}

/* In the way of the read, for dropping pages may wait as reads do. What comes of it does not matter: it is advice. */
static void drop_range(struct io_attempt *a)
{
	const uint64_t end = (a->offset + a->n_bytes + DROP_BLOCK - 1) / DROP_BLOCK * DROP_BLOCK;

	a->is_drop = true;
	a->offset = a->offset / DROP_BLOCK * DROP_BLOCK;
	a->n_bytes = (uint32_t)(end - a->offset);
}

static void start(struct io_engine *e, uint32_t number)
{
	const struct read *r = &e->reads[number];
	struct io_attempt attempt = {
		.number = number,
		.fd = r->request.fd,
		.n_bytes = r->request.n_bytes - r->n_from,
		.offset = r->request.offset + r->n_from,
		.into = r->call ? NULL : (char *)r->request.into + r->n_from,
		.call = r->call,
		.data = r->data,
	};

	if (r->is_dropping)
		drop_range(&attempt);
	if (is_threaded(r))
		threads_ops.start(e->threads, &attempt);
	else
		e->ops->start(e->backend, &attempt);
}

static unsigned reap_backends(struct io_engine *e, struct io_result *ret, unsigned n)
{
	unsigned n_taken = e->ops->reap(e->backend, ret, n);

	if (e->n_threaded > 0 && e->threads != e->backend)
		n_taken += threads_ops.reap(e->threads, ret + n_taken, n - n_taken);
	return n_taken;
}

/* Takes every result the backend has, until it says there is none: io_uring keeps completion work
 * back that it announced once. What is not finished starts again with the next flush. */
static void collect(struct io_engine *e)
{
	struct io_result results[RESULTS];
	unsigned n;

	do {
		n = reap_backends(e, results, RESULTS);
		for (unsigned i = 0; i < n; i++) {
			uint32_t number = results[i].number;

			assert(number < e->n_reads);
			if (e->reads[number].is_dropping) {
				e->reads[number].is_dropping = false;
				start(e, number);
				continue;
			}
			if (!settle(&e->reads[number], results[i].n_bytes)) {
				start(e, number);
				continue;
			}
			e->n_flying--;
			e->n_threaded -= is_threaded(&e->reads[number]);
			push(e, &e->done, number);
		}
	} while (n > 0);
}

static int open_threads(struct io_engine *e, unsigned n, void **ret, struct reason *why)
{
	int r = threads_new(e->depth, n, e->event_fd, ret);

	if (r == 0)
		return 0;
	reason_set(why, "the reader threads cannot be started: %s", strerror(-r));
	return pass(r);
}

static int open_backend(enum io_kind kind, const struct memory *staging, struct io_engine *e,
			struct reason *why)
{
	const char *step = "";
	struct refusal refusal;
	int r;

	if (kind != IO_THREADS) {
		r = uring_new(e->depth, staging, e->event_fd, &e->backend, &step);
		if (r == 0) {
			e->ops = &uring_ops;
			return open_threads(e, 1, &e->threads, why);
		}
		refusal_look(step, -r, &refusal);
		refusal_tell(&refusal, why);
		if (kind == IO_URING)
			return pass(r);
	}
	r = open_threads(e, THREADS, &e->backend, why);
	if (r < 0)
		return r;
	e->threads = e->backend;
	e->ops = &threads_ops;
	return 0;
}

int io_engine_new(enum io_kind kind, unsigned depth, const struct memory *staging,
		  struct io_engine **ret, struct reason *why)
{
	const uint32_t n_reads = depth * QUEUE_FACTOR;
	struct io_engine *e;
	int r;

	assert(depth > 0 && depth <= DEPTH_MAX);
	why->text[0] = 0;
	e = calloc(1, sizeof(*e) + n_reads * sizeof(e->reads[0]));
	if (!e)
		return fail(-ENOMEM);
	e->depth = depth;
	e->n_reads = n_reads;
	for (uint32_t i = 0; i < n_reads; i++)
		push(e, &e->free, i);
	e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->event_fd < 0) {
		r = fail(-errno);
		reason_set(why, "no eventfd for the reader engine: %s", strerror(-r));
		goto out;
	}
	r = open_backend(kind, staging, e, why);
	if (r < 0)
		goto out;
	*ret = e;
	return 0;
out:
	io_engine_free(e);
	return r;
}

struct io_engine *io_engine_free(struct io_engine *e)
{
	if (!e)
		return NULL;
	if (e->ops)
		e->ops->free(e->backend);
	if (e->threads && e->threads != e->backend)
		threads_ops.free(e->threads);
	if (e->event_fd >= 0)
		close(e->event_fd);
	free(e);
	return NULL;
}

enum io_kind io_engine_kind(const struct io_engine *e)
{
	return e->ops->kind;
}

size_t io_engine_registered(const struct io_engine *e)
{
	return e->ops == &uring_ops ? uring_registered(e->backend) : 0;
}

int io_engine_fd(const struct io_engine *e)
{
	return e->event_fd;
}

unsigned io_engine_room(const struct io_engine *e)
{
	return e->free.n;
}

unsigned io_engine_busy(const struct io_engine *e)
{
	return e->n_reads - e->free.n;
}

void io_engine_submit(struct io_engine *e, const struct io_request *request)
{
	uint32_t number = pop(e, &e->free);

	assert(request->offset <= (uint64_t)INT64_MAX - request->n_bytes);
	e->reads[number] = (struct read){.request = *request, .is_dropping = request->is_again};
	push(e, &e->waiting, number);
}

void io_engine_call(struct io_engine *e, uint64_t id, io_call *call, void *data)
{
	uint32_t number = pop(e, &e->free);

	e->reads[number] = (struct read){.request = {.id = id}, .call = call, .data = data};
	push(e, &e->waiting, number);
}

void io_engine_flush(struct io_engine *e)
{
	while (e->waiting.n > 0 && e->n_flying < e->depth) {
		uint32_t number = pop(e, &e->waiting);

		e->n_flying++;
		e->n_threaded += is_threaded(&e->reads[number]);
		start(e, number);
	}
	e->ops->flush(e->backend);
	if (e->n_threaded > 0 && e->threads != e->backend)
		threads_ops.flush(e->threads);
}

unsigned io_engine_reap(struct io_engine *e, struct io_done *ret, unsigned n)
{
	unsigned n_taken = 0;
	eventfd_t ignored;

	/* Cleared first: what completes from here on makes it readable again. */
	(void)eventfd_read(e->event_fd, &ignored);
	collect(e);
	io_engine_flush(e);
	while (n_taken < n && e->done.n > 0) {
		uint32_t number = pop(e, &e->done);

		ret[n_taken++] = (struct io_done){.id = e->reads[number].request.id,
						  .n_bytes = e->reads[number].result};
		push(e, &e->free, number);
	}
	if (e->done.n > 0)
		(void)eventfd_write(e->event_fd, 1);
	return n_taken;
}
