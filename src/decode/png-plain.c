/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libdeflate wants all of its input and room for all of its output at once: the chunks are copied
 * together if there are several, the inflated rows stay in the arena and are unfiltered in place, no
 * further right than the region. A region of the upper rows alone is left to libpng, which can stop.
 */
#include "decode/png-plain.h"

#include "decode/png-filter.h"

#include <string.h>

#include <libdeflate.h>

enum {
	N_HEAD = 8, N_CHUNK = 12, N_IHDR = 13, N_PALETTE = 768,
	TYPE_GRAY = 0, TYPE_RGB = 2, TYPE_PALETTE = 3, TYPE_RGBA = 6,
	ANCILLARY_BIT = 0x20,
	ANCILLARY_MAX = 1 << 20, /* libpng refuses chunks of eight million bytes */
	FILTERS = 5,
	WINDOW_MAX = 7, /* zlib's CINFO for 32 KiB */
	UPPER_NUM = 2, UPPER_DEN = 5, /* above this part of the rows, stopping early is better */
};

static uint32_t number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static unsigned pixel_bytes(const struct png_plain *p)
{
	return p->type == TYPE_RGB ? 3 : p->type == TYPE_RGBA ? 4 : 1;
}

static void note_header(struct png_plain *p, const uint8_t *at, uint32_t n)
{
	if (n != N_IHDR) {
		p->is_odd = true;
		return;
	}
	p->width = number(at);
	p->height = number(at + 4);
	p->type = at[9];
	p->is_odd = !p->width || !p->height || p->width > INT32_MAX || p->height > INT32_MAX || at[8] != 8 ||
		    at[10] || at[11] || at[12] ||
		    (p->type != TYPE_GRAY && p->type != TYPE_RGB && p->type != TYPE_PALETTE &&
		     p->type != TYPE_RGBA);
}

static void note_palette(struct png_plain *p, const uint8_t *at, uint32_t n)
{
	if (p->palette || !n || n % 3 || n > N_PALETTE)
		p->is_odd = true;
	p->palette = at;
	p->n_palette = n;
}

static bool is_letter(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void png_plain_note(struct png_plain *p, const uint8_t *chunk, uint32_t n)
{
	const uint8_t *name = chunk + 4;
	const bool is_data = memcmp(name, "IDAT", 4) == 0, is_header = memcmp(name, "IHDR", 4) == 0;

	if (p->is_odd || p->is_behind_data)
		return;
	if (is_header != (p->n_chunks++ == 0)) {
		p->is_odd = true;
	} else if (is_header) {
		note_header(p, chunk + N_HEAD, n);
	} else if (is_data) {
		if (!p->n_data_chunks++)
			p->data = chunk;
		p->n_data += n;
	} else if (p->n_data_chunks) {
		p->is_behind_data = true;
	} else if (memcmp(name, "PLTE", 4) == 0) {
		note_palette(p, chunk + N_HEAD, n);
	} else if (!(name[0] & ANCILLARY_BIT) || n > ANCILLARY_MAX || !is_letter(name[0]) ||
		   !is_letter(name[1]) || !is_letter(name[2]) || !is_letter(name[3])) {
		p->is_odd = true;
	}
}

bool png_plain_is(const struct png_plain *p)
{
	return !p->is_odd && p->n_data_chunks && (p->type != TYPE_PALETTE || p->palette);
}

/* The data of all chunks, one after the other. NULL when there is no room. */
static const uint8_t *join(const struct png_plain *p, struct arena *arena)
{
	const uint8_t *chunk = p->data;
	uint8_t *joined, *at;

	if (p->n_data_chunks == 1)
		return chunk + N_HEAD;
	at = joined = arena_alloc(arena, p->n_data);
	for (size_t i = 0; joined && i < p->n_data_chunks; i++) {
		const uint32_t n = number(chunk);

		memcpy(at, chunk + N_HEAD, n);
		at += n;
		chunk += N_CHUNK + (size_t)n;
	}
	return joined;
}

/* libpng's zlib keeps no more than the window that the stream's first byte names. */
static bool is_within_window(const uint8_t *data, size_t n_data, size_t n_inflated)
{
	const unsigned window = n_data ? data[0] >> 4 : 0;

	return window == WINDOW_MAX || (window < WINDOW_MAX && n_inflated <= (size_t)256 << window);
}

/* The rows as they come out of the stream, each with its filter before it. NULL when they do not. */
static uint8_t *inflate_rows(const struct png_plain *p, struct libdeflate_decompressor *inflater,
			     struct arena *arena)
{
	const uint8_t *data;
	uint8_t *rows;
	size_t n;

	if (__builtin_mul_overflow((size_t)p->width * pixel_bytes(p) + 1, (size_t)p->height, &n) ||
	    n > SIZE_MAX - PNG_FILTER_SLACK)
		return NULL;
	data = join(p, arena);
	rows = arena_alloc(arena, n + PNG_FILTER_SLACK);
	if (!data || !rows || !is_within_window(data, p->n_data, n))
		return NULL;
	/* Without a place for the size, only exactly n bytes are a success. */
	if (libdeflate_zlib_decompress(inflater, data, p->n_data, rows, n, NULL) != LIBDEFLATE_SUCCESS)
		return NULL;
	memset(rows + n, 0, PNG_FILTER_SLACK);
	return rows;
}

/* Indexes past a short palette mean gray, as png.c says. */
static void make_colors(const struct png_plain *p, uint8_t colors[N_PALETTE])
{
	for (unsigned i = 0; i < N_PALETTE; i++)
		colors[i] = p->type == TYPE_PALETTE && i < p->n_palette ? p->palette[i] : (uint8_t)(i / 3);
}

static void to_rgb(const uint8_t *from, uint8_t *to, uint32_t n, unsigned n_pixel, const uint8_t *colors)
{
	for (uint32_t i = 0; i < n; i++, from += n_pixel, to += 3)
		memcpy(to, n_pixel == 1 ? colors + 3 * (size_t)*from : from, 3);
}

static void hand_out(const struct png_plain *p, uint8_t *rows, const struct image_region *region,
		     uint8_t *line, image_row_fn *row, void *user)
{
	const unsigned n_pixel = pixel_bytes(p);
	const size_t stride = (size_t)p->width * n_pixel + 1, n = (size_t)region->x1 * n_pixel;
	const uint8_t *above = line; /* zeros still */
	uint8_t colors[N_PALETTE];

	make_colors(p, colors);
	for (uint32_t y = 0; y < region->y1; y++) {
		uint8_t *at = rows + y * stride + 1;
		const uint8_t *first = at + (size_t)region->x0 * n_pixel;

		png_unfilter(at, above, n, n_pixel, at[-1]);
		above = at;
		if (y < region->y0)
			continue;
		if (n_pixel != 3) {
			to_rgb(first, line, region->x1 - region->x0, n_pixel, colors);
			first = line;
		}
		row(user, first);
	}
}

bool png_plain_read(const struct png_plain *p, struct libdeflate_decompressor *inflater, struct arena *arena,
		    const struct image_region *region, image_row_fn *row, void *user)
{
	const size_t n_line = (size_t)region->x1 * 4 + PNG_FILTER_SLACK;
	const size_t stride = (size_t)p->width * pixel_bytes(p) + 1;
	uint8_t *rows, *line;

	if ((uint64_t)region->y1 * UPPER_DEN < (uint64_t)p->height * UPPER_NUM)
		return false;
	line = arena_alloc(arena, n_line);
	rows = line ? inflate_rows(p, inflater, arena) : NULL;
	if (!rows)
		return false;
	for (uint32_t y = 0; y < region->y1; y++)
		if (rows[y * stride] >= FILTERS)
			return false;
	memset(line, 0, n_line);
	hand_out(p, rows, region, line, row, user);
	return true;
}
