/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * PNG's five row filters undone, in place. Two twins: plain C, and SSE2 where the compiler's baseline has
 * it, for pixels of 3 and 4 bytes.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_PNG_FILTER_H
#define DECODE_PNG_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PNG_FILTER_SLACK = 4 }; /* bytes that may be read behind both rows */

/* n bytes of a row, of n_pixel bytes a pixel, below another one. False when there is no such filter. */
bool png_unfilter(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter);
bool png_unfilter_plain(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter);

#endif
