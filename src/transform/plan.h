/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the transforms of a field do to one image of a given size: the drawn numbers, the geometry as a
 * list of windows and resizes, and which rectangle of the source the result needs. Pixels are not
 * touched here.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TRANSFORM_PLAN_H
#define TRANSFORM_PLAN_H

#include "base/pipeline.h"
#include "transform/taps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rect {
	uint32_t x0, y0, x1, y1;
};

struct box {
	double x0, y0, x1, y1;
};

enum op_kind {
	OP_WINDOW, /* out(x, y) = in(left + x, top + y), x mirrored first if flipped; fill outside */
	OP_RESIZE, /* of the box of the input, which is all of it unless the decoder shrinks */
	OP_ORIENT, /* EXIF orientation 3 … 8; 2 is a mirrored window, 4 a vertical flip too */
	OP_GRAY,   /* every channel becomes Pillow's L */
};

struct op {
	enum op_kind kind;
	uint32_t in_width, in_height, out_width, out_height;
	int64_t left, top;
	bool is_flipped;
	uint8_t fill;
	enum filter filter;
	struct box box;
	unsigned orientation;
	struct rect in, out; /* the pixels that the result needs */
};

/* One random step as drawn. */
struct draw_note {
	unsigned step;
	bool is_flipped;
	uint32_t top, left, height, width; /* what the kind of step has */
};

/* random_resized_crop makes two, orientation one. */
enum { OPS_MAX = 2 * STEPS_MAX + 1 };

struct plan {
	struct op ops[OPS_MAX];
	unsigned n_ops;
	uint32_t width, height; /* of the result */
	bool is_flipped;	/* the result is mirrored as the very last thing */
	bool is_upside_down;	/* and written from its last row up */
	uint32_t shrink;	/* the decoder is to make the image smaller by this: 1, 2, 4 or 8 */
	struct rect source;	/* what is needed of the image as stored, shrunk */
	struct draw_note draws[STEPS_MAX];
	unsigned n_draws;
};

/* The sample a plan is for. */
struct plan_at {
	uint64_t seed, epoch, position;
	uint32_t width, height; /* of the image as stored, both > 0 */
	unsigned orientation;	/* 1 … 8 */
	uint32_t max_shrink;	/* what the decoder can make it smaller by; 0: nothing is decoded */
};

/* CAUSE_none, CAUSE_too_small, or CAUSE_too_many_pixels for a resize past 2^31 a side. */
enum cause plan_make(const struct field *f, const struct plan_at *at, struct plan *ret);

/* One axis of a resize, with the outputs that are needed. */
struct taps_axis op_across(const struct op *op);
struct taps_axis op_down(const struct op *op);

/* Do the field's steps make sense for pixels: geometry before normalize, floats for it? A sentence
 * without full stop says what is wrong, or NULL. */
const char *plan_check(const struct field *f);

/* The draws as text, "image/0=random_resized_crop(top=41,…)", tab-separated. Length as snprintf. */
int plan_print(const struct field *f, const struct plan *plan, char *text, size_t n_text);

#endif
