/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Between two stages flows the rectangle that the later one needs (op->in), row by row. A resize keeps
 * a ring of middle rows, as many as one output row mixes: with the passes in Pillow's order each source
 * row goes through the horizontal pass once, while it is in cache; with the vertical pass first the ring
 * holds source rows.
 */
#include "transform/chain.h"

#include "transform/resize.h"

#include <assert.h>
#include <string.h>

struct stage {
	const struct op *op;
	uint32_t n_taken;  /* input rows so far */
	uint8_t *pixels;   /* window: a row; orient: the picture */
	struct resize *resize;
};

struct chain {
	const struct chain_setup *setup;
	const struct plan *plan;
	unsigned n_stages;
	struct stage stages[2 * STEPS_MAX + 1];
	struct row_target target;
	size_t n_value;	       /* bytes of a value */
	uint32_t n_rows_done;  /* of the tensor */
};

static void push(struct chain *c, unsigned i, const uint8_t *rgb);

static uint32_t rect_width(const struct rect *r)
{
	return r->x1 - r->x0;
}

static uint32_t rect_height(const struct rect *r)
{
	return r->y1 - r->y0;
}

static void write_row(struct chain *c, const uint8_t *rgb)
{
	const struct kernels *k = c->setup->kernels;
	const size_t n_row = c->target.width * (c->target.plane ? 1 : 3) * c->n_value;

	if (c->n_value == 1)
		k->convert8(c->setup->table, rgb, &c->target);
	else if (c->n_value == 2)
		k->convert16(c->setup->table, rgb, &c->target);
	else
		k->convert32(c->setup->table, rgb, &c->target);
	c->target.at = (uint8_t *)c->target.at + n_row;
	c->n_rows_done++;
}

/* Columns of one row of a window: what of the input shows, mirrored or not, in a field of fill. */
static const uint8_t *window_row(struct stage *s, const uint8_t *rgb)
{
	const struct op *op = s->op;
	const int64_t n = rect_width(&op->out);
	int64_t first = op->is_flipped ? (int64_t)op->out_width - op->out.x1 : op->out.x0;

	first += op->left - op->in.x0; /* input pixel, from the start of rgb, under the leftmost output */
	if (!op->is_flipped && first >= 0 && first + n <= rect_width(&op->in))
		return rgb + 3 * first;
	for (int64_t x = 0; x < n; x++) {
		const int64_t in = first + (op->is_flipped ? n - 1 - x : x);
		uint8_t *out = s->pixels + 3 * x;

		if (in >= 0 && in < rect_width(&op->in))
			memcpy(out, rgb + 3 * in, 3);
		else
			memset(out, op->fill, 3);
	}
	return s->pixels;
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

	memset(s->pixels, s->op->fill, 3 * (size_t)rect_width(&s->op->out));
	for (; y < s->op->out.y1 && window_source(s->op, y) < 0; y++)
		push(c, i + 1, s->pixels);
}

static void push_window(struct chain *c, unsigned i, const uint8_t *rgb)
{
	struct stage *s = &c->stages[i];
	const struct op *op = s->op;
	const uint32_t in_y = op->in.y0 + s->n_taken++;
	const int64_t y = (int64_t)in_y - op->top;
	const bool is_shown = y >= op->out.y0 && y < op->out.y1;

	if (s->n_taken == 1)
		push_padding(c, i, op->out.y0);
	if (is_shown)
		push(c, i + 1, window_row(s, rgb));
	if (is_shown && s->n_taken == rect_height(&op->in))
		push_padding(c, i, (uint32_t)(y + 1));
}

/* One pixel of the picture as stored, for a pixel of the picture turned upright; both from their rect's corner. */
static const uint8_t *oriented(const struct stage *s, uint32_t x, uint32_t y)
{
	const uint32_t w = rect_width(&s->op->in), h = rect_height(&s->op->in);
	const unsigned o = s->op->orientation;
	uint32_t in_x = o >= 5 ? y : x, in_y = o >= 5 ? x : y;

	if (o == 2 || o == 3 || o == 7 || o == 8)
		in_x = w - 1 - in_x;
	if (o == 3 || o == 4 || o == 6 || o == 7)
		in_y = h - 1 - in_y;
	return s->pixels + 3 * ((size_t)in_y * w + in_x);
}

static void push_orient(struct chain *c, unsigned i, const uint8_t *rgb)
{
	struct stage *s = &c->stages[i];
	const size_t n_in = 3 * (size_t)rect_width(&s->op->in);
	const uint32_t w = rect_width(&s->op->out), h = rect_height(&s->op->out);
	uint8_t *line = s->pixels + rect_height(&s->op->in) * n_in;

	memcpy(s->pixels + s->n_taken++ * n_in, rgb, n_in);
	if (s->n_taken < rect_height(&s->op->in))
		return;
	for (uint32_t y = 0; y < h; y++) {
		for (uint32_t x = 0; x < w; x++)
			memcpy(line + 3 * (size_t)x, oriented(s, x, y), 3);
		push(c, i + 1, line);
	}
}

static void push_resize(struct chain *c, unsigned i, const uint8_t *rgb)
{
	struct resize *r = c->stages[i].resize;
	const uint8_t *out;

	resize_take(r, rgb);
	while ((out = resize_give(r)))
		push(c, i + 1, out);
}

static void push(struct chain *c, unsigned i, const uint8_t *rgb)
{
	if (i == c->n_stages) {
		write_row(c, rgb);
		return;
	}
	switch (c->stages[i].op->kind) {
	case OP_WINDOW:
		push_window(c, i, rgb);
		break;
	case OP_RESIZE:
		push_resize(c, i, rgb);
		break;
	case OP_ORIENT:
		push_orient(c, i, rgb);
		break;
	}
}

static bool stage_init(const struct chain_setup *setup, const struct op *op, struct arena *arena,
		       struct stage *s)
{
	const size_t n_out = 3 * (size_t)rect_width(&op->out);

	*s = (struct stage){.op = op};
	switch (op->kind) {
	case OP_RESIZE:
		s->resize = resize_start(setup->kernels, op, setup->field->pass_order, arena);
		return s->resize;
	case OP_WINDOW:
		s->pixels = arena_alloc(arena, n_out);
		return s->pixels;
	case OP_ORIENT: /* the picture and one line more */
		s->pixels = arena_alloc(arena, n_out * rect_height(&op->out) + n_out);
		return s->pixels;
	}
	return false;
}

struct chain *chain_start(const struct chain_setup *setup, const struct plan *plan, struct arena *arena,
			  void *row)
{
	struct chain *c = arena_alloc(arena, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct chain){.setup = setup, .plan = plan, .n_stages = plan->n_ops,
			    .n_value = dtype_bytes(setup->field->dtype),
			    .target = {.at = row, .width = plan->width, .is_flipped = plan->is_flipped}};
	if (setup->field->layout == LAYOUT_CHW)
		c->target.plane = (size_t)plan->width * plan->height;
	for (unsigned i = 0; i < plan->n_ops; i++)
		if (!stage_init(setup, &plan->ops[i], arena, &c->stages[i]))
			return NULL;
	return c;
}

void chain_push(struct chain *c, const uint8_t *rgb)
{
	assert(c->n_rows_done < c->plan->height);
	push(c, 0, rgb);
}
