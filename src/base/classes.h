/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Names of classes by number: the lines of a file, counted from 0. Space around a name does not count; the
 * last line may end with a line feed or without.
 *
 * Threads: any once made; never changes after.
 */
#ifndef BASE_CLASSES_H
#define BASE_CLASSES_H

#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

struct classes;

enum {
	CLASSES_E_REFUSED = 1, /* the reason says why, and in which line */
	CLASSES_MAX = 1 << 24,
};

/* The lines of the text, which is copied. 0, CLASSES_E_REFUSED (an empty or repeated name, none or too many),
 * or -ENOMEM. */
int classes_new(const char *text, size_t n_text, struct classes **ret, struct reason *why);
struct classes *classes_free(struct classes *c);

/* Of the text that they were made from. */
uint64_t classes_hash(const struct classes *c);
/* Memory that it takes. */
size_t classes_bytes(const struct classes *c);
size_t classes_count(const struct classes *c);
/* The number of the name, or -1. Space around it does not count. */
int64_t classes_find(const struct classes *c, const void *name, size_t n_name);
/* The name of that number, not zero-ended; NULL: there is none. */
const char *classes_name(const struct classes *c, int64_t number, size_t *ret_n);

#endif
