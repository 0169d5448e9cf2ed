/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Arrays of fixed shape: the bare elements (raw), and NumPy's .npy files, versions 1 to 3. Both are copied
 * as they are: little-endian, in C order, of the field's own dtype. What else NumPy writes (another byte
 * order, Fortran order, structured dtypes) is refused by name; object arrays are pickles and never looked
 * into.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_ARRAY_H
#define DECODE_ARRAY_H

#include "base/pipeline.h"

#include <stddef.h>

/* Writes field_row_bytes(f). Or CAUSE_wrong_length, or CAUSE_wrong_value for a bool that is neither 0 nor 1. */
enum cause array_from_raw(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
			  size_t n_detail);
/* The same; CAUSE_not_npy when the header is none, CAUSE_wrong_array for another dtype, order or shape,
 * CAUSE_object_array. */
enum cause array_from_npy(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
			  size_t n_detail);

#endif
