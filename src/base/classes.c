/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Open addressing over the lines, a power of two of places, at most half of them taken. */
#include "base/classes.h"

#include "base/fault.h"
#include "base/hash.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct name {
	const char *at;
	size_t n;
};

struct classes {
	char *text;
	struct name *names;
	size_t n, n_places, n_text;
	uint32_t *places; /* the number + 1, or 0 */
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct name trim(const char *at, size_t n)
{
	while (n && is_space(at[n - 1]))
		n--;
	while (n && is_space(*at))
		at++, n--;
	return (struct name){at, n};
}

/* The place that the name has or would have. */
static uint32_t *place_of(const struct classes *c, struct name name)
{
	size_t at = hash_bytes(name.at, name.n) & (c->n_places - 1);

	for (; c->places[at]; at = (at + 1) & (c->n_places - 1)) {
		const struct name *other = &c->names[c->places[at] - 1];

		if (other->n == name.n && memcmp(other->at, name.at, name.n) == 0)
			break;
	}
	return &c->places[at];
}

static size_t count_lines(const char *text, size_t n_text)
{
	size_t n = 0;

	for (const char *at = text; at < text + n_text; n++) {
		const char *end = memchr(at, '\n', (size_t)(text + n_text - at));

		at = end ? end + 1 : text + n_text;
	}
	return n;
}

static int take_line(struct classes *c, struct name name, struct reason *why)
{
	uint32_t *place;

	if (name.n == 0) {
		reason_set(why, "line %zu is empty", c->n + 1);
		return CLASSES_E_REFUSED;
	}
	place = place_of(c, name);
	if (*place) {
		reason_set(why, "line %zu has the name of line %u", c->n + 1, *place);
		return CLASSES_E_REFUSED;
	}
	c->names[c->n] = name;
	*place = (uint32_t)++c->n;
	return 0;
}

static int take_lines(struct classes *c, size_t n_text, struct reason *why)
{
	const char *at = c->text, *end = c->text + n_text;
	int r = 0;

	while (r == 0 && at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		const char *next = stop ? stop + 1 : end;

		r = take_line(c, trim(at, (size_t)(next - at)), why);
		at = next;
	}
	return r;
}

int classes_new(const char *text, size_t n_text, struct classes **ret, struct reason *why)
{
	const size_t n_lines = count_lines(text, n_text);
	struct classes *c;
	int r;

	if (n_lines == 0 || n_lines > CLASSES_MAX) {
		reason_set(why, "it has %zu lines; accepted: 1 to %d", n_lines, CLASSES_MAX);
		return CLASSES_E_REFUSED;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return fail(-ENOMEM);
	for (c->n_places = 2; c->n_places < 2 * n_lines;)
		c->n_places *= 2;
	c->text = malloc(n_text);
	c->names = calloc(n_lines, sizeof(*c->names));
	c->places = calloc(c->n_places, sizeof(*c->places));
	if (!c->text || !c->names || !c->places) {
		r = fail(-ENOMEM);
		goto out;
	}
	c->n_text = n_text;
	memcpy(c->text, text, n_text);
	r = take_lines(c, n_text, why);
	if (r != 0)
		goto out;
	*ret = c;
	return 0;
out:
	classes_free(c);
	return r < 0 ? pass(r) : r;
}

struct classes *classes_free(struct classes *c)
{
	if (!c)
		return NULL;
	free(c->text);
	free(c->names);
	free(c->places);
	free(c);
	return NULL;
}

uint64_t classes_hash(const struct classes *c)
{
	return hash_bytes(c->text, c->n_text);
}

size_t classes_bytes(const struct classes *c)
{
	return sizeof(*c) + c->n_text + c->n * sizeof(*c->names) + c->n_places * sizeof(*c->places);
}

size_t classes_count(const struct classes *c)
{
	return c->n;
}

int64_t classes_find(const struct classes *c, const void *name, size_t n_name)
{
	return (int64_t)*place_of(c, trim(name, n_name)) - 1;
}

const char *classes_name(const struct classes *c, int64_t number, size_t *ret_n)
{
	if (number < 0 || (uint64_t)number >= c->n)
		return NULL;
	*ret_n = c->names[number].n;
	return c->names[number].at;
}
