/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Both engines against a file that spells its own offsets: the word at offset o is o * ODD. Run as
 * `test-engine threads` and `test-engine uring`.
 *
 * A shim (the linker's --wrap) makes results short, interrupted or refused for now, under the
 * threads by shortening pread, under io_uring by altering completions before the engine sees them.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/engine.h"
#include "io/file.h"

#define ODD 0x9e3779b97f4a7c15u

enum {
	FILE_BYTES = (12 << 20) + 5678, /* ends inside a sector */
	BUFFER = 272 << 10,
	N_BUFFERS = IO_DEPTH * 4,
	BLOCK = 4096,
};

static enum io_kind kind;
static char path[] = "test-engine-XXXXXX";
static struct memory staging;
static uint64_t random_state = 1;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* ---- the shim ---- */

static atomic_uint shim_rate;	   /* of 100 results so many are altered; 0: none */
static atomic_uint shim_grain = 1; /* short results are multiples of this */
static atomic_uint shim_errno;	   /* every result is this error */
static atomic_uint n_altered;
static atomic_uint shim_seed;

static uint32_t shim_draw(uint32_t below)
{
	uint32_t x = atomic_fetch_add(&shim_seed, 0x9e3779b9u);

	x = (x ^ (x >> 16)) * 0x45d9f3bu;
	x = (x ^ (x >> 16)) * 0x45d9f3bu;
	return (x ^ (x >> 16)) % below;
}

/* A shorter length (never 0, that is the end of the file), or -errno, or n itself. */
static int alter(int n)
{
	const unsigned grain = atomic_load(&shim_grain);
	uint32_t n_grains;

	if (atomic_load(&shim_errno))
		return -(int)atomic_load(&shim_errno);
	if (n <= 0 || shim_draw(100) >= atomic_load(&shim_rate))
		return n;
	n_grains = ((uint32_t)n - 1) / grain;
	if (shim_draw(4) == 0) {
		atomic_fetch_add(&n_altered, 1);
		return shim_draw(2) ? -EINTR : -EAGAIN;
	}
	if (n_grains == 0)
		return n;
	atomic_fetch_add(&n_altered, 1);
	return (int)((1 + shim_draw(n_grains)) * grain);
}

ssize_t __real_pread64(int fd, void *into, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *into, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *into, size_t n, off_t at)
{
	int altered = alter((int)n);

	if (altered < 0) {
		errno = -altered;
		return -1;
	}
	return __real_pread64(fd, into, (size_t)altered, at);
}

unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
					unsigned n);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
					unsigned n);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
					unsigned n)
{
	unsigned n_ready = __real_io_uring_peek_batch_cqe(ring, cqes, n);

	for (unsigned i = 0; i < n_ready; i++)
		cqes[i]->res = alter(cqes[i]->res);
	return n_ready;
}

static void shim_off(void)
{
	atomic_store(&shim_rate, 0);
	atomic_store(&shim_errno, 0);
	atomic_store(&n_altered, 0);
}

/* ---- one run of reads ---- */

static char *buffer(uint64_t i)
{
	return (char *)staging.base + i * BUFFER;
}

static uint8_t byte_at(uint64_t at)
{
	const uint64_t word = (at & ~(uint64_t)7) * ODD;

	return (uint8_t)(word >> (8 * (at & 7)));
}

static void check_bytes(const char *bytes, uint64_t offset, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if ((uint8_t)bytes[i] != byte_at(offset + i))
			fail_msg("byte %llu of the read at %llu is wrong", (unsigned long long)i,
				 (unsigned long long)offset);
}

static void wait_readable(struct io_engine *e)
{
	struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};
	int r;

	do {
		r = poll(&p, 1, 20000);
	} while (r < 0 && errno == EINTR);
	assert_int_equal(r, 1);
}

static struct io_engine *new_engine(const struct memory *area)
{
	struct io_engine *e = NULL;
	struct reason why;

	assert_int_equal(io_engine_new(kind, IO_DEPTH, area, &e, &why), 0);
	assert_int_equal(io_engine_kind(e), kind);
	assert_string_equal(why.text, "");
	return e;
}

static void draw_request(struct io_request *r, unsigned alignment, unsigned beyond)
{
	r->offset = draw(FILE_BYTES + beyond) / alignment * alignment;
	r->n_bytes = (uint32_t)(draw(BUFFER - BLOCK) / alignment * alignment +
				(alignment > 1 ? alignment : 0));
	r->into = buffer(r->id) + (alignment > 1 ? 0 : draw(64));
	r->is_again = draw(8) == 0;
	r->is_remote = draw(3) == 0; /* read by a thread, then */
	memset(buffer(r->id), 0xaa, BUFFER);
}

/* The reads are random; each completion is compared with the file's rule and its buffer used again.
 */
static void run_reads(struct io_engine *e, int fd, unsigned alignment, unsigned n_reads)
{
	struct io_request requests[N_BUFFERS] = {0};
	uint32_t idle[N_BUFFERS];
	unsigned n_idle = N_BUFFERS, n_begun = 0, n_ended = 0;
	struct io_done done[40];

	for (uint32_t i = 0; i < N_BUFFERS; i++)
		idle[i] = i;
	while (n_ended < n_reads) {
		while (io_engine_room(e) > 0 && n_idle > 0 && n_begun < n_reads) {
			struct io_request *r = &requests[idle[--n_idle]];

			r->id = (uint64_t)(r - requests);
			r->fd = fd;
			draw_request(r, alignment, 100000);
			io_engine_submit(e, r);
			n_begun++;
		}
		io_engine_flush(e);
		wait_readable(e);
		for (unsigned i = 0, n = io_engine_reap(e, done, 1 + (unsigned)draw(40)); i < n;
		     i++) {
			const struct io_request *r = &requests[done[i].id];
			const uint64_t left = r->offset < FILE_BYTES ? FILE_BYTES - r->offset : 0;

			assert_int_equal(done[i].n_bytes, r->n_bytes < left ? r->n_bytes : left);
			check_bytes(r->into, r->offset, (uint64_t)done[i].n_bytes);
			if (alignment == 1)
				assert_int_equal(((uint8_t *)r->into)[done[i].n_bytes], 0xaa);
			idle[n_idle++] = (uint32_t)done[i].id;
			n_ended++;
		}
	}
	assert_int_equal(io_engine_room(e), N_BUFFERS);
	assert_int_equal(n_idle, N_BUFFERS);
}

static void run_both_ways(const struct memory *area, unsigned n_reads)
{
	struct io_engine *e = new_engine(area);
	struct io_file f;

	for (int direct = 0; direct < 2; direct++) {
		assert_int_equal(io_file_open(path, direct != 0, &f), 0);
		atomic_store(&shim_grain, f.is_direct ? 512 : 1);
		run_reads(e, f.fd, f.is_direct ? f.alignment : 1, n_reads);
		io_file_close(&f);
	}
	io_engine_free(e);
}

static void random_reads(void **state)
{
	run_both_ways(&staging, 1500);
	run_both_ways(NULL, 200);
}

static void split_reads(void **state)
{
	atomic_store(&shim_rate, 40);
	run_both_ways(&staging, 800);
	assert_true(atomic_load(&n_altered) > 500);
	shim_off();
}

/* ---- failures ---- */

static int64_t read_once(struct io_engine *e, int fd, uint64_t offset, uint32_t n_bytes)
{
	const struct io_request r = {
		.id = 7, .fd = fd, .offset = offset, .n_bytes = n_bytes, .into = buffer(0)};
	struct io_done done = {0};

	io_engine_submit(e, &r);
	io_engine_flush(e);
	do {
		wait_readable(e);
	} while (io_engine_reap(e, &done, 1) == 0);
	assert_int_equal(done.id, 7);
	return done.n_bytes;
}

static void errors_come_out(void **state)
{
	struct io_engine *e = new_engine(&staging);
	int folder = open(".", O_RDONLY | O_CLOEXEC),
	    self = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	int file = open(path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read_once(e, folder, 0, 512), -EISDIR);
	assert_int_equal(read_once(e, self, 0, 512), -EIO);
	close(folder);
	assert_int_equal(read_once(e, folder, 0, 512), -EBADF);
	assert_int_equal(read_once(e, file, 0, 0), 0);
	assert_int_equal(read_once(e, file, FILE_BYTES, 10), 0);
	assert_int_equal(read_once(e, file, FILE_BYTES - 3, 10), 3);
	atomic_store(&shim_errno, EAGAIN); /* for ever: an error at last, not a hang */
	assert_int_equal(read_once(e, file, 0, 512), -EAGAIN);
	shim_off();
	assert_int_equal(read_once(e, file, 0, 512), 512);
	close(self);
	close(file);
	io_engine_free(e);
}

/* Files of /proc hand out a page or less at a time. */
static void really_short_reads(void **state)
{
	enum { N = 100000 };
	int fd = open("/proc/kallsyms", O_RDONLY | O_CLOEXEC);
	char *want = malloc(N);
	struct io_engine *e = new_engine(NULL);
	ssize_t n, n_all = 0;

	if (fd < 0) {
		print_message("no /proc/kallsyms here\n");
		goto out;
	}
	while (n_all < N && (n = read(fd, want + n_all, (size_t)(N - n_all))) > 0)
		n_all += n;
	assert_true(n_all > 0);
	assert_int_equal(read_once(e, fd, 0, N), n_all);
	assert_memory_equal(buffer(0), want, (size_t)n_all);
	close(fd);
out:
	free(want);
	io_engine_free(e);
}

/* ---- calls ---- */

struct waiting_call {
	int pipe[2];
	int result;
};

static int wait_for_byte(void *data)
{
	struct waiting_call *w = data;
	char byte;

	return read(w->pipe[0], &byte, 1) == 1 ? w->result : -EIO;
}

/* As the daemon does it: what waits has threads started with every turn. */
static struct io_done next_done(struct io_engine *e)
{
	struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};
	struct io_done done;
	unsigned n_turns = 0;

	while (io_engine_reap(e, &done, 1) == 0) {
		assert_true(n_turns++ < 2000);
		io_engine_flush(e);
		poll(&p, 1, 10);
	}
	return done;
}

/* More calls than there are threads at first: what is stuck in one holds neither reads nor the other calls. Results
 * come out as they are: a call that returns -EINTR is not made again. */
static void calls_that_wait(void **state)
{
	enum { N = 12, STUCK = N - 1 };
	struct io_engine *e = new_engine(&staging);
	struct waiting_call calls[N];
	struct io_file f;
	struct io_done done;
	unsigned n_ended = 0;

	assert_int_equal(io_file_open(path, false, &f), 0);
	for (int i = 0; i < N; i++) {
		calls[i].result = -i;
		assert_int_equal(pipe2(calls[i].pipe, O_CLOEXEC), 0);
		io_engine_call(e, (uint64_t)i, wait_for_byte, &calls[i]);
	}
	assert_int_equal(io_engine_busy(e), N);
	io_engine_flush(e);
	io_engine_submit(e, &(struct io_request){.id = N, .fd = f.fd, .n_bytes = BLOCK, .into = buffer(0)});
	done = next_done(e);
	assert_int_equal(done.id, N);
	assert_int_equal(done.n_bytes, BLOCK);
	assert_int_equal(write(calls[STUCK].pipe[1], "x", 1), 1); /* the last one first */
	done = next_done(e);
	assert_int_equal(done.id, STUCK);
	assert_int_equal(done.n_bytes, -STUCK);
	for (int i = 0; i < STUCK; i++)
		assert_int_equal(write(calls[i].pipe[1], "x", 1), 1);
	while (n_ended < STUCK) {
		wait_readable(e);
		for (; io_engine_reap(e, &done, 1) == 1; n_ended++)
			assert_int_equal(done.n_bytes, -(int64_t)done.id);
	}
	assert_int_equal(io_engine_busy(e), 0);
	for (int i = 0; i < N; i++) {
		close(calls[i].pipe[0]);
		close(calls[i].pipe[1]);
	}
	io_file_close(&f);
	io_engine_free(e);
}

/* ---- life ---- */

static void free_in_flight(void **state)
{
	struct io_file f;

	assert_int_equal(io_file_open(path, true, &f), 0);
	for (unsigned round = 0; round < 50; round++) {
		struct io_engine *e = new_engine(round % 2 ? &staging : NULL);
		struct io_done done[3];

		for (uint64_t i = 0; io_engine_room(e) > 0; i++) {
			struct io_request r = {.id = i, .fd = f.fd};

			draw_request(&r, BLOCK, 0);
			io_engine_submit(e, &r);
		}
		if (round % 3)
			io_engine_flush(e);
		if (round % 5 == 4)
			io_engine_reap(e, done, 3);
		io_engine_free(e);
		memset(staging.base, 0x55, staging.n_bytes);
	}
	struct io_engine *other = new_engine(NULL);

	assert_int_equal(read_once(other, f.fd, 0, BLOCK), BLOCK);
	for (size_t i = BUFFER; i < staging.n_bytes; i++)
		if (((uint8_t *)staging.base)[i] != 0x55)
			fail_msg("byte %zu was written after io_engine_free", i);
	io_engine_free(other);
	io_file_close(&f);
	assert_null(io_engine_free(NULL));
}

/* How many of the file's pages the page cache has, from first up to end. */
static unsigned count_cached(int fd, uint64_t first, uint64_t end)
{
	unsigned char has[FILE_BYTES / BLOCK + 1];
	void *at = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	unsigned n = 0;

	assert_true(at != MAP_FAILED);
	assert_int_equal(mincore(at, FILE_BYTES, has), 0);
	munmap(at, FILE_BYTES);
	for (uint64_t i = first / BLOCK; i < end / BLOCK; i++)
		n += has[i] & 1;
	return n;
}

/* A read past the page cache leaves of what was in there around it at most what it has read itself. */
static void past_the_cache(void **state)
{
	enum { PART = 2 << 20, AT = PART + 3 * BLOCK };
	struct io_engine *e = new_engine(&staging);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct io_request r = {.id = 1, .fd = fd, .offset = AT, .n_bytes = 9 * BLOCK, .into = buffer(1)};
	struct statfs of;
	struct io_done done;

	assert_int_equal(fstatfs(fd, &of), 0);
	if (of.f_type == 0x01021994) {
		print_message("skipped: %s is in a tmpfs, which is page cache alone\n", path);
		close(fd);
		io_engine_free(e);
		skip();
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* nothing is read ahead */
	for (uint64_t at = 0; at < 6 * (uint64_t)PART; at += BUFFER)
		assert_true(pread(fd, buffer(0), BUFFER, (off_t)at) > 0);
	assert_int_equal(count_cached(fd, 0, 6 * (uint64_t)PART), 6 * PART / BLOCK);
	for (int i = 0; i < 2; i++) {
		r.is_again = i == 1;
		io_engine_submit(e, &r);
		io_engine_flush(e);
		do {
			wait_readable(e);
		} while (io_engine_reap(e, &done, 1) == 0);
		assert_int_equal(done.n_bytes, 9 * BLOCK);
		check_bytes(buffer(1), AT, 9 * BLOCK);
		assert_int_equal(count_cached(fd, PART, 2 * PART), i ? 9 : PART / BLOCK);
	}
	assert_int_equal(count_cached(fd, 0, PART), PART / BLOCK);
	assert_int_equal(count_cached(fd, 2 * PART, 6 * (uint64_t)PART), 4 * PART / BLOCK);
	close(fd);
	io_engine_free(e);
}

static atomic_int n_signals, n_elsewhere;
static pid_t main_thread;

static void on_alarm(int number)
{
	atomic_fetch_add(&n_signals, 1);
	if (gettid() != main_thread)
		atomic_fetch_add(&n_elsewhere, 1);
}

static void storm_of_signals(void **state)
{
	const struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
	const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	struct sigaction before;

	main_thread = gettid();
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &often, NULL);
	run_both_ways(&staging, 400);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_true(atomic_load(&n_signals) > 0);
	assert_int_equal(atomic_load(&n_elsewhere), 0);
}

static void readiness_clears(void **state)
{
	struct io_engine *e = new_engine(&staging);
	struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct io_done done[2];

	assert_int_equal(poll(&p, 1, 0), 0);
	for (uint64_t i = 0; i < 2; i++)
		io_engine_submit(e, &(struct io_request){
					    .id = i, .fd = fd, .n_bytes = 9, .into = buffer(i)});
	assert_int_equal(poll(&p, 1, 0), 0);
	for (unsigned n = 0; n < 2;) {
		io_engine_flush(e);
		wait_readable(e);
		n += io_engine_reap(e, done, 1);
	}
	io_engine_reap(e, done, 1);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(fd);
	io_engine_free(e);
}

static int make_file(void **state)
{
	uint64_t *words = malloc(FILE_BYTES + 8);
	int fd = mkstemp(path);
	ssize_t n;

	for (uint64_t i = 0; i * 8 < FILE_BYTES; i++)
		words[i] = i * 8 * ODD;
	n = write(fd, words, FILE_BYTES);
	free(words);
	if (fd < 0 || n != FILE_BYTES || fsync(fd) < 0)
		return -1;
	close(fd);
	return memory_new("ringfeed-staging", (size_t)N_BUFFERS * BUFFER, &staging);
}

static int remove_file(void **state)
{
	memory_deinit(&staging);
	return unlink(path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_reads),	    cmocka_unit_test(split_reads),
		cmocka_unit_test(errors_come_out),  cmocka_unit_test(really_short_reads),
		cmocka_unit_test(free_in_flight),   cmocka_unit_test(storm_of_signals),
		cmocka_unit_test(readiness_clears), cmocka_unit_test(past_the_cache),
		cmocka_unit_test(calls_that_wait),
	};
	struct io_engine *e;
	struct reason why;

	kind = argc == 2 && strcmp(argv[1], "uring") == 0 ? IO_URING : IO_THREADS;
	if (io_engine_new(kind, 1, NULL, &e, &why) < 0) {
		fprintf(stderr, "skipped: %s\n", why.text);
		return 77;
	}
	io_engine_free(e);
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
