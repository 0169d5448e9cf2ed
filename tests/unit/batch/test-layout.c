/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "batch/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pipeline image_and_label(enum dtype dtype, uint32_t side)
{
	struct pipeline p = {.n_fields = 2};

	p.fields[0] = (struct field){.dtype = dtype, .n_dims = 3, .dims = {3, side, side}};
	p.fields[1] = (struct field){.dtype = DTYPE_int64};
	return p;
}

/* Worked out by hand. */
static void known(void **state)
{
	const struct pipeline p = image_and_label(DTYPE_float16, 224),
			      small = image_and_label(DTYPE_uint8, 5);
	struct slot_layout l;

	slot_layout_make(&p, 64, &l);
	assert_int_equal(l.row_bytes[0], 301056);
	assert_int_equal(l.field_at[0], 0);
	assert_int_equal(l.field_at[1], 19267584);
	assert_int_equal(l.index_at, 19267584 + 512);
	assert_int_equal(l.position_at, 19267584 + 1024);
	assert_int_equal(l.valid_at, 19267584 + 1536);
	assert_int_equal(l.n_bytes, 10 << 21);
	slot_layout_make(&small, 7, &l);
	assert_int_equal(l.field_at[1], 768); /* 7 x 75 bytes and padding */
	assert_int_equal(l.index_at, 1024);
	assert_int_equal(l.position_at, 1280);
	assert_int_equal(l.valid_at, 1536);
	assert_int_equal(l.n_bytes, 4096);
}

static void check_range(uint64_t at, uint64_t n, uint64_t *end)
{
	assert_int_equal(at % 256, 0);
	assert_true(at >= *end && at - *end < 256);
	*end = at + n;
}

/* Nothing overlaps, everything is aligned, nothing is wasted but padding. */
static void any(void **state)
{
	srand(5);
	for (int round = 0; round < 2000; round++) {
		struct pipeline p = {.n_fields = 1 + (unsigned)rand() % FIELDS_MAX};
		const uint32_t n_rows = 1 + (uint32_t)rand() % 600;
		struct slot_layout l;
		uint64_t end = 0;

		for (unsigned i = 0; i < p.n_fields; i++) {
			struct field *f = &p.fields[i];

			f->dtype = (enum dtype)(rand() % DTYPE_COUNT);
			f->decode = rand() % 3 ? DECODE_RAW : DECODE_BYTES;
			f->n_dims = (unsigned)rand() % 4;
			for (unsigned d = 0; d < f->n_dims; d++)
				f->dims[d] = 1 + (uint32_t)rand() % 40;
		}
		slot_layout_make(&p, n_rows, &l);
		for (unsigned i = 0; i < p.n_fields; i++) {
			check_range(l.field_at[i], n_rows * field_row_bytes(&p.fields[i]), &end);
			if (p.fields[i].decode == DECODE_BYTES)
				check_range(l.lengths_at[i], 8ull * n_rows, &end);
			else
				assert_int_equal(l.lengths_at[i], 0);
		}
		check_range(l.index_at, 8ull * n_rows, &end);
		check_range(l.position_at, 8ull * n_rows, &end);
		check_range(l.valid_at, n_rows, &end);
		assert_true(l.n_bytes >= end);
		assert_true(l.n_bytes - end < (end >= 8 << 20 ? 2 << 20 : 4096));
		assert_int_equal(l.n_bytes % (end >= 8 << 20 ? 2 << 20 : 4096), 0);
	}
}

static void too_large_saturates(void **state)
{
	struct pipeline p = {.n_fields = 2};
	struct slot_layout l;

	for (int i = 0; i < 2; i++)
		p.fields[i] = (struct field){
			.dtype = DTYPE_float32, .n_dims = 3, .dims = {3, 1 << 28, 1 << 28}};
	slot_layout_make(&p, UINT32_MAX, &l);
	assert_true(l.n_bytes > UINT64_MAX - (4 << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(any),
		cmocka_unit_test(too_large_saturates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
