/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Samples that are taken back half-way leave no trace: the tar is the one that never saw them, plain and
 * compressed (by libzstd's own decompression), and size and hash are the file's, wherever they stand and
 * however large they are.
 */
#include "pack/output.h"
#include "pack/ustar.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

enum { N_SAMPLES = 60, LARGE = 9 << 20 };

static char folder[] = "/tmp/rf-output-XXXXXX";

/* A small generator, so that every run is the same. */
static uint32_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

static void put_sample(struct output *o, unsigned i, size_t n, bool is_dropped)
{
	static uint8_t bytes[LARGE], zeros[USTAR_BLOCK];
	uint8_t header[USTAR_BLOCK];
	char name[32];
	uint64_t state = i;

	snprintf(name, sizeof(name), "s%04u.bin", i);
	for (size_t k = 0; k < n; k++)
		bytes[k] = (uint8_t)(next(&state) & 0x1f);
	assert_int_equal(output_begin_sample(o, ustar_member_bytes(n)), 0);
	assert_int_equal(output_member(o, name, n, header), 0);
	assert_int_equal(output_put(o, &(struct iovec){header, USTAR_BLOCK}, 1), 0);
	for (size_t at = 0; at < n; at += 1 << 20) {
		size_t n_now = n - at < 1 << 20 ? n - at : 1 << 20;

		if (is_dropped && at + n_now == n)
			break;
		assert_int_equal(output_put(o, &(struct iovec){bytes + at, n_now}, 1), 0);
	}
	if (is_dropped) {
		assert_int_equal(output_drop_sample(o), 0);
		return;
	}
	if (n % USTAR_BLOCK)
		assert_int_equal(output_put(o, &(struct iovec){zeros, USTAR_BLOCK - n % USTAR_BLOCK}, 1), 0);
	assert_int_equal(output_end_sample(o), 0);
}

/* has_dropped: the samples that will go are put and taken back; else they are passed over. */
static void write_shard(int folder_fd, bool is_squeezed, bool has_dropped, uint64_t *ret_n,
			uint64_t *ret_hash)
{
	const struct output_place place = {.folder = folder, .name = "t", .folder_fd = folder_fd, .is_squeezed = is_squeezed};
	struct output o;
	uint64_t state = 1;

	assert_int_equal(output_begin(&o, &place), 0);
	for (unsigned i = 0; i < N_SAMPLES; i++) {
		bool is_large = i % 6 == 3; /* of several frames; every second one goes, behind small ones that stay */
		size_t n = is_large ? LARGE - next(&state) % 3000000 : next(&state) % 150000 + 1;
		bool is_dropped = is_large ? i % 12 == 3 : next(&state) % 3 == 0;

		if (!is_dropped || has_dropped)
			put_sample(&o, i, n, is_dropped);
	}
	assert_int_equal(output_finish(&o, ret_n, ret_hash), 0);
}

struct bytes {
	char *at;
	size_t n;
};

/* Writes a shard, checks size and hash, takes its bytes and removes it. */
static struct bytes make(bool is_squeezed, bool has_dropped)
{
	const char *name = is_squeezed ? "t-000000.tar.zst" : "t-000000.tar";
	int folder_fd = open(folder, O_RDONLY | O_DIRECTORY), fd;
	struct bytes ret;
	struct stat st;
	uint64_t n, hash;

	write_shard(folder_fd, is_squeezed, has_dropped, &n, &hash);
	fd = openat(folder_fd, name, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	ret = (struct bytes){malloc((size_t)st.st_size), (size_t)st.st_size};
	assert_int_equal(read(fd, ret.at, ret.n), ret.n);
	assert_int_equal(ret.n, n);
	assert_int_equal(hash_bytes(ret.at, ret.n), hash);
	close(fd);
	assert_int_equal(unlinkat(folder_fd, name, 0), 0);
	unlinkat(folder_fd, is_squeezed ? "t-000000.tar.zst.rfidx" : "t-000000.tar.rfidx", 0);
	close(folder_fd);
	return ret;
}

static void check(bool is_squeezed, bool has_dropped)
{
	struct bytes expected = make(false, false), got = make(is_squeezed, has_dropped);

	if (is_squeezed) {
		char *raw = malloc(expected.n + 1);
		size_t n = ZSTD_decompress(raw, expected.n + 1, got.at, got.n);

		assert_false(ZSTD_isError(n));
		free(got.at);
		got = (struct bytes){raw, n};
	}
	assert_int_equal(got.n, expected.n);
	assert_memory_equal(got.at, expected.at, got.n);
	free(got.at);
	free(expected.at);
}

static void plain(void **state)
{
	check(false, true);
}

static void squeezed(void **state)
{
	check(true, false);
	check(true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(squeezed)};
	int n_failed;

	if (!mkdtemp(folder))
		return 1;
	n_failed = cmocka_run_group_tests_name("pack-output", tests, NULL, NULL);
	return rmdir(folder) < 0 || n_failed;
}
