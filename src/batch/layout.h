/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where everything lies in a slot: the fields' arrays, a ragged one's lengths behind it, then index,
 * position and valid, each at a multiple of 256 bytes. Same on every side; the offsets travel once, at attach
 * (proto/protocol.md).
 */
#ifndef BATCH_LAYOUT_H
#define BATCH_LAYOUT_H

#include "base/pipeline.h"

#include <stddef.h>
#include <stdint.h>

struct slot_layout {
	uint32_t n_rows; /* samples a full batch has */
	unsigned n_fields;
	uint64_t field_at[FIELDS_MAX];	/* byte offset of the field's array */
	uint64_t row_bytes[FIELDS_MAX]; /* of one sample */
	uint64_t lengths_at[FIELDS_MAX]; /* int64[n_rows] of a ragged field, else 0 */
	uint64_t index_at, position_at; /* int64[n_rows] */
	uint64_t valid_at;		/* bool[n_rows], a byte each */
	uint64_t n_bytes; /* of the slot: whole 4 KiB pages, whole 2 MiB from 8 MiB on */
};

void slot_layout_make(const struct pipeline *p, uint32_t n_rows, struct slot_layout *ret);

#endif
