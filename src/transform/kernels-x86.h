/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Kernels for x86 that lie in files of their own, for the tables in kernels-avx2.c and kernels-avx512.c alone. */
#ifndef TRANSFORM_KERNELS_X86_H
#define TRANSFORM_KERNELS_X86_H

#include "transform/kernels.h"

void avx2_split(const uint8_t *rgb, size_t n, struct row_room out);
void avx2_convert(const struct value_table *t, struct row in, const struct row_target *to);
void avx2_finish(void);

void avx512_split(const uint8_t *rgb, size_t n, struct row_room out);
void avx512_convert(const struct value_table *table, struct row in, const struct row_target *to);
void avx512_finish(void);

#endif
