/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A row of a batch for people: what scaling, normalize, dtype and layout made of an image is taken back, any other value
 * becomes text. The table that gave each of the 256 values its new one is searched backwards, so that every pixel is found
 * again exactly, but for values that the dtype no longer tells apart. Threads: any once made.
 */
#ifndef MAIN_VISIBLE_H
#define MAIN_VISIBLE_H

#include "base/pipeline.h"

#include <jansson.h>

struct visible {
	const struct field *field;
	uint32_t width, height;
	float values[3][256]; /* ascending */
};

/* field: of an image; borrowed. */
void visible_init(struct visible *v, const struct field *field);
/* width x height x 3 bytes. */
void visible_rgb(const struct visible *v, const void *row, uint8_t *ret_rgb);

/* The value of another field's row: a number, nested lists, or text; a class is {"number", "name"}. Bytes, and long
 * lists, are cut short. n_bytes: of a ragged row. */
json_t *visible_value(const struct field *f, const void *row, size_t n_bytes);

#endif
