/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * To be preloaded: reads by both engines come short at random places, and are interrupted. What they bring is right as
 * far as it goes. SHORT_READS_STEP: they end at multiples of it (512 as direct reads do, or 1).
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <liburing.h>

#pragma GCC visibility push(default)

ssize_t pread64(int fd, void *to, size_t n, off64_t offset);

static atomic_uint_fast64_t turn;
static atomic_bool is_told;

static uint64_t chance(void)
{
	uint64_t x = atomic_fetch_add(&turn, 1) * 0x9e3779b97f4a7c15u + 1;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* What becomes of a read that brought n bytes. */
static int64_t fate(int64_t n)
{
	const char *text = getenv("SHORT_READS_STEP");
	const int64_t step = text ? strtol(text, NULL, 10) : 1;

	if (n < 2 * step || chance() % 4 == 0)
		return n;
	if (!atomic_exchange(&is_told, true))
		fprintf(stderr, "short-reads: at work\n");
	if (chance() % 8 == 0)
		return chance() % 2 ? -EINTR : -EAGAIN;
	return step * (int64_t)(1 + chance() % (uint64_t)((n - 1) / step));
}

ssize_t pread64(int fd, void *to, size_t n, off64_t offset)
{
	static ssize_t (*real)(int, void *, size_t, off64_t);
	int64_t r;

	if (!real)
		real = (ssize_t(*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
	r = real(fd, to, n, offset);
	if (r <= 0)
		return r;
	r = fate(r);
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* Fixed and plain reads alike; the completion lies in memory that is ours to write. */
unsigned io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned n)
{
	static unsigned (*real)(struct io_uring *, struct io_uring_cqe **, unsigned);
	unsigned n_ready;

	if (!real)
		real = (unsigned (*)(struct io_uring *, struct io_uring_cqe **, unsigned))dlsym(
			RTLD_NEXT, "io_uring_peek_batch_cqe");
	n_ready = real(ring, cqes, n);
	for (unsigned i = 0; i < n_ready; i++)
		if (cqes[i]->res > 0)
			cqes[i]->res = (int)fate(cqes[i]->res);
	return n_ready;
}
