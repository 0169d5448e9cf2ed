/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What comes before the first resize, an orientation, cuts and mirrors, becomes a box of the shrunk
 * image that the resize takes its pixels from; sides that the shrink does not divide give boxes
 * between pixels. A mirror before the resize becomes one behind it. A vertical flip or grayscale
 * before it leaves the image as it is: that sample is exact.
 *
 * A shrunk image has a column more than its share where the shrink does not divide its width, and
 * that one is on the right; turned around by an orientation it is on the left, and the box moves
 * with it.
 */
#include "transform/shrink.h"

/* What the operations before the resize leave of the image, in full size, unmirrored. */
struct cut {
	int64_t x0, y0, x1, y1;
	bool is_mirrored;
};

/* Follows a window; false: it shows something from outside. */
static bool narrow(struct cut *c, const struct op *op)
{
	const int64_t width = op->out_width, height = op->out_height;
	int64_t left = op->left;

	if (left < 0 || op->top < 0 || left + width > op->in_width ||
	    op->top + height > op->in_height)
		return false;
	if (c->is_mirrored)
		left = op->in_width - left - width;
	c->x0 += left;
	c->x1 = c->x0 + width;
	c->y0 += op->top;
	c->y1 = c->y0 + height;
	c->is_mirrored ^= op->is_flipped;
	return true;
}

/* The first resize, or NULL; ret is what it is given. */
static struct op *first_resize(struct plan *p, const struct plan_at *at, struct cut *ret)
{
	const bool is_turned = at->orientation >= 5;

	*ret = (struct cut){0, 0, is_turned ? at->height : at->width,
			    is_turned ? at->width : at->height, false};
	for (unsigned i = 0; i < p->n_ops; i++) {
		struct op *op = &p->ops[i];

		if (op->kind == OP_RESIZE)
			return op->filter == FILTER_NEAREST ? NULL : op;
		if (op->kind == OP_WINDOW ? !narrow(ret, op) : i > 0 || at->orientation < 3)
			return NULL; /* an orientation comes first */
	}
	return NULL;
}

static uint32_t choose(const struct op *resize, uint32_t max_shrink)
{
	uint32_t n = max_shrink;

	while (n > 1 && ((uint64_t)n * resize->out_width > resize->in_width ||
			 (uint64_t)n * resize->out_height > resize->in_height))
		n /= 2;
	return n;
}

static uint32_t shrunk(uint32_t side, uint32_t shrink)
{
	return side / shrink + (side % shrink != 0);
}

/* How far a box moves along a stored axis that is turned around. */
static double shift(uint32_t side, uint32_t shrink, bool is_reversed)
{
	return is_reversed ? shrunk(side, shrink) - (double)side / shrink : 0.0;
}

static struct box box_of(const struct cut *c, const struct plan_at *at, uint32_t n)
{
	const unsigned o = at->orientation;
	const double x = shift(at->width, n, o == 3 || o == 7 || o == 8);
	const double y = shift(at->height, n, o == 3 || o == 4 || o == 6 || o == 7);
	const double across = o >= 5 ? y : x, down = o >= 5 ? x : y;

	return (struct box){(double)c->x0 / n + across, (double)c->y0 / n + down,
			    (double)c->x1 / n + across, (double)c->y1 / n + down};
}

void shrink_plan(struct plan *p, const struct plan_at *at)
{
	struct op ops[sizeof(p->ops) / sizeof(*p->ops)];
	unsigned n_ops = 0, next;
	struct op *resize;
	struct cut cut;

	resize = first_resize(p, at, &cut);
	p->shrink = resize ? choose(resize, at->max_shrink) : 1;
	if (p->shrink <= 1) {
		p->shrink = 1;
		return;
	}
	next = (unsigned)(resize - p->ops) + 1;
	resize->in_width = shrunk(at->width, p->shrink);
	resize->in_height = shrunk(at->height, p->shrink);
	if (at->orientation >= 3) {
		ops[n_ops] = p->ops[0];
		ops[n_ops].in_width = resize->in_width;
		ops[n_ops].in_height = resize->in_height;
		if (at->orientation >= 5) {
			resize->in_width = ops[n_ops].in_height;
			resize->in_height = ops[n_ops].in_width;
		}
		ops[n_ops].out_width = resize->in_width;
		ops[n_ops++].out_height = resize->in_height;
	}
	resize->box = box_of(&cut, at, p->shrink);
	ops[n_ops++] = *resize;
	if (cut.is_mirrored)
		ops[n_ops++] = (struct op){.kind = OP_WINDOW,
					   .in_width = resize->out_width,
					   .in_height = resize->out_height,
					   .out_width = resize->out_width,
					   .out_height = resize->out_height,
					   .is_flipped = true};
	for (; next < p->n_ops; next++)
		ops[n_ops++] = p->ops[next];
	for (unsigned i = 0; i < n_ops; i++)
		p->ops[i] = ops[i];
	p->n_ops = n_ops;
}
