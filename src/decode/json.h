/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A number, or a list of numbers nested as deep as the field's shape, at a place in a JSON document.
 *
 * Numbers go into integer dtypes when these hold them exactly, into floats rounded as NumPy does; true
 * and false are bools and nothing else. An integer that int64 does not hold is not JSON here, nor are NaN
 * and Infinity. Of a key that stands twice the last one counts, as in Python.
 *
 * The document's memory comes from the arena; one that is too small is CAUSE_decode_memory with
 * arena.is_over set.
 *
 * Threads: one caller in a process at a time: jansson knows one allocator.
 */
#ifndef DECODE_JSON_H
#define DECODE_JSON_H

#include "base/arena.h"
#include "base/pipeline.h"

#include <stddef.h>

/* Writes field_row_bytes(f). Or CAUSE_not_json, or CAUSE_wrong_value: nothing at f->key, or not what dtype
 * and shape say. */
enum cause json_value_decode(const struct field *f, struct arena *arena, const void *bytes, size_t n_bytes,
			     void *ret, char *detail, size_t n_detail);

#endif
