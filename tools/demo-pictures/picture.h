/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One procedural picture: a cluttered background and one shape. Only the shape tells the class: its
 * colours, place, size and turn are drawn alike for all classes, and so is everything around it.
 *
 * Threads: any; a picture belongs to one.
 */
#ifndef DEMO_PICTURES_PICTURE_H
#define DEMO_PICTURES_PICTURE_H

#include "random.h"
#include "shape.h"

#include <stdint.h>

enum {
	PICTURE_SIDE_MIN = 72,
	PICTURE_SIDE_MAX = 160,
};

struct picture {
	int width, height;
	float work[PICTURE_SIDE_MAX * PICTURE_SIDE_MAX * 3]; /* while it is drawn: 0 … 255 */
	uint8_t rgb[PICTURE_SIDE_MAX * PICTURE_SIDE_MAX * 3]; /* done: width × height × 3, no padding */
};

void picture_draw(struct picture *p, enum shape shape, struct random *random);

#endif
