/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What each of the 256 values of each channel becomes: scaled, normalised in float32 in torchvision's
 * order of operations, rounded once to the dtype.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TRANSFORM_TABLE_H
#define TRANSFORM_TABLE_H

#include "transform/kernels.h"

/* Fills the table for the field's scale, normalize steps and dtype. */
void table_make(const struct field *f, struct value_table *ret);

/* One rounding, to nearest even, as NumPy's and ml_dtypes' astype. */
uint16_t table_float16(float value);
uint16_t table_bfloat16(float value);

#endif
