/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The decoder's interleaved pixels become planes first. Between two stages flows the rectangle that
 * the later one needs (op->in), row by row. A resize keeps a ring of rows, as many as one output
 * row mixes.
 */
#include "transform/chain.h"

#include "transform/orient.h"
#include "transform/resize.h"

#include <assert.h>
#include <string.h>

struct stage {
	const struct op *op;
	uint32_t n_taken; /* input rows so far */
	struct row_room room; /* window, gray: a row */
	struct resize *resize;
	struct orient *orient;
};

struct chain {
	const struct chain_setup *setup;
	const struct plan *plan;
	struct row_room planes; /* the row that came in */
	unsigned n_stages;
	struct stage stages[OPS_MAX];
	struct row_target target;
	ptrdiff_t n_row;      /* bytes from one row of the target to the next */
	uint32_t n_rows_done; /* of the tensor */
};

static void push(struct chain *c, unsigned i, struct row in);

static uint32_t rect_width(const struct rect *r)
{
	return r->x1 - r->x0;
}

static uint32_t rect_height(const struct rect *r)
{
	return r->y1 - r->y0;
}

static void write_row(struct chain *c, struct row in)
{
	c->setup->kernels->convert(c->setup->table, in, &c->target);
	c->target.at = (uint8_t *)c->target.at + c->n_row;
	if (++c->n_rows_done == c->plan->height)
		c->setup->kernels->finish();
}

/* n values from the place on, which may lie outside the n_in of the plane, or the same from right
 * to left. */
static void show(const uint8_t *plane, int64_t n_in, int64_t from, int64_t n, const struct op *op,
		 uint8_t *out)
{
	const int64_t first = from < 0 ? 0 : from, end = from + n > n_in ? n_in : from + n;

	memset(out, op->fill, (size_t)n);
	if (op->is_flipped)
		for (int64_t x = first; x < end; x++)
			out[from + n - 1 - x] = plane[x];
	else if (first < end)
		memcpy(out + (first - from), plane + first, (size_t)(end - first));
}

/* Columns of one row of a window: what of the input shows, mirrored or not, in a field of fill. */
static struct row window_row(struct stage *s, struct row in)
{
	const struct op *op = s->op;
	const int64_t n = rect_width(&op->out), n_in = rect_width(&op->in);
	int64_t first = op->is_flipped ? (int64_t)op->out_width - op->out.x1 : op->out.x0;

	first += op->left -
		 op->in.x0; /* input pixel, from the start of the row, under the leftmost output */
	if (!op->is_flipped && first >= 0 && first + n <= n_in)
		return (struct row){in.at + first, in.stride};
	for (unsigned c = 0; c < 3; c++)
		show(in.at + c * in.stride, n_in, first, n, op, s->room.at + c * s->room.stride);
	return row_of(s->room);
}

/* The input row that an output row shows, or -1 for padding. */
static int64_t window_source(const struct op *op, uint32_t y)
{
	const int64_t in = (int64_t)y + op->top;

	return in >= 0 && in < op->in_height ? in : -1;
}

static void push_padding(struct chain *c, unsigned i, uint32_t y)
{
	struct stage *s = &c->stages[i];

	for (; y < s->op->out.y1 && window_source(s->op, y) < 0; y++) {
		memset(s->room.at, s->op->fill, 3 * s->room.stride);
		push(c, i + 1, row_of(s->room));
	}
}

static void push_window(struct chain *c, unsigned i, struct row in)
{
	struct stage *s = &c->stages[i];
	const struct op *op = s->op;
	const uint32_t in_y = op->in.y0 + s->n_taken++;
	const int64_t y = (int64_t)in_y - op->top;
	const bool is_shown = y >= op->out.y0 && y < op->out.y1;

	if (s->n_taken == 1)
		push_padding(c, i, op->out.y0);
	if (is_shown)
		push(c, i + 1, window_row(s, in));
	if (is_shown && s->n_taken == rect_height(&op->in))
		push_padding(c, i, (uint32_t)(y + 1));
}

static void push_orient(struct chain *c, unsigned i, struct row in)
{
	struct orient *o = c->stages[i].orient;
	struct row out;

	orient_take(o, in);
	while (orient_give(o, &out))
		push(c, i + 1, out);
}

/* Pillow's convert("L"), in its 16 fraction bits, in all three planes. */
static void push_gray(struct chain *c, unsigned i, struct row in)
{
	const struct stage *s = &c->stages[i];
	const uint8_t *restrict r = in.at, *restrict g = r + in.stride, *restrict b = g + in.stride;
	const size_t n = rect_width(&s->op->out);
	uint8_t *restrict out = s->room.at;

	for (size_t x = 0; x < n; x++)
		out[x] = (uint8_t)((r[x] * 19595u + g[x] * 38470u + b[x] * 7471u + 0x8000u) >> 16);
	memcpy(out + s->room.stride, out, n);
	memcpy(out + 2 * s->room.stride, out, n);
	push(c, i + 1, row_of(s->room));
}

static void push_resize(struct chain *c, unsigned i, struct row in)
{
	struct resize *r = c->stages[i].resize;
	struct row out;

	resize_take(r, in);
	while (resize_give(r, &out))
		push(c, i + 1, out);
}

static void push(struct chain *c, unsigned i, struct row in)
{
	if (i == c->n_stages) {
		write_row(c, in);
		return;
	}
	switch (c->stages[i].op->kind) {
	case OP_WINDOW:
		push_window(c, i, in);
		break;
	case OP_RESIZE:
		push_resize(c, i, in);
		break;
	case OP_ORIENT:
		push_orient(c, i, in);
		break;
	case OP_GRAY:
		push_gray(c, i, in);
		break;
	}
}

/* Room for a row of n pixels. */
static bool make_room(struct arena *arena, size_t n, struct row_room *ret)
{
	const size_t stride = (n + KERNELS_SLACK - 1) / KERNELS_SLACK * KERNELS_SLACK;

	return row_room_make(arena, stride, ret);
}

static bool stage_init(const struct chain_setup *setup, const struct op *op, struct arena *arena,
		       struct stage *s)
{
	*s = (struct stage){.op = op};
	switch (op->kind) {
	case OP_RESIZE:
		s->resize = resize_start(setup->kernels, op, setup->field->pass_order, arena);
		return s->resize;
	case OP_WINDOW:
	case OP_GRAY:
		return make_room(arena, rect_width(&op->out), &s->room);
	case OP_ORIENT:
		s->orient = orient_start(setup->kernels, op, arena);
		return s->orient;
	}
	return false;
}

struct chain *chain_start(const struct chain_setup *setup, const struct plan *plan,
			  struct arena *arena, void *row)
{
	const bool is_planar = setup->field->layout == LAYOUT_CHW;
	struct chain *c = arena_alloc(arena, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct chain){
		.setup = setup,
		.plan = plan,
		.n_stages = plan->n_ops,
		.n_row = (ptrdiff_t)(plan->width * (is_planar ? 1 : 3) * dtype_bytes(setup->field->dtype)),
		.target = {.at = row, .width = plan->width, .is_flipped = plan->is_flipped}};
	if (plan->is_upside_down) {
		c->target.at = (uint8_t *)row + (ptrdiff_t)(plan->height - 1) * c->n_row;
		c->n_row = -c->n_row;
	}
	if (is_planar)
		c->target.plane = (size_t)plan->width * plan->height;
	if (!make_room(arena, rect_width(&plan->source), &c->planes))
		return NULL;
	for (unsigned i = 0; i < plan->n_ops; i++)
		if (!stage_init(setup, &plan->ops[i], arena, &c->stages[i]))
			return NULL;
	return c;
}

void chain_push(struct chain *c, const uint8_t *rgb)
{
	assert(c->n_rows_done < c->plan->height);
	c->setup->kernels->split(rgb, rect_width(&c->plan->source), c->planes);
	push(c, 0, row_of(c->planes));
}
