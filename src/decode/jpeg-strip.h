/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What libjpeg must decode around a region so that the region comes out as in a decode of the whole
 * image: libjpeg takes the edge of what it decodes for the edge of the image, and its triangle filter,
 * which doubles chroma, looks one chroma sample past each pixel.
 *
 * Call jpeg_calc_output_dimensions() first; all numbers are pixels of the output.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_JPEG_STRIP_H
#define DECODE_JPEG_STRIP_H

#include "decode/image.h"

#include <stdio.h>

#include <jpeglib.h>

/* x0, y0 and, unless the image ends before, y1 lie on iMCU edges; x1 needs no more than it says. */
struct jpeg_strip {
	uint32_t x0, y0, x1, y1;
};

struct jpeg_strip jpeg_strip_around(const struct jpeg_decompress_struct *c,
				    const struct image_region *region);
/* Width and height of an iMCU. */
uint32_t jpeg_imcu_width(const struct jpeg_decompress_struct *c);
uint32_t jpeg_imcu_height(const struct jpeg_decompress_struct *c);
/* Does upsampling mix in the neighbouring row of a component? */
bool jpeg_mixes_rows(const struct jpeg_decompress_struct *c);

#endif
