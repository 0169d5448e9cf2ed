/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Huffman decoding of sequential JPEGs in libjpeg's place, which is where most of the time of a decode goes.
 * It hands out the same coefficients, of damaged files too, and warns of missing bytes at the same places; of
 * codes that are none it warns always, of bytes left over before a marker not always as often. All that
 * comes after it stays libjpeg's.
 *
 * One kind of damage comes out otherwise: several 0xff and then a zero amid the data. libjpeg-turbo tries
 * such an MCU in two ways and may leave in it what the first one found; here nothing of it is left.
 *
 * Tables are kept from image to image, so that files that share theirs need not derive them again.
 *
 * Threads: one caller.
 */
#ifndef DECODE_JPEG_ENTROPY_H
#define DECODE_JPEG_ENTROPY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>
/* What libjpeg's own modules know of each other; Debian installs it beside jpeglib.h. */
#define JPEG_INTERNALS
#include <jpegint.h>

enum { ENTROPY_LOOK = 12 }; /* bits that one look into a table can resolve */

struct entropy_table {
	UINT8 bits[17], symbols[256]; /* what it was made from */
	bool is_made;
	int32_t max_code[18]; /* of each length, -1 for none; of length 17: no bound */
	int32_t offset[17];   /* symbols[code + offset] */
	/* By the next bits: a coefficient whose code and value are both among them, value << 8 | run << 4 |
	 * bits of both; else 0. */
	uint16_t whole[1 << ENTROPY_LOOK];
	/* A code that is among them, symbol << 8 | bits of the code; else 0. */
	uint16_t codes[1 << ENTROPY_LOOK];
};

struct entropy_block {
	const struct entropy_table *dc, *ac;
	int member; /* component of the scan */
};

struct jpeg_entropy {
	struct jpeg_entropy_decoder pub; /* first: libjpeg's pointer to it is one to this */
	struct entropy_table dc[NUM_HUFF_TBLS], ac[NUM_HUFF_TBLS];
	/* The scan in hand. */
	struct entropy_block blocks[D_MAX_BLOCKS_IN_MCU];
	int n_blocks;
	uint64_t acc;	/* bits not yet used, the next one on top */
	int n_bits;	/* how many of them count */
	int last_dc[MAX_COMPS_IN_SCAN];
	unsigned restarts_to_go;
};

/* Between jpeg_start_decompress() and the first row. Does nothing for images of another kind. e must live as
 * long as the decompression, and stays the caller's. */
void jpeg_entropy_take_over(struct jpeg_entropy *e, j_decompress_ptr c);

#endif
