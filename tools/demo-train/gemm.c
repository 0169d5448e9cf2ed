/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A tile of C, some rows by 16 columns, stays in registers while the inner dimension runs. The tile is
 * written once with GCC's vectors and compiled twice: for the architecture's base (3 rows fill SSE's
 * registers) and, on x86-64, for AVX2 with fused multiply-add (6 rows).
 */
#include "gemm.h"

#include <assert.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(32)));
enum { LANES = sizeof(lanes) / sizeof(float) };

#define INLINE static inline __attribute__((always_inline))

/* n_rows is a constant at every call, so that the accumulators are registers. */
INLINE void tile(size_t n_rows, const struct gemm_shape *s, const float *a, const float *b, float *c)
{
	lanes left[6], right[6];

	for (size_t i = 0; i < n_rows; i++) {
		memcpy(&left[i], c + i * s->n_columns, sizeof(lanes));
		memcpy(&right[i], c + i * s->n_columns + LANES, sizeof(lanes));
	}
	for (size_t k = 0; k < s->n_inner; k++) {
		lanes b_left, b_right;

		memcpy(&b_left, b + k * s->n_columns, sizeof(lanes));
		memcpy(&b_right, b + k * s->n_columns + LANES, sizeof(lanes));
		for (size_t i = 0; i < n_rows; i++) {
			float value = a[i * s->a_row + k * s->a_inner];

			left[i] += value * b_left;
			right[i] += value * b_right;
		}
	}
	for (size_t i = 0; i < n_rows; i++) {
		memcpy(c + i * s->n_columns, &left[i], sizeof(lanes));
		memcpy(c + i * s->n_columns + LANES, &right[i], sizeof(lanes));
	}
}

/* The tiles of one row of tiles share their part of A, which stays in the nearest cache. */
INLINE void multiply(size_t n_tile, const struct gemm_shape *s, const float *a, const float *b, float *c)
{
	size_t row = 0;

	assert(s->n_columns % GEMM_COLUMNS == 0);
	for (; row + n_tile <= s->n_rows; row += n_tile)
		for (size_t column = 0; column < s->n_columns; column += GEMM_COLUMNS)
			tile(n_tile, s, a + row * s->a_row, b + column, c + row * s->n_columns + column);
	for (; row < s->n_rows; row++)
		for (size_t column = 0; column < s->n_columns; column += GEMM_COLUMNS)
			tile(1, s, a + row * s->a_row, b + column, c + row * s->n_columns + column);
}

void gemm_plain(const struct gemm_shape *s, const float *a, const float *b, float *c)
{
	multiply(3, s, a, b, c);
}

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void gemm_avx2(const struct gemm_shape *s, const float *a,
							   const float *b, float *c)
{
	multiply(6, s, a, b, c);
}
#endif

void gemm(const struct gemm_shape *s, const float *a, const float *b, float *c)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		gemm_avx2(s, a, b, c);
		return;
	}
#endif
	gemm_plain(s, a, b, c);
}
