/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Two passes over the bytes, which memchr for 0xff makes cheap beside decoding them: the first follows
 * the markers and finds where the needed segments lie and how long they are, the second copies them.
 *
 * Rows are left out down to the last one, at or above the first that is needed, that begins with a
 * segment; columns, if the interval divides the MCUs of a row. Segments that stay in between without being
 * needed are emptied, and libjpeg, which finds no data there, passes over their MCUs at once.
 */
#include "decode/jpeg-restart.h"

#include <string.h>

enum {
	MARKER_SOF0 = 0xc0, MARKER_SOF2 = 0xc2, MARKER_RST0 = 0xd0, MARKER_RST7 = 0xd7, MARKER_SOI = 0xd8,
	MARKER_EOI = 0xd9, MARKER_SOS = 0xda, MARKER_APP0 = 0xe0, MARKER_APP14 = 0xee, MARKER_APP15 = 0xef,
	MARKER_COM = 0xfe,
	SIDES_AT = 5, /* height and width, from a frame header's first byte on */
	/* libjpeg-turbo leaves its fast path when less than 512 bytes a block are left. */
	FAST_BYTES = 512 * D_MAX_BLOCKS_IN_MCU,
	SAVED_PART = 16, /* at least this part of the MCUs must be saved: 1 in so many */
};

/* All in MCUs, which are iMCUs here, and segments. */
struct plan {
	uint32_t x0, y0, x1, y1;     /* the rectangle that is needed */
	uint32_t n_columns, n_rows;  /* of the file */
	uint32_t interval;
	uint32_t left, top, right;   /* where the cut begins, and its columns' end; it ends at y1 */
	uint64_t first, last;	     /* segments of the cut's rows */
	uint64_t n_total;	     /* segments of the file */
};

enum fate { DROPPED, EMPTIED, KEPT };

struct extent {
	size_t at, n;
};

/* Where the entropy-coded data begins; 0 when libjpeg has read past the end. */
static size_t scan_at(const struct jpeg_decompress_struct *c, const uint8_t *bytes, size_t n)
{
	const uintptr_t at = (uintptr_t)c->src->next_input_byte, start = (uintptr_t)bytes;

	return at > start && at - start <= n ? (size_t)(at - start) : 0;
}

static bool is_simple(const struct jpeg_decompress_struct *c)
{
	return c->restart_interval > 0 && !c->progressive_mode && !c->arith_code &&
	       c->comps_in_scan == c->num_components &&
	       (c->num_components > 1 || (c->max_h_samp_factor == 1 && c->max_v_samp_factor == 1));
}

static uint32_t parts(uint64_t n, uint64_t size)
{
	return (uint32_t)((n + size - 1) / size);
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		const uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* False when cutting would save next to nothing. */
static bool make_plan(const struct jpeg_decompress_struct *c, const struct jpeg_strip *strip, struct plan *p)
{
	const uint32_t w = jpeg_imcu_width(c), h = jpeg_imcu_height(c), interval = c->restart_interval;
	const uint32_t columns = parts(c->output_width, w);
	const uint32_t step = interval / common_divisor(interval, columns);
	uint64_t n_kept, n_read;

	*p = (struct plan){.x0 = strip->x0 / w, .y0 = strip->y0 / h, .x1 = parts(strip->x1, w),
			   .y1 = parts(strip->y1, h), .n_columns = columns,
			   .n_rows = parts(c->output_height, h), .interval = interval, .right = columns};
	p->top = p->y0 / step * step;
	/* Whether the file's last segment has all its bytes, only decoding it tells. */
	if (columns % interval == 0 && p->y1 < p->n_rows) {
		p->left = p->x0 / interval * interval;
		p->right = parts(p->x1, interval) * interval;
	}
	p->n_total = ((uint64_t)columns * p->n_rows + interval - 1) / interval;
	p->first = (uint64_t)p->top * columns / interval;
	p->last = ((uint64_t)p->y1 * columns - 1) / interval;
	n_read = (uint64_t)columns * p->y1;
	n_kept = (uint64_t)p->x1 - p->x0 + interval - 1;
	n_kept = (n_kept < columns ? n_kept : columns) * (p->y1 - p->y0);
	return n_read - n_kept >= n_read / SAVED_PART + 1;
}

/* Does the segment hold an MCU of the rectangle? */
static bool is_needed(const struct plan *p, uint64_t segment)
{
	const uint64_t from = (uint64_t)p->y0 * p->n_columns, to = (uint64_t)p->y1 * p->n_columns;
	const uint64_t start = segment * p->interval, end = start + p->interval;
	const uint64_t a = start > from ? start : from, b = end < to ? end : to;
	uint64_t rows;
	bool has_right, has_left;

	if (a >= b)
		return false;
	rows = (b - 1) / p->n_columns - a / p->n_columns;
	has_right = a % p->n_columns < p->x1;
	has_left = (b - 1) % p->n_columns >= p->x0;
	return rows == 0 ? has_right && has_left : rows > 1 || has_right || has_left;
}

static enum fate fate_of(const struct plan *p, uint64_t segment)
{
	const uint32_t column = (uint32_t)(segment * p->interval % p->n_columns);
	const bool has_columns_cut = p->right - p->left < p->n_columns;

	if (segment < p->first || (has_columns_cut && (column < p->left || column >= p->right)))
		return DROPPED;
	return is_needed(p, segment) || segment + 1 == p->n_total ? KEPT : EMPTIED;
}

/* The marker that ends the segment, as an offset; n when the bytes end before there is one. */
static size_t find_marker(const uint8_t *bytes, size_t n, size_t at)
{
	while (at < n) {
		const uint8_t *ff = memchr(bytes + at, 0xff, n - at);

		if (!ff || (size_t)(ff - bytes) + 1 == n)
			return n;
		if (ff[1] != 0)
			return (size_t)(ff - bytes);
		at = (size_t)(ff - bytes) + 2;
	}
	return n;
}

/*
 * Follows the markers from the first segment, at that offset, to the last one of the last row, and sets
 * ret to where the first one of the cut's rows begins and the bytes of all that stay. False when a
 * marker is missing or is not the one that is due; behind the last segment of all, any marker will do.
 */
static bool measure(const struct plan *p, const uint8_t *bytes, size_t n, size_t at, struct extent *ret)
{
	*ret = (struct extent){0};
	for (uint64_t i = 0; i <= p->last; i++) {
		const size_t end = find_marker(bytes, n, at);

		if (end == n || bytes[end + 1] == 0xff)
			return false;
		if (i + 1 < p->n_total && bytes[end + 1] != MARKER_RST0 + i % 8)
			return false;
		if (i == p->first)
			ret->at = at;
		if (fate_of(p, i) != DROPPED)
			ret->n += fate_of(p, i) == KEPT ? end + 2 - at : 2;
		at = end + 2;
	}
	return true;
}

static uint8_t *append(uint8_t *to, const uint8_t *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

/* Copies the segments that stay, which measure() has seen, with their markers numbered anew. */
static uint8_t *copy_segments(const struct plan *p, const uint8_t *bytes, size_t n, size_t at, uint8_t *to)
{
	unsigned n_markers = 0;

	for (uint64_t i = p->first; i <= p->last; i++) {
		const size_t end = find_marker(bytes, n, at);

		const size_t from = fate_of(p, i) == KEPT ? at : end;

		if (fate_of(p, i) != DROPPED) {
			to = append(to, bytes + from, end + 2 - from);
			if (i + 1 < p->n_total)
				to[-1] = (uint8_t)(MARKER_RST0 + n_markers++ % 8);
		}
		at = end + 2;
	}
	return to;
}

static bool is_dropped(uint8_t marker)
{
	return marker == MARKER_COM || (marker >= MARKER_APP0 && marker <= MARKER_APP15 &&
					marker != MARKER_APP0 && marker != MARKER_APP14);
}

/* The header's segments that libjpeg reads, one after the other up to the scan: their bytes together,
 * copied when there is a place to copy to. 0 when something else lies between them. */
static size_t copy_header(const uint8_t *bytes, size_t n_header, uint8_t *to, uint8_t **ret_sides)
{
	size_t at = 2, n_kept = 2;

	if (to)
		memcpy(to, bytes, 2);
	while (at + 4 <= n_header) {
		const uint8_t marker = bytes[at + 1];
		const size_t n = 2 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3]);

		if (bytes[at] != 0xff || marker < MARKER_SOF0 || marker == 0xff || n > n_header - at ||
		    (marker >= MARKER_RST0 && marker <= MARKER_EOI))
			return 0;
		if (!is_dropped(marker)) {
			if (to)
				memcpy(to + n_kept, bytes + at, n);
			if (to && marker >= MARKER_SOF0 && marker < MARKER_SOF2 && n >= SIDES_AT + 4)
				*ret_sides = to + n_kept + SIDES_AT;
			n_kept += n;
		}
		at += n;
		if (marker == MARKER_SOS)
			return at == n_header ? n_kept : 0;
	}
	return 0;
}

static uint32_t side(uint32_t from, uint32_t to, uint32_t imcu, uint32_t whole)
{
	const uint64_t end = (uint64_t)to * imcu;

	return (uint32_t)((end < whole ? end : whole) - (uint64_t)from * imcu);
}

static void put_side(uint8_t *at, uint32_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

bool jpeg_cut(const struct jpeg_decompress_struct *c, const uint8_t *bytes, size_t n,
	      const struct jpeg_strip *strip, struct arena *arena, struct jpeg_cut *ret)
{
	const size_t n_header = scan_at(c, bytes, n);
	uint8_t *copy, *end, *sides = NULL;
	struct extent kept;
	size_t n_copied;
	struct plan p;

	if (!n_header || !is_simple(c) || !make_plan(c, strip, &p) ||
	    !measure(&p, bytes, n, n_header, &kept))
		return false;
	n_copied = copy_header(bytes, n_header, NULL, NULL);
	if (!n_copied)
		return false;
	copy = arena_alloc(arena, n_copied + kept.n + 2 + FAST_BYTES);
	if (!copy)
		return false;
	copy_header(bytes, n_header, copy, &sides);
	if (!sides)
		return false;
	put_side(sides, side(p.top, p.y1, (uint32_t)c->max_v_samp_factor * DCTSIZE, c->image_height));
	put_side(sides + 2, side(p.left, p.right, (uint32_t)c->max_h_samp_factor * DCTSIZE, c->image_width));
	end = copy_segments(&p, bytes, n, kept.at, copy + n_copied);
	memset(end, 0, 2 + FAST_BYTES);
	end[0] = 0xff;
	end[1] = MARKER_EOI;
	*ret = (struct jpeg_cut){.bytes = copy, .n_bytes = (size_t)(end - copy) + 2 + FAST_BYTES,
				 .x = p.left, .y = p.top};
	return true;
}
