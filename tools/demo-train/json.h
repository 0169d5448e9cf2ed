/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Just enough JSON to look numbers up in what rf_status() returns: values are places in the text, and
 * nothing is built. Whatever is malformed is simply not found. Pure.
 */
#ifndef DEMO_TRAIN_JSON_H
#define DEMO_TRAIN_JSON_H

#include <stdbool.h>

/* A value; text is NULL where there is none, and every function then finds nothing. */
struct json {
	const char *text;
};

/* The whole of a zero-ended text. */
struct json json_of(const char *text);
/* The value of that name in an object. */
struct json json_member(struct json object, const char *name);
/* The first element of an array, and the one after an element. */
struct json json_first(struct json array);
struct json json_after(struct json element);
bool json_is_text(struct json value, const char *text); /* texts with escapes are equal to none */
/* A number within an object or array. */
bool json_number(struct json value, double *ret);

#endif
