/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * JPEG, PNG and WebP bytes to rows of 8-bit RGB, exactly as Pillow's convert("RGB") sees them. Only the rows
 * and columns that are asked for are decoded as far as the format allows: rows above are skipped,
 * nothing below is touched.
 *
 * A JPEG can also be decoded at 1/2, 1/4 or 1/8 of its size, by a smaller inverse DCT: as Pillow's
 * draft() does, faster than decoding it whole, but not what shrinking the whole image gives.
 *
 * All memory that depends on the image comes from the arena that image_open() is given, and all of it
 * is asked for before the first row is handed out. An arena that is too small is CAUSE_decode_memory
 * with arena.is_over set.
 *
 * Use: image_open(), look at the size, image_read() once. The next image_open() forgets the image.
 *
 * Threads: one caller per decoder.
 */
#ifndef DECODE_IMAGE_H
#define DECODE_IMAGE_H

#include "base/arena.h"
#include "base/pipeline.h"

#include <stddef.h>
#include <stdint.h>

enum { IMAGE_DETAIL_MAX = 120 };

/*
 * The columns [x0, x1) and rows [y0, y1) of the stored image shrunk by that much, which has
 * image_shrunk(width, shrink) columns and image_shrunk(height, shrink) rows; neither is empty.
 */
struct image_region {
	uint32_t x0, y0, x1, y1;
	uint32_t shrink; /* 1, 2, 4 or 8, at most the image's max_shrink; 0 is 1 */
};

/* What is wrong with an image; both "" and 0 when nothing is. */
struct image_trouble {
	uint32_t n_warnings; /* of libjpeg */
	char detail[IMAGE_DETAIL_MAX];
};

struct image_source {
	const void *bytes; /* borrowed until the image is read */
	size_t n_bytes;
	const struct limits *limits;
	bool has_exif; /* look for an orientation */
};

struct image_info {
	uint32_t width, height; /* as stored, before orientation */
	unsigned orientation;	/* 1 … 8 as EXIF numbers them; 1 unless asked for */
	uint32_t max_shrink;	/* what decoding can shrink it by: 1, 2, 4 or 8 */
};

/* One side of an image after shrinking: as many pixels as there are blocks begun. */
static inline uint32_t image_shrunk(uint32_t side, uint32_t shrink)
{
	return side / shrink + (side % shrink != 0);
}

/* Takes row y of the region, 3 bytes a pixel from column x0 on; valid during the call only. */
typedef void image_row_fn(void *user, const uint8_t *rgb);

struct image;

/* The decoders' contexts. 0 or -errno. */
int image_new(struct image **ret);
struct image *image_free(struct image *im);

/* Reads the header. */
enum cause image_open(struct image *im, struct arena *arena, const struct image_source *source,
		      struct image_info *ret);
/* Hands out the rows of the region, from the top, once each. On failure some rows may be out already. */
enum cause image_read(struct image *im, const struct image_region *region, image_row_fn *row, void *user);
/* What the last open and read had to say. */
const struct image_trouble *image_trouble(const struct image *im);

#endif
