/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Pillow rounds to 8 bits after each pass and leaves out a pass whose sizes are equal. Horizontal
 * first: each row goes through the horizontal pass as it comes, and the ring holds rows of the
 * output's width. Vertical first (Pillow 13, on tall cuts): the ring holds rows as they came, and
 * each row that the vertical pass makes goes through the horizontal one.
 */
#include "transform/resize.h"

#include <string.h>

/* One axis: its taps, the kernels' form of their weights; absent where the sizes are equal. */
struct axis {
	bool is_there;
	struct taps taps;
	void *weights;
};

struct resize {
	const struct kernels *kernels;
	const struct op *op;
	bool is_nearest, is_vertical_first;
	struct axis across, down;
	uint32_t n_ring; /* rows of the ring */
	uint8_t *ring;
	size_t ring_stride, n_ring_row; /* bytes of a plane, of a row */
	uint32_t n_taken, n_given;
	const uint8_t **rows;	   /* the ring rows that one output row mixes */
	struct row_room line, out; /* line: vertical first, between the passes */
};

static size_t round_up(size_t n)
{
	return (n + KERNELS_ALIGN - 1) / KERNELS_ALIGN * KERNELS_ALIGN;
}

/* The rule that Pillow 13 follows. */
static bool wants_vertical_first(const struct op *op, enum pass_order order)
{
	return order == PASS_PILLOW13 && op->in_height > op->out_height &&
	       (int64_t)op->in_height - op->out_height >
		       2 * ((int64_t)op->in_width - (int64_t)op->out_width);
}

static bool make_axis(struct resize *r, const struct taps_axis *wanted, struct arena *arena,
		      bool is_across, struct axis *ret)
{
	const struct kernels *k = r->kernels;

	ret->is_there = !taps_are_idle(wanted) || r->is_nearest;
	if (!ret->is_there)
		return true;
	if (!taps_make(wanted, arena, &ret->taps))
		return false;
	if (r->is_nearest)
		return true;
	ret->weights = arena_alloc(arena, is_across ? k->horizontal_bytes(&ret->taps)
						    : k->vertical_bytes(&ret->taps));
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
	const size_t n_in = round_up(r->op->in.x1 - r->op->in.x0),
		     n_out = round_up(r->op->out.x1 - r->op->out.x0);

	r->n_ring = r->down.is_there ? r->down.taps.n_taps : 1;
	r->ring_stride = r->is_vertical_first ? n_in : n_out;
	r->n_ring_row = 3 * r->ring_stride + KERNELS_SLACK;
	r->ring = arena_array(arena, r->n_ring, r->n_ring_row);
	r->rows = arena_array(arena, r->n_ring, sizeof(*r->rows));
	return r->ring && r->rows && row_room_make(arena, n_in, &r->line) &&
	       row_room_make(arena, n_out, &r->out);
}

struct resize *resize_start(const struct kernels *kernels, const struct op *op,
			    enum pass_order order, struct arena *arena)
{
	const struct taps_axis across = op_across(op), down = op_down(op);
	struct resize *r = arena_alloc(arena, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct resize){
		.kernels = kernels, .op = op, .is_nearest = op->filter == FILTER_NEAREST};
	if (!make_axis(r, &across, arena, true, &r->across) ||
	    !make_axis(r, &down, arena, false, &r->down))
		return NULL;
	r->is_vertical_first = !r->is_nearest && r->across.is_there && r->down.is_there &&
			       wants_vertical_first(op, order);
	return make_buffers(r, arena) ? r : NULL;
}

static struct row_room ring_row(const struct resize *r, uint32_t i)
{
	return (struct row_room){r->ring + (i % r->n_ring) * r->n_ring_row, r->ring_stride};
}

static bool is_wanted_nearest(const struct resize *r)
{
	const struct taps *t = &r->down.taps;

	return r->n_given < t->n_out && t->at[r->n_given] == r->n_taken - 1;
}

void resize_take(struct resize *r, struct row in)
{
	const struct row_room to = ring_row(r, r->n_taken++);

	if (r->is_nearest && is_wanted_nearest(r))
		r->kernels->pick(&r->across.taps, in, r->out);
	if (r->is_nearest)
		return;
	if (r->across.is_there && !r->is_vertical_first)
		r->kernels->horizontal(&r->across.taps, r->across.weights, in, to);
	else
		for (unsigned c = 0; c < 3; c++)
			memcpy(to.at + c * to.stride, in.at + c * in.stride,
			       r->op->in.x1 - r->op->in.x0);
}

static bool give_nearest(struct resize *r, struct row *ret)
{
	if (!is_wanted_nearest(r))
		return false;
	r->n_given++;
	*ret = row_of(r->out);
	return true;
}

/* Only a horizontal pass, or none: a row in, a row out. */
static bool give_taken(struct resize *r, struct row *ret)
{
	if (r->n_given == r->n_taken)
		return false;
	*ret = row_of(ring_row(r, r->n_given++));
	return true;
}

bool resize_give(struct resize *r, struct row *ret)
{
	const struct kernels *k = r->kernels;
	const struct taps *t = &r->down.taps;
	const struct row_room to = r->is_vertical_first ? r->line : r->out;

	if (r->is_nearest)
		return give_nearest(r, ret);
	if (!r->down.is_there)
		return give_taken(r, ret);
	if (r->n_given == t->n_out || t->at[r->n_given] + t->n_taps > r->n_taken)
		return false;
	for (uint32_t i = 0; i < t->n_taps; i++)
		r->rows[i] = ring_row(r, t->at[r->n_given] + i).at;
	k->vertical(t, r->down.weights, r->n_given++, r->rows, 3 * r->ring_stride, to.at);
	if (r->is_vertical_first)
		k->horizontal(&r->across.taps, r->across.weights, row_of(r->line), r->out);
	*ret = row_of(r->out);
	return true;
}
