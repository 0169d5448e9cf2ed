/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Polygons by the distance to their nearest edge and the even-odd rule; round shapes by sums,
 * differences and unions of discs.
 */
#include "shape.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

struct point {
	double x, y;
};

static const struct point square[] = {{-.75, -.75}, {.75, -.75}, {.75, .75}, {-.75, .75}};
static const struct point triangle[] = {{0, -.95}, {.95, .7}, {-.95, .7}};
static const struct point star[] = {
	{0, -1},      {.225, -.309}, {.951, -.309}, {.363, .118},  {.588, .809},
	{0, .382},    {-.588, .809}, {-.363, .118}, {-.951, -.309}, {-.225, -.309},
};
static const struct point cross[] = {
	{-.3, -.92}, {.3, -.92}, {.3, -.3}, {.92, -.3}, {.92, .3}, {.3, .3},
	{.3, .92},   {-.3, .92}, {-.3, .3}, {-.92, .3}, {-.92, -.3}, {-.3, -.3},
};
static const struct point arrow[] = {
	{-.95, -.24}, {.1, -.24}, {.1, -.75}, {.98, 0}, {.1, .75}, {.1, .24}, {-.95, .24},
};
static const struct point hourglass[] = {
	{-.75, -.9}, {.75, -.9}, {.12, 0}, {.75, .9}, {-.75, .9}, {-.12, 0},
};

static double edge_distance_squared(struct point a, struct point b, double x, double y)
{
	double ex = b.x - a.x, ey = b.y - a.y, wx = x - a.x, wy = y - a.y;
	double along = fmin(fmax((wx * ex + wy * ey) / (ex * ex + ey * ey), 0), 1);
	double dx = wx - ex * along, dy = wy - ey * along;

	return dx * dx + dy * dy;
}

static double polygon(const struct point *points, size_t n, double x, double y)
{
	double nearest = INFINITY;
	bool is_inside = false;

	for (size_t i = 0, j = n - 1; i < n; j = i++) {
		struct point a = points[j], b = points[i];

		nearest = fmin(nearest, edge_distance_squared(a, b, x, y));
		if ((a.y > y) != (b.y > y) && x < a.x + (y - a.y) * (b.x - a.x) / (b.y - a.y))
			is_inside = !is_inside;
	}
	return is_inside ? -sqrt(nearest) : sqrt(nearest);
}

#define POLYGON(points) polygon(points, sizeof(points) / sizeof((points)[0]), x, y)

static double disc(double x, double y, double middle_x, double middle_y, double radius)
{
	return hypot(x - middle_x, y - middle_y) - radius;
}

/* A square on its corner with a disc on each of its two upper sides. */
static double heart(double x, double y)
{
	double half = .52, u = (x + y - .05) * M_SQRT1_2, v = (y - .05 - x) * M_SQRT1_2;
	double body = fmax(fabs(u), fabs(v)) - half;
	double lobe = half * M_SQRT1_2;

	return fmin(body, fmin(disc(x, y, lobe, .05 - lobe, half), disc(x, y, -lobe, .05 - lobe, half)));
}

double shape_distance(enum shape shape, double x, double y)
{
	switch (shape) {
	case SHAPE_CIRCLE:
		return disc(x, y, 0, 0, .88);
	case SHAPE_SQUARE:
		return POLYGON(square);
	case SHAPE_TRIANGLE:
		return POLYGON(triangle);
	case SHAPE_STAR:
		return POLYGON(star);
	case SHAPE_CROSS:
		return POLYGON(cross);
	case SHAPE_RING:
		return fabs(disc(x, y, 0, 0, .7)) - .2;
	case SHAPE_HEART:
		return heart(x, y);
	case SHAPE_CRESCENT:
		return fmax(disc(x, y, 0, 0, .95), -disc(x, y, .42, 0, .74));
	case SHAPE_ARROW:
		return POLYGON(arrow);
	case SHAPE_HOURGLASS:
		return POLYGON(hourglass);
	case SHAPE_COUNT:
		break;
	}
	return 1;
}

const char *shape_name(enum shape shape)
{
	static const char *const names[SHAPE_COUNT] = {"circle", "square",   "triangle", "star",
						       "cross",	 "ring",     "heart",	 "crescent",
						       "arrow",	 "hourglass"};

	return (unsigned)shape < SHAPE_COUNT ? names[shape] : "?";
}
