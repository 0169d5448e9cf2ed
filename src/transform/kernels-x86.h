/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Kernels for x86 that lie in files of their own, for the tables in kernels-avx2.c and kernels-avx512.c alone. */
#ifndef TRANSFORM_KERNELS_X86_H
#define TRANSFORM_KERNELS_X86_H

#include "transform/kernels.h"

/* May rows be written past the cache? A slot is read by another process, later, and is larger than the cache;
 * but lines that are written in part are slow that way. */
static inline bool is_whole_lines(const struct row_target *to, size_t n_value)
{
	const size_t n_row = to->width * (to->plane ? 1 : 3) * n_value;

	return ((uintptr_t)to->at | n_row | to->plane * n_value) % 64 == 0;
}

void avx2_split(const uint8_t *rgb, size_t n, struct row_room out);
void avx2_convert(const struct value_table *t, struct row in, const struct row_target *to);
void avx2_finish(void);

void avx512_split(const uint8_t *rgb, size_t n, struct row_room out);
void avx512_convert(const struct value_table *table, struct row in, const struct row_target *to);
void avx512_finish(void);

#endif
