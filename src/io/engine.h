/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reader engines: io_uring and pread threads behind one interface, giving the same bytes in the
 * same order of requests. A read is whole or failed: short and interrupted ones are continued
 * inside. Beside reads it makes calls that may block, in threads of its own.
 *
 * Threads: every call, io_engine_new included, from one thread, the loop's (io_uring holds us to
 * it); it has threads of its own, which meet it at one queue. Never cancels: a request's
 * buffer, or a call's data, belongs to the engine until its io_done came out.
 */
#ifndef IO_ENGINE_H
#define IO_ENGINE_H

#include "base/memory.h"
#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum io_kind { IO_AUTO, IO_URING, IO_THREADS };

enum { IO_DEPTH = 32, IO_READ_MAX = 1 << 20 };

struct io_request {
	uint64_t id; /* the caller's */
	int fd;
	uint64_t offset; /* on a direct fd offset, n_bytes and into keep the file's alignment
			    (io/file.h) */
	uint32_t n_bytes;
	void *into; /* inside the staging area given to io_engine_new, or any memory (then never a
		       fixed buffer) */
	bool is_remote; /* of a file that is (io/file.h): a thread reads it */
	bool is_again;	/* past the page cache: what it has of those bytes is dropped first, as far as the kernel lets it */
};

/* What a thread does: nothing that the loop's state depends on but what lies in data. */
typedef int io_call(void *data);

struct io_done {
	uint64_t id;
	int64_t n_bytes; /* bytes read (fewer than asked only at the end of the file), or -errno; of a call:
			    what it returned */
};

struct io_engine;

/* Sets up the engine and proves it with a NOP (uring) before saying yes. depth: most requests in
 * flight, more are kept waiting inside, in order. staging may be NULL (then nothing is registered).
 * IO_AUTO falls back to threads; *why then says which of seccomp, sysctl, memlock or kernel refused
 * io_uring and the fix ("" when nothing was refused). IO_URING refused: -errno and the reason. */
int io_engine_new(enum io_kind kind, unsigned depth, const struct memory *staging,
		  struct io_engine **ret, struct reason *why);
/* Waits for what is in flight. Accepts NULL. */
struct io_engine *io_engine_free(struct io_engine *e);
enum io_kind io_engine_kind(const struct io_engine *e);
/* Bytes of staging that are registered with the ring; 0: none (the memlock limit refused, or
 * threads). */
size_t io_engine_registered(const struct io_engine *e);
/* Readable when completions wait (epoll it), now and then once too often. */
int io_engine_fd(const struct io_engine *e);
/* Queues one read; at most `room` reads and calls between reaps (io_engine_room). Never blocks. */
void io_engine_submit(struct io_engine *e, const struct io_request *request);
/* Queues a call: what waits for a server that may never answer, as opening a file does. */
void io_engine_call(struct io_engine *e, uint64_t id, io_call *call, void *data);
unsigned io_engine_room(const struct io_engine *e);
/* Reads and calls queued, under way, or not yet reaped. */
unsigned io_engine_busy(const struct io_engine *e);
/* Hands queued reads to the kernel, and calls to the threads. */
void io_engine_flush(struct io_engine *e);
/* Takes up to n completions; clears the fd's readiness when none is left. */
unsigned io_engine_reap(struct io_engine *e, struct io_done *ret, unsigned n);

#endif
