/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The reader engine (io/engine.h) and the clock of fuzz-daemon.c: reads and calls come when they are reaped, in order, or not
 * before the script lets them, reads fail as it says, and time passes when it says so. Thus an input does the same every time.
 */
#include "played-engine.h"

#include "fuzz.h"
#include "io/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { READS_MAX = 1024 };

struct played {
	struct io_request read;
	io_call *call; /* instead of it */
	void *data;
};

struct io_engine {
	int fd;
	unsigned n, depth;
	struct played queue[READS_MAX];
};

static bool is_held;
static enum played_fault fault;

void played_hold(bool is_to_be_held)
{
	is_held = is_to_be_held;
}

void played_spoil_next(enum played_fault how)
{
	fault = how;
}

/* ---- the clock ---- */

static uint64_t passed_ns = UINT64_C(1000000000000);

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ret);
	passed_ns += 1000; /* so that whoever waits for a time comes to its end */
	*ret = (struct timespec){.tv_sec = (time_t)(passed_ns / 1000000000), .tv_nsec = (long)(passed_ns % 1000000000)};
	return 0;
}

void played_pass(uint64_t ns)
{
	passed_ns += ns;
}

/* ---- the engine ---- */

int io_engine_new(enum io_kind kind, unsigned depth, const struct memory *staging, struct io_engine **ret, struct reason *why)
{
	struct io_engine *e = calloc(1, sizeof(*e));

	CHECK(e && depth <= READS_MAX);
	e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(e->fd >= 0);
	e->depth = depth;
	*ret = e;
	return 0;
}

struct io_engine *io_engine_free(struct io_engine *e)
{
	if (e)
		close(e->fd);
	free(e);
	return NULL;
}

enum io_kind io_engine_kind(const struct io_engine *e)
{
	return IO_THREADS;
}

size_t io_engine_registered(const struct io_engine *e)
{
	return 0;
}

int io_engine_fd(const struct io_engine *e)
{
	return e->fd;
}

void io_engine_submit(struct io_engine *e, const struct io_request *request)
{
	CHECK(e->n < READS_MAX);
	e->queue[e->n++] = (struct played){.read = *request};
}

void io_engine_call(struct io_engine *e, uint64_t id, io_call *call, void *data)
{
	CHECK(e->n < READS_MAX);
	e->queue[e->n++] = (struct played){.read.id = id, .call = call, .data = data};
}

unsigned io_engine_busy(const struct io_engine *e)
{
	return e->n;
}

unsigned io_engine_room(const struct io_engine *e)
{
	return e->depth - e->n;
}

void io_engine_flush(struct io_engine *e)
{
	const uint64_t one = 1;

	CHECK(e->n == 0 || is_held || write(e->fd, &one, sizeof(one)) == sizeof(one));
}

static int64_t play(const struct played *p)
{
	const struct io_request *r = &p->read;
	const enum played_fault how = fault;
	const uint32_t n = how == PLAYED_SHORT ? r->n_bytes / 2 : r->n_bytes;
	ssize_t n_read;

	if (p->call)
		return p->call(p->data);
	fault = PLAYED_WELL;
	if (how == PLAYED_ERROR)
		return -EIO;
	n_read = pread(r->fd, r->into, n, (off_t)r->offset);
	return n_read < 0 ? -errno : n_read;
}

unsigned io_engine_reap(struct io_engine *e, struct io_done *ret, unsigned n)
{
	unsigned n_done = 0, n_left = 0;
	uint64_t rung;

	CHECK(read(e->fd, &rung, sizeof(rung)) == sizeof(rung) || errno == EAGAIN);
	for (; !is_held && n_done < n && n_done < e->n; n_done++)
		ret[n_done] = (struct io_done){e->queue[n_done].read.id, play(&e->queue[n_done])};
	for (; n_done + n_left < e->n; n_left++)
		e->queue[n_left] = e->queue[n_done + n_left];
	e->n = n_left;
	return n_done;
}
