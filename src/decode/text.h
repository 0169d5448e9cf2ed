/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Bytes of any length up to the field's max, text among them, and names of classes. A row has room for max
 * bytes; behind the value it is zeros, so that the same sample makes the same row.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_TEXT_H
#define DECODE_TEXT_H

#include "base/pipeline.h"

#include <stddef.h>

/* A ragged field: writes the row and, unless it is NULL, *ret_length. Or CAUSE_too_long, or CAUSE_not_utf8 with decode: text. */
enum cause text_copy(const struct field *f, const void *bytes, size_t n_bytes, void *row, int64_t *ret_length,
		     char *detail, size_t n_detail);
/* The number of the class that the bytes name, as the field's dtype. Or CAUSE_unknown_class. */
enum cause text_class(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
		      size_t n_detail);

#endif
