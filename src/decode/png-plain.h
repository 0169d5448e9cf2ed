/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The everyday PNG, inflated at once by libdeflate and unfiltered here: about twice as fast as libpng.
 * Plain is an image of 8 bits a channel, gray, RGB, RGBA or palette, not interlaced, whose header libpng
 * would take without a word. Nothing is judged here: what turns out not to be plain after all, damage
 * included, is left to libpng, so verdicts and messages are libpng's.
 *
 * Threads: one caller per inflater.
 */
#ifndef DECODE_PNG_PLAIN_H
#define DECODE_PNG_PLAIN_H

#include "base/arena.h"
#include "decode/image.h"

struct libdeflate_decompressor;

struct png_plain {
	bool is_odd;	      /* it is not plain */
	bool is_behind_data;  /* the run of IDAT chunks has ended */
	uint8_t type;	      /* the colour type of IHDR */
	unsigned n_chunks;    /* seen so far */
	uint32_t width, height;
	const uint8_t *palette;
	uint32_t n_palette;   /* bytes */
	const uint8_t *data;  /* the first IDAT chunk */
	size_t n_data, n_data_chunks; /* bytes in all of them, which follow one another */
};

/* The next chunk, whole and with the right checksum, of n bytes behind its head. */
void png_plain_note(struct png_plain *p, const uint8_t *chunk, uint32_t n);
/* After the last chunk: has it all that a plain image must have? */
bool png_plain_is(const struct png_plain *p);
/* Hands out the rows of the region. False, and no row, when libpng must do it. */
bool png_plain_read(const struct png_plain *p, struct libdeflate_decompressor *inflater, struct arena *arena,
		    const struct image_region *region, image_row_fn *row, void *user);

#endif
