/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * io_uring. The completion work runs when this thread asks for it (DEFER_TASKRUN) where the kernel
 * has that, so it never interrupts the loop; the eventfd fires all the same. The staging area is
 * registered, as far as the memory lock limit lets it, which saves pinning its pages for every
 * read.
 *
 * The submission queue holds as many entries as may be in flight, and the completion queue twice
 * that: neither can overflow.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "io/backend.h"

enum {
	CHUNK_BITS = 30, /* one registered buffer is at most 1 GiB */
	CHUNKS_MAX = 256,
	NOP_NUMBER = 0x6e6f70,
};

struct uring {
	struct io_uring ring;
	bool has_ring;
	int event_fd;
	unsigned n_flying; /* between start and reap */
	const char *staging;
	size_t n_registered; /* bytes of staging that are fixed buffers */
};

/* The newest flags first; an older kernel answers EINVAL. TASKRUN_FLAG lets a look at the ring say
 * that completions want to be collected. */
static int set_up(struct uring *u, unsigned depth)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && r == -EINVAL; i++) {
		struct io_uring_params p = {.flags = flags[i]};

		r = io_uring_queue_init_params(depth, &u->ring, &p);
	}
	u->has_ring = r == 0;
	return r;
}

/* One NOP through the whole way: submitted, seen by the eventfd, collected. */
static int prove(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	struct io_uring_cqe *cqe;
	eventfd_t n;
	int r;

	io_uring_prep_nop(sqe);
	sqe->user_data = NOP_NUMBER;
	do {
		r = io_uring_submit(&u->ring);
	} while (r == -EINTR);
	if (r < 0)
		return r;
	do {
		r = io_uring_wait_cqe(&u->ring, &cqe);
	} while (r == -EINTR);
	if (r < 0)
		return r;
	r = cqe->user_data == NOP_NUMBER ? cqe->res : -EPROTO;
	io_uring_cqe_seen(&u->ring, cqe);
	if (r == 0 && eventfd_read(u->event_fd, &n) < 0)
		r = -errno;
	return r;
}

/* As one buffer per GiB; refused (memory lock limit, no room in the kernel) is no loss of function.
 */
static void register_staging(struct uring *u, const struct memory *staging)
{
	const size_t chunk = (size_t)1 << CHUNK_BITS;
	struct iovec buffers[CHUNKS_MAX];
	unsigned n = 0;
	size_t at = 0;

	for (; at < staging->n_bytes && n < CHUNKS_MAX; n++) {
		size_t left = staging->n_bytes - at;

		buffers[n].iov_base = (char *)staging->base + at;
		buffers[n].iov_len = left < chunk ? left : chunk;
		at += buffers[n].iov_len;
	}
	if (io_uring_register_buffers(&u->ring, buffers, n) < 0)
		return;
	u->staging = staging->base;
	u->n_registered = at;
}

/* Where reads block, a kernel thread each carries them; the few that there are by default would all wait for a shard
 * whose storage hangs. Before Linux 5.15 there is no such knob. */
static void allow_threads(struct uring *u, unsigned depth)
{
	unsigned most[2] = {depth, 0}; /* for files; 0: as it was */

	(void)io_uring_register_iowq_max_workers(&u->ring, most);
}

static void close_ring(struct uring *u)
{
	if (u->has_ring)
		io_uring_queue_exit(&u->ring);
	free(u);
}

int uring_new(unsigned depth, const struct memory *staging, int event_fd, void **ret,
	      const char **ret_step)
{
	struct uring *u = calloc(1, sizeof(*u));
	const char *step = "memory";
	int r;

	if (!u)
		return fail(-ENOMEM);
	u->event_fd = event_fd;
	step = "io_uring_setup";
	r = set_up(u, depth);
	if (r < 0)
		goto out;
	step = "IORING_OP_READ"; /* Linux 5.6 has both */
	r = u->ring.features & IORING_FEAT_RW_CUR_POS ? 0 : -EOPNOTSUPP;
	if (r < 0)
		goto out;
	step = "io_uring_register";
	r = io_uring_register_eventfd(&u->ring, event_fd);
	if (r < 0)
		goto out;
	step = "io_uring_enter";
	r = prove(u);
	if (r < 0)
		goto out;
	allow_threads(u, depth);
	if (staging && staging->n_bytes > 0)
		register_staging(u, staging);
	*ret = u;
	return 0;
out:
	*ret_step = step;
	close_ring(u);
	return fail(r);
}

size_t uring_registered(const void *backend)
{
	const struct uring *u = backend;

	return u->n_registered;
}

/* The fixed buffer that holds all of it, or -1. */
static int buffer_of(const struct uring *u, const struct io_attempt *a)
{
	const uintptr_t at = (uintptr_t)a->into - (uintptr_t)u->staging;

	if (a->n_bytes == 0 || at >= u->n_registered || a->n_bytes > u->n_registered - at ||
	    at >> CHUNK_BITS != (at + a->n_bytes - 1) >> CHUNK_BITS)
		return -1;
	return (int)(at >> CHUNK_BITS);
}

static void uring_start(void *backend, const struct io_attempt *a)
{
	struct uring *u = backend;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int buffer = a->is_drop ? -1 : buffer_of(u, a);

	assert(sqe);
	if (a->is_drop)
		io_uring_prep_fadvise(sqe, a->fd, a->offset, a->n_bytes, POSIX_FADV_DONTNEED);
	else if (buffer >= 0)
		io_uring_prep_read_fixed(sqe, a->fd, a->into, a->n_bytes, a->offset, buffer);
	else
		io_uring_prep_read(sqe, a->fd, a->into, a->n_bytes, a->offset);
	sqe->user_data = a->number;
	u->n_flying++;
}

/* What the kernel does not take now stays in the queue; the eventfd brings the loop back for it. */
static void uring_flush(void *backend)
{
	struct uring *u = backend;
	int r;

	if (io_uring_sq_ready(&u->ring) == 0)
		return;
	do {
		r = io_uring_submit(&u->ring);
	} while (r == -EINTR || (r > 0 && io_uring_sq_ready(&u->ring) > 0));
	if (io_uring_sq_ready(&u->ring) > 0)
		(void)eventfd_write(u->event_fd, 1);
}

static unsigned uring_reap(void *backend, struct io_result *ret, unsigned n)
{
	struct uring *u = backend;
	struct io_uring_cqe *cqes[64];
	unsigned n_ready = io_uring_peek_batch_cqe(&u->ring, cqes, n < 64 ? n : 64);

	for (unsigned i = 0; i < n_ready; i++) {
		ret[i].number = (uint32_t)cqes[i]->user_data;
		ret[i].n_bytes = cqes[i]->res;
	}
	io_uring_cq_advance(&u->ring, n_ready);
	u->n_flying -= n_ready;
	return n_ready;
}

/* Reads cannot be cancelled: wait for them, submitting what was queued. */
static void uring_free(void *backend)
{
	struct uring *u = backend;
	struct io_uring_cqe *cqe;

	while (u->n_flying > 0) {
		io_uring_submit_and_wait(&u->ring, 1);
		while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
			io_uring_cqe_seen(&u->ring, cqe);
			u->n_flying--;
		}
	}
	close_ring(u);
}

const struct io_backend_ops uring_ops = {
	.kind = IO_URING,
	.start = uring_start,
	.flush = uring_flush,
	.reap = uring_reap,
	.free = uring_free,
};
