/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * PNG through libpng, and the everyday ones past it (png-plain.h). Every checksum of every chunk in the
 * bytes is checked before anything is decoded, over the chunks as they lie there, so libpng need not do it
 * again. What the stream holds behind the last row is not inflated but for its beginning: it costs nothing that a
 * hostile file could multiply. Ancillary chunks are not interpreted, but for eXIf's orientation. By libpng, rows above the region
 * are inflated and dropped, rows below are never reached; an interlaced image is decoded whole into the arena.
 */
#include "decode/codec.h"
#include "decode/exif.h"
#include "decode/png-plain.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>
#include <png.h>

enum {
	N_SIGNATURE = 8, N_CHUNK = 12, CHUNK_MAX = 0x7fffffff,
	BEHIND_MAX = 64 << 10, /* bytes behind the last row that are looked at */
	JUMP_FAILED = 1, JUMP_ALL_ROWS = 2, /* what longjmp brings */
};

struct png {
	png_structp png; /* lives in the arena */
	png_infop info;
	struct arena *arena;
	const uint8_t *bytes;
	size_t n_bytes, n_read;
	struct image_trouble *trouble;
	jmp_buf out;
	uint32_t width, height;
	uint8_t *line, *pixels; /* a row; all rows of an interlaced one */
	size_t n_behind;	/* bytes that libpng took behind the last row */
	bool is_interlaced, has_begun; /* to read rows */
	struct png_plain plain;
	struct libdeflate_decompressor *inflater; /* the codec's, whatever the image */
};

static uint32_t number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void on_error(png_structp png, png_const_charp text)
{
	struct png *p = png_get_error_ptr(png);

	codec_say(p->trouble, "libpng: %s", text);
	longjmp(p->out, JUMP_FAILED);
}

static void on_warning(png_structp png, png_const_charp text)
{
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t n_bytes)
{
	return arena_alloc(png_get_mem_ptr(png), n_bytes);
}

static void on_free(png_structp png, png_voidp at)
{
}

/* All rows are decoded, and libpng looks for the end of the stream: it inflates and drops what is left of it. */
static bool is_behind(const struct png *p)
{
	return p->is_interlaced ? png_get_current_pass_number(p->png) >= PNG_INTERLACE_ADAM7_PASSES
				: png_get_current_row_number(p->png) >= p->height;
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
	struct png *p = png_get_io_ptr(png);

	if (p->has_begun && is_behind(p) && (p->n_behind += n) > BEHIND_MAX)
		longjmp(p->out, JUMP_ALL_ROWS);
	if (n > p->n_bytes - p->n_read)
		png_error(png, "the bytes end too early");
	memcpy(to, p->bytes + p->n_read, n);
	p->n_read += n;
}

static void *png_make(void)
{
	struct png *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->inflater = libdeflate_alloc_decompressor();
	if (!p->inflater) {
		free(p);
		return NULL;
	}
	return p;
}

static void png_drop(void *codec)
{
	struct png *p = codec;

	if (p)
		libdeflate_free_decompressor(p->inflater);
	free(p);
}

/* Walks the chunks that are there as a whole; one that is cut off matters only if libpng gets to it. */
static enum cause check_chunks(struct png *p, bool has_exif, struct image_info *ret)
{
	size_t at = N_SIGNATURE;
	bool is_first = true;

	while (p->n_bytes - at >= N_CHUNK) {
		const uint8_t *chunk = p->bytes + at;
		const uint32_t n = number(chunk);

		if (n > CHUNK_MAX || n > p->n_bytes - at - N_CHUNK)
			break;
		const uint32_t sum = libdeflate_crc32(0, chunk + 4, (size_t)n + 4);

		if (sum != number(chunk + 8 + n)) {
			codec_say(p->trouble, "checksum of chunk %.4s at offset %zu is %08x, expected %08x",
				  (const char *)chunk + 4, at, sum, number(chunk + 8 + n));
			return CAUSE_damaged_image;
		}
		png_plain_note(&p->plain, chunk, n);
		if (has_exif && is_first && memcmp(chunk + 4, "eXIf", 4) == 0) {
			ret->orientation = exif_orientation(chunk + 8, n);
			is_first = false;
		}
		if (memcmp(chunk + 4, "IEND", 4) == 0)
			break;
		at += N_CHUNK + (size_t)n;
	}
	return CAUSE_none;
}

/* Indexes past a short palette mean gray, as in Pillow, whose palettes begin as a ramp. */
static void complete_palette(struct png *p)
{
	const int n = 1 << png_get_bit_depth(p->png, p->info);
	png_color whole[256];
	png_colorp colors;
	int n_colors = 0;

	if (!png_get_PLTE(p->png, p->info, &colors, &n_colors))
		png_error(p->png, "no palette");
	for (int i = 0; i < n; i++) {
		const png_byte gray = (png_byte)i;

		whole[i] = i < n_colors ? colors[i] : (png_color){gray, gray, gray};
	}
	png_set_PLTE(p->png, p->info, whole, n);
}

/* Everything becomes 8-bit RGB: palettes and grays are expanded, 16 bits cut to the high byte, alpha dropped. */
static void set_transforms(struct png *p)
{
	const png_byte type = png_get_color_type(p->png, p->info);

	if (type == PNG_COLOR_TYPE_PALETTE) {
		complete_palette(p);
		png_set_palette_to_rgb(p->png);
	}
	if (!(type & PNG_COLOR_MASK_COLOR)) {
		if (png_get_bit_depth(p->png, p->info) < 8)
			png_set_expand_gray_1_2_4_to_8(p->png);
		png_set_gray_to_rgb(p->png);
	}
	png_set_strip_16(p->png);
	png_set_strip_alpha(p->png);
	p->is_interlaced = png_set_interlace_handling(p->png) > 1;
	png_read_update_info(p->png, p->info);
	if (png_get_rowbytes(p->png, p->info) != 3 * (size_t)p->width)
		png_error(p->png, "a row is not RGB");
}

static enum cause failed(const struct png *p)
{
	return p->arena->is_over ? CAUSE_decode_memory : CAUSE_damaged_image;
}

/* Has libpng read the header. */
static enum cause begin(struct png *p)
{
	if (setjmp(p->out))
		return failed(p);
	p->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, p, on_error, on_warning, p->arena, on_alloc,
					  on_free);
	if (!p->png)
		return failed(p);
	p->info = png_create_info_struct(p->png);
	if (!p->info)
		return failed(p);
	png_set_read_fn(p->png, p, on_read);
	png_set_user_limits(p->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_crc_action(p->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
	png_set_keep_unknown_chunks(p->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
	png_read_info(p->png, p->info);
	p->width = png_get_image_width(p->png, p->info);
	p->height = png_get_image_height(p->png, p->info);
	return CAUSE_none;
}

static enum cause png_open(void *codec, struct arena *arena, const struct image_source *source,
			   struct image_trouble *trouble, struct image_info *ret)
{
	struct png *p = codec;
	enum cause cause;

	*p = (struct png){.arena = arena, .bytes = source->bytes, .n_bytes = source->n_bytes,
			  .trouble = trouble, .inflater = p->inflater};
	cause = check_chunks(p, source->has_exif, ret);
	if (cause != CAUSE_none)
		return cause;
	p->width = p->plain.width;
	p->height = p->plain.height;
	if (!png_plain_is(&p->plain)) {
		cause = begin(p);
		if (cause != CAUSE_none)
			return cause;
	}
	ret->width = p->width;
	ret->height = p->height;
	return codec_check_size(ret->width, ret->height, source->limits, trouble);
}

static void read_interlaced(struct png *p)
{
	const size_t stride = 3 * (size_t)p->width;

	p->pixels = arena_array(p->arena, p->height, stride);
	if (!p->pixels)
		longjmp(p->out, JUMP_FAILED);
	memset(p->pixels, 0, p->height * stride);
	for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++)
		for (uint32_t y = 0; y < p->height; y++)
			png_read_row(p->png, p->pixels + y * stride, NULL);
}

static void read_plain(struct png *p, const struct image_region *region, image_row_fn *row, void *user)
{
	p->line = arena_array(p->arena, p->width, 3);
	if (!p->line)
		longjmp(p->out, JUMP_FAILED);
	for (uint32_t y = 0; y < region->y1; y++) {
		png_read_row(p->png, p->line, NULL);
		if (y >= region->y0)
			row(user, p->line + 3 * (size_t)region->x0);
	}
}

static enum cause read_rows(struct png *p, const struct image_region *region, image_row_fn *row, void *user)
{
	switch (setjmp(p->out)) {
	case 0:
		set_transforms(p);
		p->has_begun = true;
		if (p->is_interlaced)
			read_interlaced(p);
		else
			read_plain(p, region, row, user);
		break;
	case JUMP_ALL_ROWS:
		if (!p->is_interlaced) /* the last row was decoded, but not handed out */
			row(user, p->line + 3 * (size_t)region->x0);
		break;
	default:
		return failed(p);
	}
	for (uint32_t y = region->y0; p->is_interlaced && y < region->y1; y++)
		row(user, p->pixels + 3 * ((size_t)p->width * y + region->x0));
	return CAUSE_none;
}

/* The plain way wants memory for the whole image; without it, row by row may still do. */
static enum cause png_read(void *codec, const struct image_region *region, image_row_fn *row, void *user)
{
	struct png *p = codec;
	const size_t n_used = p->arena->n_used;
	enum cause cause;

	if (!p->png) {
		if (png_plain_read(&p->plain, p->inflater, p->arena, region, row, user))
			return CAUSE_none;
		arena_rewind(p->arena, n_used);
		cause = begin(p);
		if (cause != CAUSE_none)
			return cause;
	}
	return read_rows(p, region, row, user);
}

static bool png_knows(const uint8_t *bytes, size_t n)
{
	static const uint8_t signature[N_SIGNATURE] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

	return n >= N_SIGNATURE && memcmp(bytes, signature, N_SIGNATURE) == 0;
}

const struct codec codec_png = {
	.name = "png",
	.knows = png_knows,
	.make = png_make,
	.drop = png_drop,
	.open = png_open,
	.read = png_read,
};
