/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Limits, alignment and what a reset and a trim leave. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void limit(void **state)
{
	struct arena a;
	unsigned char *first, *second;

	assert_int_equal(arena_init(&a, 1 << 20), 0);
	assert_null(arena_alloc(&a, 1)); /* nothing may be used before the first reset */
	arena_reset(&a, 1000);
	assert_false(a.is_over);
	first = arena_alloc(&a, 100);
	second = arena_alloc(&a, 500);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal((uintptr_t)second % ARENA_ALIGN, 0);
	assert_true(second >= first + 100);
	memset(second, 1, 500);
	assert_null(arena_alloc(&a, 500));
	assert_true(a.is_over);
	arena_reset(&a, SIZE_MAX); /* cut to what is reserved */
	assert_false(a.is_over);
	assert_ptr_equal(arena_alloc(&a, 1 << 20), first);
	assert_null(arena_alloc(&a, 1));
	arena_deinit(&a);
	arena_deinit(&a);
}

static void overflow(void **state)
{
	struct arena a;

	assert_int_equal(arena_init(&a, 4096), 0);
	arena_reset(&a, 4096);
	assert_null(arena_array(&a, SIZE_MAX / 2, 4));
	assert_true(a.is_over);
	arena_reset(&a, 4096);
	assert_non_null(arena_array(&a, 64, 64));
	arena_deinit(&a);
}

static void trim(void **state)
{
	struct arena a;
	unsigned char *bytes;

	assert_int_equal(arena_init(&a, 1 << 20), 0);
	arena_reset(&a, 1 << 20);
	bytes = arena_alloc(&a, 1 << 20);
	assert_non_null(bytes);
	memset(bytes, 7, 1 << 20);
	arena_trim(&a, 4097);
	assert_int_equal(bytes[8191], 7);
	assert_int_equal(bytes[8192], 0); /* fresh from the system */
	arena_deinit(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit),
		cmocka_unit_test(overflow),
		cmocka_unit_test(trim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
