/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Geometry against values worked out by hand from torchvision's definitions, and the golden draw. */
#include "transform/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct field field_of(const struct step *steps, unsigned n)
{
	struct field f = {.name = "image", .n_steps = n};

	memcpy(f.steps, steps, n * sizeof(*steps));
	return f;
}

static struct plan plan_of(const struct step *steps, unsigned n, uint32_t width, uint32_t height)
{
	const struct field f = field_of(steps, n);
	const struct plan_at at = {.seed = 7, .epoch = 3, .position = 5, .width = width, .height = height,
				   .orientation = 1};
	struct plan p;

	assert_int_equal(plan_make(&f, &at, &p), CAUSE_none);
	return p;
}

static void golden_crop(void **state)
{
	const struct step s = {.kind = STEP_RANDOM_RESIZED_CROP, .height = 224, .width = 224,
			       .scale = {0.08, 1.0}, .ratio = {3.0 / 4, 4.0 / 3},
			       .interpolation = FILTER_BILINEAR};
	const struct field f = field_of(&s, 1);
	const struct plan p = plan_of(&s, 1, 500, 375);
	char text[100];
	const int n = plan_print(&f, &p, text, sizeof(text));

	assert_int_equal(n, strlen(text));
	assert_string_equal(text, "image/0=random_resized_crop(top=41,left=245,height=179,width=202)");
}

static void sizes(void **state)
{
	const struct step short_side = {.kind = STEP_RESIZE, .height = 256, .interpolation = FILTER_BILINEAR};
	struct plan p = plan_of(&short_side, 1, 500, 375);

	assert_int_equal(p.width, 341); /* int(256 * 500 / 375) */
	assert_int_equal(p.height, 256);
	p = plan_of(&short_side, 1, 375, 500);
	assert_int_equal(p.width, 256);
	assert_int_equal(p.height, 341);
	p = plan_of(&short_side, 1, 256, 300);
	assert_int_equal(p.n_ops, 0);
}

static void center_offsets(void **state)
{
	/* round half to even of (size - crop) / 2: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, 3.5 -> 4 */
	static const int expected[] = {0, 0, 1, 2, 2, 2, 3, 4, 4};
	const struct step crop = {.kind = STEP_CENTER_CROP, .height = 10, .width = 10};

	for (uint32_t n = 1; n < 9; n++) {
		const struct plan p = plan_of(&crop, 1, 10 + n, 10);

		assert_int_equal(p.ops[0].left, expected[n]);
	}
	for (uint32_t n = 1; n < 9; n++) {
		const struct plan p = plan_of(&crop, 1, 10 - n, 10);

		assert_int_equal(p.ops[0].left, -(int)(n / 2));
	}
}

static void only_what_is_needed(void **state)
{
	/* 400 x 400 -> 200 x 200 -> its middle 100 x 100: bilinear reaches 2 inputs past each end. */
	const struct step steps[] = {
		{.kind = STEP_RESIZE, .height = 200, .width = 200, .interpolation = FILTER_BILINEAR},
		{.kind = STEP_CENTER_CROP, .height = 100, .width = 100},
	};
	const struct plan p = plan_of(steps, 2, 400, 400);

	assert_int_equal(p.source.x0, 99);
	assert_int_equal(p.source.x1, 301);
	assert_int_equal(p.source.y0, 99);
	assert_int_equal(p.source.y1, 301);
}

static void refusals(void **state)
{
	const struct step steps[] = {{.kind = STEP_NORMALIZE},
				     {.kind = STEP_RESIZE, .height = 1, .width = 1}};
	struct field f = field_of(steps, 2);

	f.dtype = DTYPE_float32;
	assert_non_null(plan_check(&f));
	f.n_steps = 1;
	assert_null(plan_check(&f));
	f.dtype = DTYPE_uint8;
	assert_non_null(plan_check(&f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_crop),	       cmocka_unit_test(sizes),
		cmocka_unit_test(center_offsets),      cmocka_unit_test(only_what_is_needed),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
