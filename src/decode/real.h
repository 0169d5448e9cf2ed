/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Decimal numbers in ASCII: what Python's float() takes, at most REAL_CHARACTERS_MAX characters of it. Space
 * around it is fine, an underscore may stand between two digits, "inf" and "nan" are numbers.
 *
 * Threads: any; nothing here has state. Relies on the C locale, which ringfeed never leaves.
 */
#ifndef DECODE_REAL_H
#define DECODE_REAL_H

#include "base/pipeline.h"

#include <stddef.h>

enum { REAL_CHARACTERS_MAX = 1000 };

/* Writes the value, a double rounded to that float dtype. CAUSE_not_a_number, with the text quoted in detail,
 * when it is none, or finite and too large for the dtype. */
enum cause real_decode(const void *bytes, size_t n_bytes, enum dtype dtype, void *ret, char *detail,
		       size_t n_detail);

#endif
