/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One number becomes one element of a dtype.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_ELEMENT_H
#define DECODE_ELEMENT_H

#include "base/pipeline.h"

#include <stddef.h>
#include <stdint.h>

/* Writes ±magnitude. false: the dtype does not hold it exactly; 0 and 1 are all that a bool holds. */
bool element_put_integer(bool is_negative, uint64_t magnitude, enum dtype dtype, void *ret);
/* Writes the real, rounded to nearest even as NumPy's astype does, to bfloat16 by way of float32 as ml_dtypes'.
 * false: the dtype is no float, or a finite value would become infinite. */
bool element_put_real(double value, enum dtype dtype, void *ret);

/* "abc\x00" in quotes, in plain ASCII; a longer text ends in three dots. */
void element_quote(const void *bytes, size_t n, char *text, size_t n_text);

#endif
