/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* 256 bytes suit every vector unit and a GPU's copy engine. Large slots are whole 2 MiB pages, so
 * that all of a slot can lie on them. */
#include "batch/layout.h"

#include "batch/bytes.h"

enum { ALIGNMENT = 256, PAGE = 4096, HUGE = 2 << 20, HUGE_FROM = 8 << 20 };

/* Where an array of n_bytes lies; *end moves behind it. */
static uint64_t place(uint64_t *end, uint64_t n_bytes)
{
	uint64_t at = bytes_round_up(*end, ALIGNMENT);

	*end = bytes_add(at, n_bytes);
	return at;
}

void slot_layout_make(const struct pipeline *p, uint32_t n_rows, struct slot_layout *ret)
{
	struct slot_layout l = {.n_rows = n_rows, .n_fields = p->n_fields};
	uint64_t end = 0;

	for (unsigned i = 0; i < p->n_fields; i++) {
		l.row_bytes[i] = field_row_bytes(&p->fields[i]);
		l.field_at[i] = place(&end, bytes_times(l.row_bytes[i], n_rows));
		if (field_is_ragged(&p->fields[i]))
			l.lengths_at[i] = place(&end, bytes_times(sizeof(int64_t), n_rows));
	}
	l.index_at = place(&end, bytes_times(sizeof(int64_t), n_rows));
	l.position_at = place(&end, bytes_times(sizeof(int64_t), n_rows));
	l.valid_at = place(&end, n_rows);
	l.n_bytes = bytes_round_up(end, end >= HUGE_FROM ? HUGE : PAGE);
	*ret = l;
}
