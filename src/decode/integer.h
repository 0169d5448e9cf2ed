/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Decimal integers in ASCII, as WebDataset's `cls` members hold them: what Python's int() takes, less
 * underscores. Space around it is fine, anything else is not an integer.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_INTEGER_H
#define DECODE_INTEGER_H

#include "base/pipeline.h"

#include <stddef.h>
#include <stdint.h>

/* Writes the value as that dtype, any of them, which must hold it exactly. CAUSE_not_an_integer, with the text
 * quoted in detail (n_detail bytes with the closing zero), when it is none or does not fit. */
enum cause integer_decode(const void *bytes, size_t n_bytes, enum dtype dtype, void *ret, char *detail,
			  size_t n_detail);

#endif
