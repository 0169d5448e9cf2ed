/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "config/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *nearest(const char *word)
{
	static const char *const words[] = {"socket", "memory", "workers", "io", "log", "size"};
	struct nearest n;

	nearest_init(&n, word);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		nearest_try(&n, words[i]);
	return n.best ? n.best : "";
}

static void slips(void **state)
{
	assert_string_equal(nearest("wrokers"), "workers"); /* two neighbours swapped */
	assert_string_equal(nearest("worker"), "workers");
	assert_string_equal(nearest("memmory"), "memory");
	assert_string_equal(nearest("sise"), "size");
	assert_string_equal(nearest("logs"), "log");
	assert_string_equal(nearest("io"), "io");
}

static void too_far(void **state)
{
	assert_string_equal(nearest("batch"), "");
	assert_string_equal(nearest("xy"), "");
	assert_string_equal(nearest(""), "");
	assert_string_equal(nearest("a-word-that-is-longer-than-every-key-and-than-the-buffer-of-the-function"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slips),
		cmocka_unit_test(too_far),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
