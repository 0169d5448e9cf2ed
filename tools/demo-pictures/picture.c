/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Layers, painted one over the other in floats: gradient and waves, soft blobs, lines, the shape,
 * fine lines across it, noise; rounded to bytes once at the end.
 */
#include "picture.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

struct colour {
	float c[3];
};

struct box {
	int left, top, right, bottom;
};

static struct colour any_colour(struct random *r)
{
	struct colour k;

	for (int i = 0; i < 3; i++)
		k.c[i] = (float)random_real(r, 10, 245);
	return k;
}

static float colour_distance(struct colour a, struct colour b)
{
	return hypotf(hypotf(a.c[0] - b.c[0], a.c[1] - b.c[1]), a.c[2] - b.c[2]);
}

static struct box box_around(const struct picture *p, double x, double y, double reach)
{
	return (struct box){(int)fmax(x - reach, 0), (int)fmax(y - reach, 0),
			    (int)fmin(x + reach + 1, p->width), (int)fmin(y + reach + 1, p->height)};
}

static void blend(struct picture *p, int x, int y, struct colour k, float share)
{
	float *at = p->work + ((size_t)y * (size_t)p->width + (size_t)x) * 3;

	for (int i = 0; i < 3; i++)
		at[i] += (k.c[i] - at[i]) * share;
}

static void paint_background(struct picture *p, struct colour from, struct colour to, struct random *r)
{
	double turn = random_real(r, 0, 2 * M_PI), size = hypot(p->width, p->height);
	double gx = cos(turn) / size, gy = sin(turn) / size;
	double wave = random_real(r, 0, 14), fx = random_real(r, -.25, .25), fy = random_real(r, -.25, .25);
	double phase = random_real(r, 0, 2 * M_PI);
	float *at = p->work;

	for (int y = 0; y < p->height; y++) {
		for (int x = 0; x < p->width; x++) {
			float share = (float)((x - p->width / 2) * gx + (y - p->height / 2) * gy + .5);
			float lift = (float)(wave * sin(fx * x + fy * y + phase));

			for (int i = 0; i < 3; i++)
				*at++ = from.c[i] + (to.c[i] - from.c[i]) * share + lift;
		}
	}
}

static void paint_blob(struct picture *p, struct random *r)
{
	double x0 = random_real(r, 0, p->width), y0 = random_real(r, 0, p->height);
	double a = random_real(r, 4, 16), b = random_real(r, 4, 16), turn = random_real(r, 0, M_PI);
	double cx = cos(turn), sx = sin(turn), strength = random_real(r, .3, .8);
	struct box box = box_around(p, x0, y0, fmax(a, b));
	struct colour k = any_colour(r);

	for (int y = box.top; y < box.bottom; y++) {
		for (int x = box.left; x < box.right; x++) {
			double u = ((x - x0) * cx + (y - y0) * sx) / a, v = ((y - y0) * cx - (x - x0) * sx) / b;
			double fall = 1 - u * u - v * v;

			if (fall > 0)
				blend(p, x, y, k, (float)(strength * fall * fall));
		}
	}
}

/* A line from edge to edge; is drawn along its longer direction, so that every pixel is met once. */
static void paint_line(struct picture *p, double half_width, struct random *r)
{
	double x0 = random_real(r, 0, p->width), y0 = random_real(r, 0, p->height);
	double turn = random_real(r, 0, M_PI), nx = -sin(turn), ny = cos(turn);
	double length = random_real(r, .2, .7) * p->width;
	struct box box = box_around(p, x0, y0, length + half_width);
	struct colour k = any_colour(r);

	for (int y = box.top; y < box.bottom; y++) {
		for (int x = box.left; x < box.right; x++) {
			double across = fabs((x - x0) * nx + (y - y0) * ny) - half_width;
			double along = fabs((x - x0) * ny - (y - y0) * nx) - length;
			double cover = fmin(fmax(.5 - fmax(across, along), 0), 1);

			if (cover > 0)
				blend(p, x, y, k, (float)cover);
		}
	}
}

/* The shape lies whole within the square in the middle, so that a centre crop never cuts it. */
static void paint_shape(struct picture *p, enum shape shape, struct colour k, struct random *r)
{
	double side = fmin(p->width, p->height), radius = side * random_real(r, .27, .4);
	double room = side / 2 - radius * 1.02;
	double x0 = p->width / 2. + random_real(r, -room, room), y0 = p->height / 2. + random_real(r, -room, room);
	double turn = random_real(r, -.36, .36), cx = cos(turn), sx = sin(turn);
	double stretch = random_real(r, .88, 1.12), shade = random_real(r, -25, 25);
	bool is_mirrored = random_chance(r, .5);
	struct box box = box_around(p, x0, y0, radius * 1.2 + 1);

	for (int y = box.top; y < box.bottom; y++) {
		for (int x = box.left; x < box.right; x++) {
			double dx = (x + .5 - x0) / radius, dy = (y + .5 - y0) / radius;
			double u = (dx * cx + dy * sx) * stretch, v = (dy * cx - dx * sx) / stretch;
			double d = shape_distance(shape, is_mirrored ? -u : u, v) * radius;
			float cover = (float)fmin(fmax(.5 - d, 0), 1);
			struct colour here = k;

			if (cover <= 0)
				continue;
			for (int i = 0; i < 3; i++)
				here.c[i] += (float)(shade * dy);
			blend(p, x, y, here, cover);
		}
	}
}

static void finish(struct picture *p, struct random *r)
{
	int n = p->width * p->height * 3;
	float noise = random_chance(r, .5) ? (float)random_real(r, 0, 10) : 0;

	for (int i = 0; i < n; i++) {
		/* four bytes of one number: near enough to a bell */
		uint64_t u = noise > 0 ? random_next(r) : 0;
		int bell = (int)(u & 255) + (int)(u >> 8 & 255) + (int)(u >> 16 & 255) + (int)(u >> 24 & 255);
		float value = p->work[i] + (noise > 0 ? noise * (float)(bell - 510) / 148 : 0);

		p->rgb[i] = (uint8_t)(fminf(fmaxf(value, 0), 255) + .5f);
	}
}

void picture_draw(struct picture *p, enum shape shape, struct random *r)
{
	struct colour from = any_colour(r), to = any_colour(r), ink;
	int n_blobs = 2 + (int)random_below(r, 5), n_lines = 1 + (int)random_below(r, 4);
	int n_scratches = (int)random_below(r, 3);

	p->width = PICTURE_SIDE_MIN + (int)random_below(r, PICTURE_SIDE_MAX - PICTURE_SIDE_MIN + 1);
	p->height = (int)(p->width * random_real(r, .8, 1.25));
	p->height = p->height < PICTURE_SIDE_MIN ? PICTURE_SIDE_MIN : p->height;
	p->height = p->height > PICTURE_SIDE_MAX ? PICTURE_SIDE_MAX : p->height;
	do
		ink = any_colour(r);
	while (colour_distance(ink, from) < 110 || colour_distance(ink, to) < 110);

	paint_background(p, from, to, r);
	while (n_blobs--)
		paint_blob(p, r);
	while (n_lines--)
		paint_line(p, random_real(r, .5, 1.6), r);
	paint_shape(p, shape, ink, r);
	while (n_scratches--)
		paint_line(p, .4, r);
	finish(p, r);
}
