/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Geometry as torchvision defines it, draws as proto/order.md does. Sizes are followed forwards through
 * the steps, then the wanted rectangle backwards from the result to the source.
 */
#include "transform/plan.h"

#include "base/draw.h"
#include "base/hash.h"
#include "transform/shrink.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { SIDE_MAX = 0x7fffffff, UPSIDE_DOWN = 4 };

/* A plan being made: the size so far. */
struct making {
	const struct field *field;
	struct plan *plan;
	struct draw_source from;
	uint32_t width, height;
};

static struct op *add_op(struct making *m, enum op_kind kind, uint64_t width, uint64_t height)
{
	struct op *op = &m->plan->ops[m->plan->n_ops++];

	*op = (struct op){.kind = kind, .in_width = m->width, .in_height = m->height,
			  .out_width = (uint32_t)width, .out_height = (uint32_t)height};
	m->width = (uint32_t)width;
	m->height = (uint32_t)height;
	return op;
}

static enum cause add_resize(struct making *m, uint64_t width, uint64_t height, enum filter filter)
{
	const struct box all = {0, 0, m->width, m->height};
	struct op *op;

	if (width > SIDE_MAX || height > SIDE_MAX)
		return CAUSE_too_many_pixels;
	if (width == 0 || height == 0)
		return CAUSE_too_small;
	if (width == m->width && height == m->height)
		return CAUSE_none;
	op = add_op(m, OP_RESIZE, width, height);
	op->filter = filter;
	op->box = all;
	return CAUSE_none;
}

static void add_window(struct making *m, int64_t left, int64_t top, uint32_t width, uint32_t height,
		       uint8_t fill)
{
	struct op *op;

	if (left == 0 && top == 0 && width == m->width && height == m->height)
		return;
	op = add_op(m, OP_WINDOW, width, height);
	op->left = left;
	op->top = top;
	op->fill = fill;
}

static struct draw_note *note(struct making *m, unsigned step)
{
	struct draw_note *n = &m->plan->draws[m->plan->n_draws++];

	*n = (struct draw_note){.step = step};
	return n;
}

static enum cause resize(struct making *m, const struct step *s)
{
	const uint64_t w = m->width, h = m->height;

	if (s->width)
		return add_resize(m, s->width, s->height, s->interpolation);
	if (w <= h)
		return add_resize(m, s->height, s->height * h / w, s->interpolation);
	return add_resize(m, s->height * w / h, s->height, s->interpolation);
}

/* int(round(n / 2)), n >= 0. */
static int64_t half_even(int64_t n)
{
	return n % 4 == 3 ? n / 2 + 1 : n / 2;
}

static int64_t center(uint32_t size, uint32_t crop)
{
	const int64_t n = (int64_t)size - crop;

	return n < 0 ? -(-n / 2) : half_even(n);
}

static enum cause random_crop(struct making *m, unsigned index, const struct step *s)
{
	const uint64_t w = (uint64_t)m->width + s->padding[0] + s->padding[2];
	const uint64_t h = (uint64_t)m->height + s->padding[1] + s->padding[3];
	struct draw_note *n;

	if (w < s->width || h < s->height)
		return CAUSE_too_small;
	n = note(m, index);
	n->top = (uint32_t)draw_below(draw_number(&m->from, 0), h - s->height + 1);
	n->left = (uint32_t)draw_below(draw_number(&m->from, 1), w - s->width + 1);
	n->height = s->height;
	n->width = s->width;
	add_window(m, (int64_t)n->left - s->padding[0], (int64_t)n->top - s->padding[1], s->width,
		   s->height, s->fill);
	return CAUSE_none;
}

/* Ten tries failed: the whole image with its ratio clamped, centred. */
static void central_crop(const struct making *m, const struct step *s, struct draw_note *n)
{
	const double ratio = (double)m->width / (double)m->height;

	n->width = m->width;
	n->height = m->height;
	if (ratio < s->ratio[0])
		n->height = (uint32_t)rint((double)m->width / s->ratio[0]);
	else if (ratio > s->ratio[1])
		n->width = (uint32_t)rint((double)m->height * s->ratio[1]);
	n->top = (m->height - n->height) / 2;
	n->left = (m->width - n->width) / 2;
}

static enum cause random_resized_crop(struct making *m, unsigned index, const struct step *s)
{
	const double pixels = (double)m->width * (double)m->height;
	struct draw_note *n = note(m, index);

	for (unsigned k = 0; k < 10 && !n->width; k++) {
		const double area =
			pixels * draw_uniform(draw_number(&m->from, 2 * k), s->scale[0], s->scale[1]);
		const double ratio =
			draw_log_uniform(draw_number(&m->from, 2 * k + 1), s->ratio[0], s->ratio[1]);
		const double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));

		if (!(w > 0 && w <= m->width && h > 0 && h <= m->height))
			continue;
		n->width = (uint32_t)w;
		n->height = (uint32_t)h;
		n->top = (uint32_t)draw_below(draw_number(&m->from, 20), m->height - n->height + 1);
		n->left = (uint32_t)draw_below(draw_number(&m->from, 21), m->width - n->width + 1);
	}
	if (!n->width)
		central_crop(m, s, n);
	if (!n->width || !n->height)
		return CAUSE_too_small;
	add_window(m, n->left, n->top, n->width, n->height, 0);
	return add_resize(m, s->width, s->height, s->interpolation);
}

static enum cause pad(struct making *m, const struct step *s)
{
	const uint64_t w = (uint64_t)m->width + s->padding[0] + s->padding[2];
	const uint64_t h = (uint64_t)m->height + s->padding[1] + s->padding[3];

	if (w > SIDE_MAX || h > SIDE_MAX)
		return CAUSE_too_many_pixels;
	add_window(m, -(int64_t)s->padding[0], -(int64_t)s->padding[1], (uint32_t)w, (uint32_t)h, s->fill);
	return CAUSE_none;
}

static void random_flip(struct making *m, unsigned index, const struct step *s)
{
	struct draw_note *n = note(m, index);

	n->is_flipped = draw_event(draw_number(&m->from, 0), s->p);
	if (n->is_flipped && s->kind == STEP_RANDOM_VERTICAL_FLIP)
		add_op(m, OP_ORIENT, m->width, m->height)->orientation = UPSIDE_DOWN;
	else if (n->is_flipped)
		add_op(m, OP_WINDOW, m->width, m->height)->is_flipped = true;
}

static enum cause add_step(struct making *m, unsigned index)
{
	const struct step *s = &m->field->steps[index];
	char path[16];

	snprintf(path, sizeof(path), "%u", index);
	m->from.path_hash = hash_text(path);
	switch (s->kind) {
	case STEP_RESIZE:
		return resize(m, s);
	case STEP_CENTER_CROP:
		add_window(m, center(m->width, s->width), center(m->height, s->height), s->width,
			   s->height, 0);
		return CAUSE_none;
	case STEP_RANDOM_CROP:
		return random_crop(m, index, s);
	case STEP_RANDOM_RESIZED_CROP:
		return random_resized_crop(m, index, s);
	case STEP_PAD:
		return pad(m, s);
	case STEP_RANDOM_HORIZONTAL_FLIP:
	case STEP_RANDOM_VERTICAL_FLIP:
		random_flip(m, index, s);
		return CAUSE_none;
	case STEP_GRAYSCALE:
		add_op(m, OP_GRAY, m->width, m->height);
		return CAUSE_none;
	case STEP_NORMALIZE:
	case STEP_COUNT:
		break;
	}
	return CAUSE_none;
}

/* [from, to) of an axis shifted by offset and cut to [0, size); one pixel where nothing is left. */
static void cut(int64_t from, int64_t to, int64_t offset, uint32_t size, uint32_t *ret_from, uint32_t *ret_to)
{
	from += offset;
	to += offset;
	from = from < 0 ? 0 : from > size ? size : from;
	to = to < 0 ? 0 : to > size ? size : to;
	if (from >= to) {
		from = from < size ? from : size - 1;
		to = from + 1;
	}
	*ret_from = (uint32_t)from;
	*ret_to = (uint32_t)to;
}

static void need_window(struct op *op)
{
	int64_t x0 = op->out.x0, x1 = op->out.x1;

	if (op->is_flipped) {
		x0 = (int64_t)op->out_width - op->out.x1;
		x1 = (int64_t)op->out_width - op->out.x0;
	}
	cut(x0, x1, op->left, op->in_width, &op->in.x0, &op->in.x1);
	cut(op->out.y0, op->out.y1, op->top, op->in_height, &op->in.y0, &op->in.y1);
}

static void need_orient(struct op *op)
{
	struct rect r = op->out;
	const uint32_t w = op->in_width, h = op->in_height;

	if (op->orientation >= 5) /* transposed: back to the stored axes */
		r = (struct rect){r.y0, r.x0, r.y1, r.x1};
	/* Which stored axes run backwards: x for 3, 7, 8; y for 3, 4, 6, 7. */
	if (op->orientation == 3 || op->orientation == 7 || op->orientation == 8)
		r = (struct rect){w - r.x1, r.y0, w - r.x0, r.y1};
	if (op->orientation == 3 || op->orientation == 4 || op->orientation == 6 || op->orientation == 7)
		r = (struct rect){r.x0, h - r.y1, r.x1, h - r.y0};
	op->in = r;
}

struct taps_axis op_across(const struct op *op)
{
	return (struct taps_axis){op->filter, op->in_width, op->out_width, op->box.x0,
				  op->box.x1, op->out.x0,   op->out.x1};
}

struct taps_axis op_down(const struct op *op)
{
	return (struct taps_axis){op->filter, op->in_height, op->out_height, op->box.y0,
				  op->box.y1, op->out.y0,    op->out.y1};
}

static void need_resize(struct op *op)
{
	const struct taps_axis across = op_across(op), down = op_down(op);

	taps_need(&across, &op->in.x0, &op->in.x1);
	taps_need(&down, &op->in.y0, &op->in.y1);
}

static void follow_back(struct plan *p)
{
	struct rect need = {0, 0, p->width, p->height};

	for (unsigned i = p->n_ops; i-- > 0;) {
		struct op *op = &p->ops[i];

		op->out = need;
		if (op->kind == OP_RESIZE)
			need_resize(op);
		else if (op->kind == OP_ORIENT)
			need_orient(op);
		else if (op->kind == OP_GRAY)
			op->in = op->out;
		else
			need_window(op);
		need = op->in;
	}
	p->source = need;
}

/* Flips at the very end are a matter of where the result is written. */
static void take_last_flips(struct plan *p)
{
	for (; p->n_ops > 0; p->n_ops--) {
		const struct op *last = &p->ops[p->n_ops - 1];

		if (last->kind == OP_WINDOW && last->is_flipped)
			p->is_flipped = !p->is_flipped;
		else if (last->kind == OP_ORIENT && last->orientation == UPSIDE_DOWN)
			p->is_upside_down = !p->is_upside_down;
		else
			return;
	}
}

enum cause plan_make(const struct field *f, const struct plan_at *at, struct plan *ret)
{
	struct making m = {.field = f, .plan = ret, .width = at->width, .height = at->height,
			   .from = {.seed = at->seed, .epoch = at->epoch, .position = at->position,
				    .field_hash = hash_text(f->name)}};
	enum cause cause = CAUSE_none;

	ret->n_ops = 0;
	ret->n_draws = 0;
	ret->is_flipped = ret->is_upside_down = false;
	if (at->orientation >= 5)
		add_op(&m, OP_ORIENT, m.height, m.width)->orientation = at->orientation;
	else if (at->orientation == 2)
		add_op(&m, OP_WINDOW, m.width, m.height)->is_flipped = true;
	else if (at->orientation >= 3)
		add_op(&m, OP_ORIENT, m.width, m.height)->orientation = at->orientation;
	for (unsigned i = 0; i < f->n_steps && cause == CAUSE_none; i++)
		cause = add_step(&m, i);
	if (cause != CAUSE_none)
		return cause;
	ret->width = m.width;
	ret->height = m.height;
	ret->shrink = 1;
	if (f->is_fast)
		shrink_plan(ret, at);
	take_last_flips(ret);
	follow_back(ret);
	return CAUSE_none;
}

const char *plan_check(const struct field *f)
{
	bool is_normalized = false;

	if (!dtype_is_for_images(f->dtype))
		return "an image is uint8, float16, bfloat16 or float32";
	for (unsigned i = 0; i < f->n_steps; i++) {
		const struct step *s = &f->steps[i];

		if (s->kind == STEP_NORMALIZE)
			is_normalized = true;
		else if (is_normalized && s->kind != STEP_RANDOM_HORIZONTAL_FLIP &&
			 s->kind != STEP_RANDOM_VERTICAL_FLIP)
			return "after normalize only flips may follow";
	}
	if (is_normalized && f->dtype == DTYPE_uint8)
		return "normalize needs a float dtype";
	return NULL;
}

/* snprintf to the end of what is there already. */
__attribute__((format(printf, 4, 5))) static void append(char *text, size_t n_text, int *used,
							  const char *format, ...)
{
	const size_t at = (size_t)*used < n_text ? (size_t)*used : n_text;
	va_list args;

	va_start(args, format);
	*used += vsnprintf(text + at, n_text - at, format, args);
	va_end(args);
}

int plan_print(const struct field *f, const struct plan *plan, char *text, size_t n_text)
{
	int used = 0;

	if (n_text)
		text[0] = '\0';
	for (unsigned i = 0; i < plan->n_draws; i++) {
		const struct draw_note *n = &plan->draws[i];
		const enum step_kind kind = f->steps[n->step].kind;

		append(text, n_text, &used, "%s%s/%u=%s(", i ? "\t" : "", f->name, n->step,
		       step_name(kind));
		if (kind == STEP_RANDOM_HORIZONTAL_FLIP || kind == STEP_RANDOM_VERTICAL_FLIP)
			append(text, n_text, &used, "flip=%s)", n->is_flipped ? "true" : "false");
		else if (kind == STEP_RANDOM_CROP)
			append(text, n_text, &used, "top=%u,left=%u)", n->top, n->left);
		else
			append(text, n_text, &used, "top=%u,left=%u,height=%u,width=%u)", n->top,
			       n->left, n->height, n->width);
	}
	return used;
}
