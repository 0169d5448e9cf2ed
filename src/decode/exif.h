/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The orientation in a JPEG's Exif segment, a PNG's eXIf or a WebP's EXIF chunk, as Pillow's
 * ImageOps.exif_transpose reads it. Anything odd means 1, upright.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_EXIF_H
#define DECODE_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* 1 … 8, from a TIFF structure ("II*\0…"). */
unsigned exif_orientation(const uint8_t *tiff, size_t n);
/* The same from a whole JPEG: its first Exif segment before the first scan. */
unsigned exif_of_jpeg(const uint8_t *bytes, size_t n);

#endif
