/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The formulas are Pillow's Resample.c in meaning and in order of operations, since the last bit of
 * a weight decides the last bit of a pixel; nearest is its Geometry.c's running sum. */
#include "transform/taps.h"

#include <math.h>

static double box(double x)
{
	return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x)
{
	x = x < 0.0 ? -x : x;
	return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
	x = x < 0.0 ? -x : x;
	if (x == 0.0)
		return 1.0;
	if (x >= 1.0)
		return 0.0;
	x = x * M_PI;
	return sin(x) / x * (0.54f + 0.46f * cos(x));
}

static double bicubic(double x)
{
	const double a = -0.5;

	x = x < 0.0 ? -x : x;
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
	if (x < 2.0)
		return (((x - 5) * x + 8) * x - 4) * a;
	return 0.0;
}

static double sinc(double x)
{
	if (x == 0.0)
		return 1.0;
	x = x * M_PI;
	return sin(x) / x;
}

static double lanczos(double x)
{
	return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static const struct {
	double (*weight)(double x);
	double support;
} filters[] = {
	[FILTER_NEAREST] = {box, 0.0}, /* not used as such */
	[FILTER_BOX] = {box, 0.5},	   [FILTER_BILINEAR] = {bilinear, 1.0},
	[FILTER_HAMMING] = {hamming, 1.0}, [FILTER_BICUBIC] = {bicubic, 2.0},
	[FILTER_LANCZOS] = {lanczos, 3.0},
};

/* How outputs lie over inputs. */
struct spacing {
	double box_from, scale, filter_scale, support;
	int64_t first_in, end_in; /* of the box */
};

static struct spacing spacing_of(const struct taps_axis *a)
{
	struct spacing s = {.box_from = a->box_from, .scale = (a->box_to - a->box_from) / a->n_out};

	s.filter_scale = s.scale < 1.0 ? 1.0 : s.scale;
	s.support = filters[a->filter].support * s.filter_scale;
	s.first_in = (int64_t)floor(a->box_from);
	s.end_in = (int64_t)ceil(a->box_to);
	return s;
}

static double span(const struct spacing *s, uint32_t out, uint32_t *ret_from, uint32_t *ret_to)
{
	const double center = s->box_from + (out + 0.5) * s->scale;
	int64_t from = (int64_t)(center - s->support + 0.5);
	int64_t to = (int64_t)(center + s->support + 0.5);

	from = from < s->first_in ? s->first_in : from;
	to = to > s->end_in ? s->end_in : to;
	*ret_from = (uint32_t)from;
	*ret_to = (uint32_t)to;
	return center;
}

/* The input of every wanted output, by repeated addition. The sum of n additions is off by less
 * than n^2 / 2^52 of half a step, so with sides below 2^26 it never leaves the axis; past that it
 * is held in. */
static void nearest_inputs(uint32_t n_in, uint32_t n_out, uint32_t from, uint32_t to, uint32_t *ret)
{
	const double scale = (double)n_in / n_out;
	double at = scale * 0.5;

	for (uint32_t i = 0; i < to; i++) {
		if (i >= from) {
			const uint32_t in = (uint32_t)at;

			ret[i - from] = in < n_in ? in : n_in - 1;
		}
		at += scale;
	}
}

static uint32_t nearest_input(uint32_t n_in, uint32_t n_out, uint32_t out)
{
	uint32_t in;

	nearest_inputs(n_in, n_out, out, out + 1, &in);
	return in;
}

bool taps_are_idle(const struct taps_axis *a)
{
	return a->n_in == a->n_out && a->box_from == 0.0 && a->box_to == a->n_in;
}

void taps_need(const struct taps_axis *a, uint32_t *ret_from, uint32_t *ret_to)
{
	const struct spacing s = spacing_of(a);
	uint32_t ignored;

	if (taps_are_idle(a)) {
		*ret_from = a->first_out;
		*ret_to = a->end_out;
	} else if (a->filter == FILTER_NEAREST) {
		*ret_from = nearest_input(a->n_in, a->n_out, a->first_out);
		*ret_to = nearest_input(a->n_in, a->n_out, a->end_out - 1) + 1;
	} else {
		span(&s, a->first_out, ret_from, &ignored);
		span(&s, a->end_out - 1, &ignored, ret_to);
	}
}

/* Weights of one output into row, as fixed point; doubles has room for as many. */
static void weigh(const struct spacing *s, enum filter filter, uint32_t out,
		  const uint32_t range[2], double *doubles, int32_t *row)
{
	const uint32_t n = range[1] - range[0];
	const double center = s->box_from + (out + 0.5) * s->scale, ss = 1.0 / s->filter_scale;
	double sum = 0.0;

	for (uint32_t i = 0; i < n; i++) {
		doubles[i] = filters[filter].weight((i + (double)range[0] - center + 0.5) * ss);
		sum += doubles[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		double w = sum != 0.0 ? doubles[i] / sum : doubles[i];

		w = w * (1 << TAPS_BITS);
		row[i] = (int32_t)(w < 0 ? -0.5 + w : 0.5 + w);
	}
}

static bool make_nearest(const struct taps_axis *axis, struct arena *arena, struct taps *t)
{
	t->n_taps = 1;
	t->weights = arena_array(arena, t->n_out, sizeof(*t->weights));
	if (!t->weights)
		return false;
	nearest_inputs(axis->n_in, axis->n_out, axis->first_out, axis->end_out, t->at);
	for (uint32_t i = 0; i < t->n_out; i++) {
		t->at[i] -= t->first_in;
		t->weights[i] = 1 << TAPS_BITS;
	}
	return true;
}

bool taps_make(const struct taps_axis *axis, struct arena *arena, struct taps *ret)
{
	const struct spacing s = spacing_of(axis);
	struct taps t = {.first_out = axis->first_out, .n_out = axis->end_out - axis->first_out};
	double *doubles;

	taps_need(axis, &t.first_in, &t.end_in);
	t.at = arena_array(arena, t.n_out, sizeof(*t.at));
	if (!t.at)
		return false;
	if (axis->filter == FILTER_NEAREST) {
		if (!make_nearest(axis, arena, &t))
			return false;
		*ret = t;
		return true;
	}
	for (uint32_t i = 0; i < t.n_out; i++) {
		uint32_t from, to;

		span(&s, t.first_out + i, &from, &to);
		t.n_taps = to - from > t.n_taps ? to - from : t.n_taps;
	}
	t.weights = arena_array(arena, (size_t)t.n_out * t.n_taps, sizeof(*t.weights));
	doubles = arena_array(arena, t.n_taps, sizeof(*doubles));
	if (!t.weights || !doubles)
		return false;
	for (uint32_t i = 0; i < t.n_out; i++) {
		int32_t *row = t.weights + (size_t)i * t.n_taps;
		uint32_t range[2], shift = 0;

		span(&s, t.first_out + i, &range[0], &range[1]);
		if (range[0] + t.n_taps > t.end_in)
			shift = range[0] + t.n_taps - t.end_in;
		t.at[i] = range[0] - shift - t.first_in;
		for (uint32_t k = 0; k < t.n_taps; k++)
			row[k] = 0;
		weigh(&s, axis->filter, t.first_out + i, range, doubles, row + shift);
	}
	*ret = t;
	return true;
}
