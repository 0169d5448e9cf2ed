/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The ten shapes that are the classes: how far a point lies outside (> 0) or inside (< 0) of one, in
 * units in which every shape reaches about 1 from its middle. Exact near the edge, which is all that
 * antialiasing needs. Pure.
 */
#ifndef DEMO_PICTURES_SHAPE_H
#define DEMO_PICTURES_SHAPE_H

enum shape {
	SHAPE_CIRCLE,
	SHAPE_SQUARE,
	SHAPE_TRIANGLE,
	SHAPE_STAR,
	SHAPE_CROSS,
	SHAPE_RING,
	SHAPE_HEART,
	SHAPE_CRESCENT,
	SHAPE_ARROW,
	SHAPE_HOURGLASS,
	SHAPE_COUNT
};

/* y grows downwards, as in pictures. */
double shape_distance(enum shape shape, double x, double y);
const char *shape_name(enum shape shape);

#endif
