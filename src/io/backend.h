/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What engine.c asks of io_uring and of the pread threads: one attempt at a read, and its bare
 * result. Everything about short, interrupted and repeated reads is engine.c's, so both give the
 * same bytes. Calls (io_engine_call) are the threads' alone.
 *
 * Threads: called by the engine's thread alone.
 */
#ifndef IO_BACKEND_H
#define IO_BACKEND_H

#include "io/engine.h"

/* One attempt at (the rest of) a read, or at dropping pages. number is engine.c's and comes back with the result. */
struct io_attempt {
	uint32_t number;
	int fd;
	uint32_t n_bytes;
	uint64_t offset;
	void *into;
	bool is_drop;	/* POSIX_FADV_DONTNEED of that range; into is nothing */
	io_call *call;	/* of the threads alone: this instead of a read */
	void *data;
};

struct io_result {
	uint32_t number;
	int32_t n_bytes; /* or -errno */
};

struct io_backend_ops {
	enum io_kind kind;
	/* Queues an attempt; never more than depth are between start and reap. */
	void (*start)(void *backend, const struct io_attempt *attempt);
	void (*flush)(void *backend);
	unsigned (*reap)(void *backend, struct io_result *ret, unsigned n);
	/* Waits until no attempt can write to its buffer any more; queued ones may be dropped. */
	void (*free)(void *backend);
};

extern const struct io_backend_ops uring_ops, threads_ops;

/* Why io_uring cannot be had: the step that failed, its errno, and what was seen around it. */
struct refusal {
	const char *step;
	int error;	  /* positive errno */
	int sysctl;	  /* kernel.io_uring_disabled, -1 when the kernel has no such file */
	bool is_filtered; /* a seccomp filter is on this process */
};

/* event_fd is borrowed and becomes readable when results wait. ret_step: where a failure came from.
 */
int uring_new(unsigned depth, const struct memory *staging, int event_fd, void **ret,
	      const char **ret_step);
/* How much of the staging area is registered with the ring, from its start. */
size_t uring_registered(const void *backend);
/* n_threads: to begin with. */
int threads_new(unsigned depth, unsigned n_threads, int event_fd, void **ret);

/* Looks around (sysctl, seccomp), changing nothing. */
void refusal_look(const char *step, int error, struct refusal *ret);
/* One sentence: which of seccomp, sysctl, memlock or kernel stands in the way, and the fix. */
void refusal_tell(const struct refusal *r, struct reason *why);

#endif
