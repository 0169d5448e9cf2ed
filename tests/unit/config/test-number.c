/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "config/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void counts(void **state)
{
	static const char *const wrong[] = {"", "-1", "+1", "010", "0x10", "1_000", " 1", "1 ", "1.0", "1e3",
					    "18446744073709551616", "one"};
	uint64_t n = 7;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(number_count(wrong[i], &n));
	assert_true(number_count("0", &n));
	assert_int_equal(n, 0);
	assert_true(number_count("18446744073709551615", &n));
	assert_int_equal(n, UINT64_MAX);
}

static void sizes(void **state)
{
	static const char *const wrong[] = {"1", "1KB", "1GB", "1gib", "1 GiB", "1.5GiB", "GiB", "-1B",
					    "16777216TiB", "1GiBB", "1KiB "};
	uint64_t n = 7;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(number_size(wrong[i], &n));
	assert_int_equal(n, 7);
	assert_true(number_size("512B", &n));
	assert_int_equal(n, 512);
	assert_true(number_size("64KiB", &n));
	assert_int_equal(n, 65536);
	assert_true(number_size("2GiB", &n));
	assert_int_equal(n, 2147483648);
	assert_true(number_size("16777215TiB", &n));
}

static void times(void **state)
{
	uint64_t n;

	assert_true(number_time("200ms", &n));
	assert_int_equal(n, 200000000);
	assert_true(number_time("30s", &n));
	assert_int_equal(n, 30000000000);
	assert_true(number_time("5min", &n));
	assert_int_equal(n, 300000000000);
	assert_true(number_time("1h", &n));
	assert_int_equal(n, 3600000000000);
	assert_true(number_time("3us", &n));
	assert_int_equal(n, 3000);
	assert_false(number_time("5m", &n));
	assert_false(number_time("5", &n));
	assert_false(number_time("0.5s", &n));
	assert_false(number_time("9999999999h", &n));
}

static void reals(void **state)
{
	static const char *const wrong[] = {"", ".5", "1.", "0x1p3", "nan", "inf", "1e999", "1e", "--1", "+1",
					    "01.5", "1,5", "1.5 ", "5%"};
	double x;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(number_real(wrong[i], &x));
	assert_true(number_real("1.3333333333333333", &x));
	assert_true(x == 4.0 / 3);
	assert_true(number_real("-2.5e-1", &x));
	assert_true(x == -0.25);
	assert_true(number_share("0.1%", &x));
	assert_true(x == 0.001);
	assert_true(number_share("100%", &x));
	assert_true(x == 1);
	assert_false(number_share("0.1", &x));
	assert_false(number_share("-1%", &x));
	assert_false(number_share("1 %", &x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(sizes),
		cmocka_unit_test(times),
		cmocka_unit_test(reals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
