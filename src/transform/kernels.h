/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The inner loops of the pixel path, one table of functions per instruction set. All tables give the
 * same bits; the one in plain C is the reference.
 *
 * Rows of 8-bit RGB are what comes in and goes out. Between the passes of a resize lie middle rows,
 * whose form is each table's own business: n_middle bytes per value, three values a pixel. Each table
 * also keeps the weights of an axis in a form of its own. Middle rows, weights and the 8-bit rows that
 * vertical() and lower() write are 64-byte aligned; room for a row is a multiple of 64 values. What
 * lies past its last value is read, so it begins as zero bytes, and may be overwritten.
 *
 * Threads: any; tables are constant.
 */
#ifndef TRANSFORM_KERNELS_H
#define TRANSFORM_KERNELS_H

#include "transform/taps.h"

#include <stddef.h>
#include <stdint.h>

enum { KERNELS_ROW_ROUND = 64 };

/* A table of what each value of each channel becomes: exact by construction. */
struct value_table {
	uint8_t to8[3][256];
	uint16_t to16[3][256];
	uint32_t to32[3][256];
};

/* Where a row of the result goes. */
struct row_target {
	void *at;	      /* first value of the row, of channel 0 */
	size_t plane;	      /* values between channels; 0: they alternate (hwc) */
	uint32_t width;	      /* pixels */
	bool is_flipped;
};

struct kernels {
	const char *name;
	size_t n_middle; /* bytes of a middle value */
	size_t n_weight; /* bytes of a weight */
	size_t n_lifted; /* bytes of scratch per value of a whole input row of horizontal() */

	void (*prepare_horizontal)(const struct taps *taps, void *weights);
	void (*prepare_vertical)(const struct taps *taps, void *weights);
	/* One row of taps->end_in - first_in RGB pixels to a middle row of taps->n_out pixels. */
	void (*horizontal)(const struct taps *taps, const void *weights, const uint8_t *rgb, void *lifted,
			   void *middle);
	/* n_taps middle rows to one 8-bit row of n values; weights are those of one output. */
	void (*vertical)(const void *weights, uint32_t n_taps, const void *const *rows, size_t n,
			 uint8_t *out);
	/* 8-bit to middle and back, n values. */
	void (*lift)(const uint8_t *in, size_t n, void *middle);
	void (*lower)(const void *middle, size_t n, uint8_t *out);
	/* RGB pixels through the table to the target, by bytes of a value. */
	void (*convert8)(const struct value_table *table, const uint8_t *rgb, const struct row_target *to);
	void (*convert16)(const struct value_table *table, const uint8_t *rgb, const struct row_target *to);
	void (*convert32)(const struct value_table *table, const uint8_t *rgb, const struct row_target *to);
};

extern const struct kernels kernels_c;

/* The fastest table this machine can run. */
const struct kernels *kernels_best(void);

#endif
