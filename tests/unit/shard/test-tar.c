/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the Python oracles cannot see: how a scan is driven, and headers read by themselves. */
#include "shard/tar.h"

#include "shard/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void make_header(uint8_t *block, const char *name, unsigned size)
{
	unsigned sum = 0;

	memset(block, 0, 512);
	snprintf((char *)block, 100, "%s", name);
	snprintf((char *)block + 124, 12, "%011o", size);
	memcpy(block + 257, "ustar\00000", 8);
	block[156] = '0';
	memset(block + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += block[i];
	snprintf((char *)block + 148, 8, "%06o", sum);
}

static int stop_at_once(void *context, const struct tar_member *m)
{
	assert_string_equal(m->name, "a.txt");
	return 42;
}

static void callers_answer_is_passed_on(void **state)
{
	uint8_t bytes[2048] = {0};
	struct tar_scan *s;
	struct reason why;

	make_header(bytes, "a.txt", 5);
	assert_int_equal(tar_scan_new("x.tar", sizeof(bytes), &s), 0);
	assert_int_equal(tar_scan_feed(s, bytes, sizeof(bytes), stop_at_once, NULL, &why), 42);
	tar_scan_free(s);
}

static void file_that_shrank_is_cut_short(void **state)
{
	uint8_t bytes[1024];
	struct tar_scan *s;
	struct reason why;
	uint64_t offset;
	size_t n;

	make_header(bytes, "a.txt", 5);
	assert_int_equal(tar_scan_new("x.tar", 100000, &s), 0);
	assert_int_equal(tar_scan_feed(s, bytes, 0, stop_at_once, NULL, &why), TAR_E_REFUSED);
	assert_non_null(strstr(why.text, "x.tar, offset 0: cut short"));
	tar_scan_free(s);
	assert_int_equal(tar_scan_new("x.tar", 0, &s), 0);
	tar_scan_want(s, &offset, &n);
	assert_int_equal(n, 0);
	assert_int_equal(tar_scan_feed(s, NULL, 0, stop_at_once, NULL, &why), TAR_E_REFUSED);
	tar_scan_free(s);
}

static void rewritten_place_is_no_header(void **state)
{
	static struct tar_header header;
	uint8_t block[512];
	struct reason why;

	make_header(block, "d/a.txt", 77);
	assert_int_equal(tar_header_read(block, 512, &header, &why), 0);
	assert_string_equal(header.name, "d/a.txt");
	assert_int_equal(header.size, 77);
	assert_int_equal(header.payload_at, 512);
	assert_int_equal(tar_header_read(block, 511, &header, &why), TAR_E_REFUSED);
	block[5]++;
	assert_int_equal(tar_header_read(block, 512, &header, &why), TAR_E_REFUSED);
	memset(block, 0, sizeof(block));
	assert_int_equal(tar_header_read(block, 512, &header, &why), TAR_E_REFUSED);
}

static void long_extension_is_cut(void **state)
{
	char extension[8];
	size_t n_key;

	assert_true(tar_split_name("a.ABCDEFGHIJ", &n_key, extension, sizeof(extension)));
	assert_string_equal(extension, "abcdefg");
	assert_int_equal(n_key, 1);
}

static void builder_can_be_used_again(void **state)
{
	const struct tar_member m = {.name = "k.jpg", .payload_offset = 512, .size = 1};
	const struct stat st = {.st_size = 1024};
	struct index_builder *b;
	struct shard_index x;

	assert_int_equal(index_builder_new(&b), 0);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(index_builder_on_member(b, &m), 0);
		assert_int_equal(index_builder_finish(b, &st, &x), 0);
		assert_int_equal(x.n_samples, 1);
		assert_int_equal(x.samples[0].flags, 0);
		assert_string_equal(x.text + x.samples[0].key, "k");
		shard_index_deinit(&x);
		shard_index_deinit(&x);
	}
	index_builder_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callers_answer_is_passed_on),
		cmocka_unit_test(file_that_shrank_is_cut_short),
		cmocka_unit_test(rewritten_place_is_no_header),
		cmocka_unit_test(long_extension_is_cut),
		cmocka_unit_test(builder_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
