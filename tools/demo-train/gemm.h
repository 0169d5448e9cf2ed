/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * C += A · B for single-precision matrices: all that a convolution by im2col needs, forwards and
 * backwards.
 *
 * B and C lie row by row without gaps; A may be strided any way, so that its transpose costs nothing.
 * The number of columns is a multiple of GEMM_COLUMNS. Threads: any; matrices must not overlap.
 */
#ifndef DEMO_TRAIN_GEMM_H
#define DEMO_TRAIN_GEMM_H

#include <stddef.h>

enum { GEMM_COLUMNS = 16 };

/* A is n_rows × n_inner, B n_inner × n_columns, C n_rows × n_columns. */
struct gemm_shape {
	size_t n_rows, n_columns, n_inner;
	size_t a_row, a_inner; /* floats from one row of A to the next, and within a row */
};

/* With the widest instructions this CPU has. */
void gemm(const struct gemm_shape *shape, const float *a, const float *b, float *c);
/* With those that every CPU of the architecture has; the same to within rounding. */
void gemm_plain(const struct gemm_shape *shape, const float *a, const float *b, float *c);

#endif
