/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a status says, by key. What is not there, or of another type, is NULL, 0 or "", so that a daemon of another
 * version can be read; so is everything in a NULL.
 *
 * Threads: any; no state.
 */
#ifndef WATCH_AT_H
#define WATCH_AT_H

#include <jansson.h>

/* Borrowed. */
static inline const json_t *at(const json_t *from, const char *key)
{
	return json_object_get(from, key);
}

static inline long long at_number(const json_t *from, const char *key)
{
	return json_integer_value(at(from, key));
}

/* Of a whole number, too. */
static inline double at_real(const json_t *from, const char *key)
{
	return json_number_value(at(from, key));
}

static inline const char *at_text(const json_t *from, const char *key)
{
	const char *found = json_string_value(at(from, key));

	return found ? found : "";
}

#endif
