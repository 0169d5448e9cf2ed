/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a .npy file, for fields of every dtype and several shapes: an array, and then it is the file's end, byte
 * for byte, or a cause. So that the input is spent on headers, each is also tried with as many elements behind
 * it as the field wants.
 */
#include "decode/array.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { DETAIL = 120, SHAPES = 4 };

static const struct {
	unsigned n_dims;
	uint32_t dims[DIMS_MAX];
} shapes[SHAPES] = {{0, {0}}, {1, {3}}, {2, {2, 3}}, {4, {1, 2, 3, 4}}};

static void check(const struct field *f, const uint8_t *bytes, size_t n)
{
	const uint64_t n_row = field_row_bytes(f);
	uint8_t *row = starve_own(n_row);
	char detail[DETAIL] = "";
	enum cause cause = array_from_npy(f, bytes, n, row, detail, sizeof(detail));

	CHECK(cause == CAUSE_none || cause == CAUSE_not_npy || cause == CAUSE_wrong_array ||
	      cause == CAUSE_object_array || cause == CAUSE_wrong_length || cause == CAUSE_wrong_value);
	CHECK(memchr(detail, 0, sizeof(detail)));
	if (cause == CAUSE_none)
		CHECK(n >= n_row + 10 && memcmp(bytes, "\x93NUMPY", 6) == 0 &&
		      memcmp(row, bytes + n - n_row, n_row) == 0);
	free(row);
}

/* Where the header says it ends, as NumPy's format has it; n when it ends nowhere. */
static size_t header_end(const uint8_t *bytes, size_t n)
{
	uint64_t end;

	if (n < 12)
		return n;
	end = bytes[6] == 1 ? 10u + bytes[8] + 256u * bytes[9]
			    : 12 + (bytes[8] | (uint64_t)bytes[9] << 8 | (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24);
	return end < n ? (size_t)end : n;
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	for (unsigned i = 0; i < DTYPE_COUNT * SHAPES; i++) {
		struct field f = {.name = "x", .decode = DECODE_NPY, .dtype = (enum dtype)(i / SHAPES),
				  .n_dims = shapes[i % SHAPES].n_dims};
		size_t end = header_end(bytes, n);
		uint8_t *whole;

		memcpy(f.dims, shapes[i % SHAPES].dims, sizeof(f.dims));
		check(&f, bytes, n);
		whole = starve_own(end + field_row_bytes(&f));
		if (end)
			memcpy(whole, bytes, end);
		memset(whole + end, 1, field_row_bytes(&f));
		check(&f, whole, end + field_row_bytes(&f));
		free(whole);
	}
}
