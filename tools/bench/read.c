/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * How fast the reader engines read at random, past the page cache, into 2 MiB-backed staging:
 * read [FILE [MIB [SECONDS]]]. FILE is made with MIB MiB when it is missing, and stays only if it
 * was there. Each row is the median of three runs of SECONDS seconds; CPU is all threads' user and
 * system time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "io/engine.h"
#include "io/file.h"

enum { RUNS = 3, STAGING = 64 << 20 };

struct setting {
	enum io_kind kind;
	bool is_registered, is_direct;
	uint32_t n_bytes;
	unsigned depth;
};

struct figure {
	double mb_per_second, cpu_ms_per_gib;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t draw(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void submit(struct io_engine *e, const struct io_file *f, const struct setting *s,
		   const struct memory *staging, uint64_t id)
{
	const uint64_t n_places = (uint64_t)f->st.st_size / s->n_bytes;
	const struct io_request r = {.id = id,
				     .fd = f->fd,
				     .offset = draw() % n_places * s->n_bytes,
				     .n_bytes = s->n_bytes,
				     .into = (char *)staging->base + id * s->n_bytes};

	io_engine_submit(e, &r);
}

/* Keeps depth reads in flight, as the loop does: sleep until readable, reap, submit, flush. */
static int read_for(struct io_engine *e, const struct io_file *f, const struct setting *s,
		    const struct memory *staging, double seconds, uint64_t *ret_bytes)
{
	struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};
	const double end = now() + seconds;
	struct io_done done[64];
	unsigned n_flying = s->depth;

	for (uint64_t i = 0; i < s->depth; i++)
		submit(e, f, s, staging, i);
	io_engine_flush(e);
	while (n_flying > 0) {
		if (poll(&p, 1, 10000) <= 0)
			return -ETIMEDOUT;
		for (unsigned i = 0, n = io_engine_reap(e, done, 64); i < n; i++) {
			if (done[i].n_bytes != s->n_bytes)
				return done[i].n_bytes < 0 ? (int)done[i].n_bytes : -ENODATA;
			*ret_bytes += s->n_bytes;
			if (now() < end)
				submit(e, f, s, staging, done[i].id);
			else
				n_flying--;
		}
		io_engine_flush(e);
	}
	return 0;
}

static int run(const char *path, const struct setting *s, const struct memory *staging,
	       double seconds, struct figure *ret)
{
	struct io_engine *e;
	struct reason why;
	struct io_file f;
	uint64_t n_bytes = 0;
	double wall, cpu;
	int r;

	r = io_engine_new(s->kind, s->depth, s->is_registered ? staging : NULL, &e, &why);
	if (r < 0)
		return r;
	r = io_file_open(path, s->is_direct, &f);
	if (r == 0) {
		if (!s->is_direct)
			posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED);
		wall = now();
		cpu = cpu_seconds();
		r = read_for(e, &f, s, staging, seconds, &n_bytes);
		wall = now() - wall;
		cpu = cpu_seconds() - cpu;
		ret->mb_per_second = (double)n_bytes / 1e6 / wall;
		ret->cpu_ms_per_gib = cpu * 1e3 / ((double)n_bytes / (1 << 30));
	}
	io_engine_free(e);
	if (r == 0)
		io_file_close(&f);
	return r;
}

static int by_speed(const void *a, const void *b)
{
	const struct figure *x = a, *y = b;

	return (x->mb_per_second > y->mb_per_second) - (x->mb_per_second < y->mb_per_second);
}

static int row(const char *path, const struct setting *s, const struct memory *staging,
	       double seconds)
{
	struct figure figures[RUNS];

	for (int i = 0; i < RUNS; i++) {
		int r = run(path, s, staging, seconds, &figures[i]);

		if (r < 0) {
			printf("%-8s refused: %s\n", s->kind == IO_URING ? "uring" : "threads",
			       strerror(-r));
			return r;
		}
	}
	qsort(figures, RUNS, sizeof(figures[0]), by_speed);
	printf("%-8s %-10s %-9s %7u %6u %10.0f %5.0f..%-5.0f %10.1f\n",
	       s->kind == IO_URING ? "uring" : "threads", s->is_registered ? "registered" : "plain",
	       s->is_direct ? "direct" : "buffered", s->n_bytes >> 10, s->depth,
	       figures[1].mb_per_second, figures[0].mb_per_second, figures[RUNS - 1].mb_per_second,
	       figures[1].cpu_ms_per_gib);
	fflush(stdout);
	return 0;
}

/* Random bytes, so that no layer below can take a short cut. */
static int make_file(const char *path, uint64_t n_mib)
{
	const size_t n = 1 << 20;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), r = 0;
	uint64_t *words = malloc(n);

	if (fd < 0 || !words)
		r = fd < 0 ? -errno : -ENOMEM;
	for (uint64_t i = 0; i < n_mib && r == 0; i++) {
		for (size_t j = 0; j < n / sizeof(*words); j++)
			words[j] = draw();
		if (write(fd, words, n) != (ssize_t)n)
			r = errno ? -errno : -EIO;
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	free(words);
	return r;
}

static void table(const char *path, const struct memory *staging, double seconds)
{
	static const struct {
		enum io_kind kind;
		bool is_registered, is_direct;
	} ways[] = {{IO_URING, true, true},
		    {IO_URING, false, true},
		    {IO_THREADS, false, true},
		    {IO_URING, false, false},
		    {IO_THREADS, false, false}};
	static const uint32_t sizes[] = {128 << 10, 512 << 10, 1 << 20};
	static const unsigned depths[] = {1, 8, 32};

	printf("%-8s %-10s %-9s %7s %6s %10s %12s %10s\n", "engine", "staging", "reads", "KiB",
	       "depth", "MB/s", "(least..most)", "CPU ms/GiB");
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
		for (size_t i = 0; i < 3; i++)
			for (size_t d = 0; d < 3; d++) {
				const struct setting s = {ways[w].kind, ways[w].is_registered,
							  ways[w].is_direct, sizes[i], depths[d]};

				if (row(path, &s, staging, seconds) < 0)
					return;
			}
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "bench-read.bin";
	const uint64_t n_mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 1024;
	const double seconds = argc > 3 ? strtod(argv[3], NULL) : 0.3;
	const bool is_ours = access(path, F_OK) < 0;
	struct utsname system;
	struct memory staging;
	int r = is_ours ? make_file(path, n_mib) : 0;

	if (r == 0)
		r = memory_new("ringfeed-staging", STAGING, &staging);
	if (r < 0) {
		fprintf(stderr, "read: %s: %s\n", path, strerror(-r));
		if (is_ours)
			unlink(path);
		return 1;
	}
	uname(&system);
	printf("Linux %s, %ld CPUs, %s pages, median of %d runs of %.1f s\n", system.release,
	       sysconf(_SC_NPROCESSORS_ONLN), staging.is_huge ? "2 MiB" : "4 KiB", RUNS, seconds);
	table(path, &staging, seconds);
	memory_deinit(&staging);
	if (is_ours)
		unlink(path);
	return 0;
}
