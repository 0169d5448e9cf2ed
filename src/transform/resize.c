/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Pillow rounds to 8 bits after each pass and leaves out a pass whose sizes are equal. Horizontal first:
 * the ring holds middle rows of the output's width. Vertical first (Pillow 13, on tall cuts): the ring
 * holds lifted source rows, and each row that the vertical pass makes goes through the horizontal one.
 */
#include "transform/resize.h"

#include <stdbool.h>
#include <string.h>

/* One axis: its taps, the kernels' form of their weights; absent where the sizes are equal. */
struct axis {
	bool is_there;
	struct taps taps;
	uint8_t *weights;
};

struct resize {
	const struct kernels *kernels;
	const struct op *op;
	bool is_nearest, is_vertical_first;
	struct axis across, down;
	uint32_t n_ring, n_ring_pixels; /* rows of the ring and their width */
	uint8_t *ring;
	size_t n_ring_row; /* bytes */
	uint32_t n_taken, n_given;
	const void **rows; /* the ring rows that one output row mixes */
	void *lifted;
	uint8_t *middle; /* vertical first: what the horizontal pass makes */
	uint8_t *line, *out;
};

static size_t round_up(size_t n)
{
	return (n + KERNELS_ROW_ROUND - 1) / KERNELS_ROW_ROUND * KERNELS_ROW_ROUND;
}

/* The rule that Pillow 13 follows. */
static bool wants_vertical_first(const struct op *op, enum pass_order order)
{
	return order == PASS_PILLOW13 && op->in_height > op->out_height &&
	       (int64_t)op->in_height - op->out_height >
		       2 * ((int64_t)op->in_width - (int64_t)op->out_width);
}

static bool make_axis(struct resize *r, const struct taps_axis *wanted, struct arena *arena, bool is_across,
		      struct axis *ret)
{
	const struct kernels *k = r->kernels;

	ret->is_there = wanted->n_in != wanted->n_out || r->is_nearest;
	if (!ret->is_there)
		return true;
	if (!taps_make(wanted, arena, &ret->taps))
		return false;
	if (r->is_nearest)
		return true;
	ret->weights = arena_array(arena, (size_t)ret->taps.n_out * ret->taps.n_taps, k->n_weight);
	if (!ret->weights)
		return false;
	if (is_across)
		k->prepare_horizontal(&ret->taps, ret->weights);
	else
		k->prepare_vertical(&ret->taps, ret->weights);
	return true;
}

static bool make_buffers(struct resize *r, struct arena *arena)
{
	const struct kernels *k = r->kernels;
	const size_t n_in = round_up(3 * (size_t)(r->op->in.x1 - r->op->in.x0) + 1);
	const size_t n_out = round_up(3 * (size_t)(r->op->out.x1 - r->op->out.x0));
	const size_t n_ring = r->is_vertical_first ? n_in : n_out;

	r->n_ring = r->down.is_there ? r->down.taps.n_taps : 1;
	r->n_ring_pixels = r->is_vertical_first ? r->op->in.x1 - r->op->in.x0 : r->op->out.x1 - r->op->out.x0;
	r->n_ring_row = n_ring * k->n_middle;
	r->ring = arena_array(arena, r->n_ring, r->n_ring_row);
	r->rows = arena_array(arena, r->n_ring, sizeof(*r->rows));
	r->lifted = arena_array(arena, n_in, k->n_lifted);
	r->middle = arena_array(arena, n_out, k->n_middle);
	r->line = arena_alloc(arena, n_in);
	r->out = arena_alloc(arena, n_out);
	if (!r->ring || !r->rows || !r->lifted || !r->middle || !r->line || !r->out)
		return false;
	memset(r->ring, 0, r->n_ring * r->n_ring_row); /* what lies past a row's last value is mixed too */
	return true;
}

struct resize *resize_start(const struct kernels *kernels, const struct op *op, enum pass_order order,
			    struct arena *arena)
{
	const struct taps_axis across = {op->filter, op->in_width, op->out_width, op->out.x0, op->out.x1};
	const struct taps_axis down = {op->filter, op->in_height, op->out_height, op->out.y0, op->out.y1};
	struct resize *r = arena_alloc(arena, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct resize){.kernels = kernels, .op = op, .is_nearest = op->filter == FILTER_NEAREST};
	if (!make_axis(r, &across, arena, true, &r->across) || !make_axis(r, &down, arena, false, &r->down))
		return NULL;
	r->is_vertical_first = !r->is_nearest && r->across.is_there && r->down.is_there &&
			       wants_vertical_first(op, order);
	return make_buffers(r, arena) ? r : NULL;
}

static void *ring_row(const struct resize *r, uint32_t i)
{
	return r->ring + (i % r->n_ring) * r->n_ring_row;
}

static void take_nearest(struct resize *r, const uint8_t *rgb)
{
	const struct taps *t = &r->across.taps;

	for (uint32_t x = 0; x < t->n_out; x++)
		memcpy(r->out + 3 * (size_t)x, rgb + 3 * (size_t)t->at[x], 3);
}

void resize_take(struct resize *r, const uint8_t *rgb)
{
	const struct kernels *k = r->kernels;
	void *row = ring_row(r, r->n_taken++);

	if (r->is_nearest)
		take_nearest(r, rgb);
	else if (r->across.is_there && !r->is_vertical_first)
		k->horizontal(&r->across.taps, r->across.weights, rgb, r->lifted, row);
	else
		k->lift(rgb, 3 * (size_t)r->n_ring_pixels, row);
}

static const uint8_t *give_nearest(struct resize *r)
{
	const struct taps *t = &r->down.taps;

	if (r->n_given == t->n_out || t->at[r->n_given] != r->n_taken - 1)
		return NULL;
	r->n_given++;
	return r->out;
}

const uint8_t *resize_give(struct resize *r)
{
	const struct kernels *k = r->kernels;
	const struct taps *t = &r->down.taps;
	const size_t n = 3 * (size_t)r->n_ring_pixels;
	const uint8_t *weights;

	if (r->is_nearest)
		return give_nearest(r);
	if (!r->down.is_there) {
		if (r->n_given == r->n_taken)
			return NULL;
		k->lower(ring_row(r, r->n_given++), n, r->out);
		return r->out;
	}
	if (r->n_given == t->n_out || t->at[r->n_given] + t->n_taps > r->n_taken)
		return NULL;
	for (uint32_t i = 0; i < t->n_taps; i++)
		r->rows[i] = ring_row(r, t->at[r->n_given] + i);
	weights = r->down.weights + (size_t)r->n_given++ * t->n_taps * k->n_weight;
	if (!r->is_vertical_first) {
		k->vertical(weights, t->n_taps, r->rows, n, r->out);
		return r->out;
	}
	k->vertical(weights, t->n_taps, r->rows, n, r->line);
	k->horizontal(&r->across.taps, r->across.weights, r->line, r->lifted, r->middle);
	k->lower(r->middle, 3 * (size_t)r->across.taps.n_out, r->out);
	return r->out;
}
