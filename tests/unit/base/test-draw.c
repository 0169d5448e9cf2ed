/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Golden values of proto/order.md. */
#include "base/draw.h"

#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void golden_keys(void **state)
{
	const struct draw_source from = {.seed = 7, .epoch = 3, .position = 5,
					 .field_hash = hash_text("image"),
					 .path_hash = hash_text("3/0")};

	assert_int_equal(hash_text("image"), 0x050d4627045d5f07);
	assert_int_equal(draw_key(7, 3, DRAW_SAMPLES, NULL, 0), 0x679281f360606dd0);
	assert_int_equal(draw_number(&from, 2), 0xd27ff81f25b191e3);
}

static void ranges(void **state)
{
	assert_true(draw_unit(0) == 0.0);
	assert_true(draw_unit(UINT64_MAX) < 1.0);
	assert_int_equal(draw_below(UINT64_MAX, 10), 9);
	assert_int_equal(draw_below(0, 10), 0);
	assert_true(draw_log_uniform(0, 0.75, 4.0 / 3) == 0.75);
	assert_true(draw_log_uniform(UINT64_MAX, 0.75, 4.0 / 3) > 1.33333);
	assert_false(draw_event(UINT64_MAX, 0.5));
	assert_true(draw_event(0, 0.5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_keys),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
