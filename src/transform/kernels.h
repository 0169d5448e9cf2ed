/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The inner loops of the pixel path, one table of functions per instruction set. All tables give the
 * same bits; the one in plain C is the reference.
 *
 * A row of pixels is three planes of 8-bit values, red, green and blue, whose beginnings lie `stride`
 * bytes apart. Kernels work in whole vectors, so
 * - up to KERNELS_SLACK bytes past the last value of a row are read (and do not matter),
 * - a row that is written has a stride that is a multiple of KERNELS_ALIGN and KERNELS_SLACK bytes behind
 *   its last plane; all of that may be overwritten.
 * Interleaved pixels, coming in or going out, are read and written exactly.
 *
 * Each table keeps the weights of an axis in a form of its own, in memory of the caller that is
 * 64-byte aligned; ask for the size first.
 *
 * Threads: any; tables are constant.
 */
#ifndef TRANSFORM_KERNELS_H
#define TRANSFORM_KERNELS_H

#include "transform/table.h"
#include "transform/taps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KERNELS_ALIGN = 16, KERNELS_SLACK = 64, KERNELS_BLOCK = 16 };

struct row {
	const uint8_t *at;
	size_t stride;
};

struct row_room {
	uint8_t *at;
	size_t stride;
};

static inline struct row row_of(struct row_room room)
{
	return (struct row){room.at, room.stride};
}

/* Room for one row with its slack. false: the arena is too small. */
static inline bool row_room_make(struct arena *arena, size_t stride, struct row_room *ret)
{
	*ret = (struct row_room){(uint8_t *)arena_alloc(arena, 3 * stride + KERNELS_SLACK), stride};
	return ret->at;
}

/* Where a row of the result goes. */
struct row_target {
	void *at;	/* first value of the row, of channel 0 */
	size_t plane;	/* values between channels; 0: they alternate (hwc) */
	uint32_t width; /* pixels */
	bool is_flipped;
};

struct kernels {
	const char *name;
	/* n interleaved RGB pixels to planes. */
	void (*split)(const uint8_t *rgb, size_t n, struct row_room out);

	size_t (*horizontal_bytes)(const struct taps *taps);
	void (*prepare_horizontal)(const struct taps *taps, void *weights);
	/* One row of taps->end_in - first_in pixels to one of taps->n_out. */
	void (*horizontal)(const struct taps *taps, const void *weights, struct row in, struct row_room out);

	size_t (*vertical_bytes)(const struct taps *taps);
	void (*prepare_vertical)(const struct taps *taps, void *weights);
	/* taps->n_taps rows to output i: n values of each, all planes in one go. */
	void (*vertical)(const struct taps *taps, const void *weights, uint32_t i,
			 const uint8_t *const *rows, size_t n, uint8_t *out);

	/* The row of t->n_out pixels that nearest picks. */
	void (*pick)(const struct taps *taps, struct row in, struct row_room out);

	/* A square block of KERNELS_BLOCK bytes a side, mirrored on its diagonal. */
	void (*transpose)(const uint8_t *in, size_t in_stride, uint8_t *out, size_t out_stride);

	/* A row through the table to the target, maybe past the cache. */
	void (*convert)(const struct value_table *table, struct row in, const struct row_target *to);
	/* After the last row: from here on other processors see what convert() wrote before what follows. */
	void (*finish)(void);
};

extern const struct kernels kernels_c;
#ifdef __x86_64__
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

enum { KERNELS_MAX = 3 };

/* Those that this machine can run, slowest first. Returns how many. */
unsigned kernels_usable(const struct kernels *ret[KERNELS_MAX]);
/* The last of these, or the one that the environment variable RINGFEED_KERNELS names. NULL: it names none. */
const struct kernels *kernels_best(void);

#endif
