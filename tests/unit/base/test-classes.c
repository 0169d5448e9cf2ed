/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Names of classes: lines, their numbers, and what is refused. */
#include "base/classes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct classes *made(const char *text, size_t n)
{
	struct classes *c = NULL;
	struct reason why;

	assert_int_equal(classes_new(text, n, &c, &why), 0);
	return c;
}

static int64_t find(const struct classes *c, const char *name)
{
	return classes_find(c, name, strlen(name));
}

static void numbers(void **state)
{
	static const char text[] = "cat\n dog \r\nnew york\n\tcat\tdog";
	struct classes *c = made(text, sizeof(text) - 1);

	assert_int_equal(classes_count(c), 4);
	assert_int_equal(find(c, "cat"), 0);
	assert_int_equal(find(c, "dog\n"), 1);
	assert_int_equal(find(c, " new york"), 2);
	assert_int_equal(find(c, "cat\tdog"), 3);
	assert_int_equal(find(c, "Cat"), -1);
	assert_int_equal(find(c, "new  york"), -1);
	assert_int_equal(find(c, ""), -1);
	assert_int_equal(classes_find(c, "cat\0", 4), -1);
	classes_free(c);
}

static void many(void **state)
{
	enum { N = 50000 };
	char *text = malloc(N * 8 + 1), name[16];
	struct classes *c;

	for (int i = 0; i < N; i++)
		snprintf(text + 8 * i, 9, "n%06d\n", (i * 7919) % N);
	c = made(text, N * 8);
	free(text); /* it was copied */
	assert_int_equal(classes_count(c), N);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%06d", (i * 7919) % N);
		assert_int_equal(find(c, name), i);
		name[0] = 'm';
		assert_int_equal(find(c, name), -1);
	}
	assert_true(classes_bytes(c) > N * 8);
	classes_free(c);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *why;
	} samples[] = {
		{"", "it has 0 lines; accepted: 1 to 16777216"},
		{"\n", "line 1 is empty"},
		{"a\n\n", "line 2 is empty"},
		{"a\n \t\nb\n", "line 2 is empty"},
		{"a\nb\nb", "line 3 has the name of line 2"},
		{"a\nb\n a\r\n", "line 3 has the name of line 1"},
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		struct classes *c = NULL;
		struct reason why;

		assert_int_equal(classes_new(samples[i].text, strlen(samples[i].text), &c, &why),
				 CLASSES_E_REFUSED);
		assert_string_equal(why.text, samples[i].why);
		assert_null(c);
	}
	classes_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(many),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
