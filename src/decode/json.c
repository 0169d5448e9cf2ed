/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* jansson reads the document; its allocator is the arena while it does, and the one before again after. */
#include "decode/json.h"

#include "decode/element.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct arena *lender; /* while a document is read */

static void *lend(size_t n_bytes)
{
	return arena_alloc(lender, n_bytes);
}

/* The arena is forgotten as a whole. */
static void keep(void *memory)
{
	(void)memory;
}

/* What went wrong on the way to a value, and where. */
struct search {
	const struct field *f;
	char *detail, *to;
	size_t n_detail, n_element;
};

/* The child that one word of the path names. */
static const json_t *child(const json_t *v, const char *word)
{
	char *end;
	unsigned long i;

	if (json_is_object(v))
		return json_object_get(v, word);
	i = strtoul(word, &end, 10);
	return json_is_array(v) && *word >= '0' && *word <= '9' && !*end ? json_array_get(v, i) : NULL;
}

static const json_t *find(const json_t *v, const char *path)
{
	char word[sizeof(((struct field *)0)->key)];

	while (v && *path) {
		const size_t n = strcspn(path, ".");

		memcpy(word, path, n);
		word[n] = '\0';
		v = child(v, word);
		path += n + (path[n] == '.');
	}
	return v;
}

static bool put(const json_t *v, enum dtype dtype, void *to)
{
	json_int_t i;

	if (json_is_boolean(v))
		return dtype == DTYPE_bool && element_put_integer(false, json_is_true(v), dtype, to);
	if (json_is_real(v))
		return element_put_real(json_real_value(v), dtype, to);
	if (!json_is_integer(v))
		return false;
	i = json_integer_value(v);
	return element_put_real((double)i, dtype, to) ||
	       element_put_integer(i < 0, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, dtype, to);
}

static const char *kind(const json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",	   [JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer", [JSON_REAL] = "a real", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	return names[json_typeof(v)];
}

static void say_no_list(struct search *s, const json_t *v, uint32_t n)
{
	if (json_is_array(v))
		snprintf(s->detail, s->n_detail, "a list of %zu where one of %u is due", json_array_size(v), n);
	else
		snprintf(s->detail, s->n_detail, "%s where a list of %u is due", kind(v), n);
}

static bool fill(struct search *s, const json_t *v, unsigned dim)
{
	if (dim == s->f->n_dims) {
		if (!put(v, s->f->dtype, s->to)) {
			snprintf(s->detail, s->n_detail, "%s where a %s is due", kind(v), dtype_name(s->f->dtype));
			return false;
		}
		s->to += s->n_element;
		return true;
	}
	if (!json_is_array(v) || json_array_size(v) != s->f->dims[dim]) {
		say_no_list(s, v, s->f->dims[dim]);
		return false;
	}
	for (size_t i = 0; i < s->f->dims[dim]; i++)
		if (!fill(s, json_array_get(v, i), dim + 1))
			return false;
	return true;
}

static json_t *load(struct arena *arena, const void *bytes, size_t n_bytes, json_error_t *error)
{
	json_malloc_t give;
	json_free_t take;
	json_t *document;

	json_get_alloc_funcs(&give, &take);
	json_set_alloc_funcs(lend, keep);
	lender = arena;
	document = json_loadb(bytes, n_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
	lender = NULL;
	json_set_alloc_funcs(give, take);
	return document;
}

enum cause json_value_decode(const struct field *f, struct arena *arena, const void *bytes, size_t n_bytes,
			     void *ret, char *detail, size_t n_detail)
{
	struct search s = {.f = f, .detail = detail, .n_detail = n_detail, .to = ret,
			   .n_element = dtype_bytes(f->dtype)};
	json_error_t error;
	const json_t *v = load(arena, bytes, n_bytes, &error); /* never freed: it lies in the arena */

	if (arena->is_over)
		return CAUSE_decode_memory;
	if (!v) {
		snprintf(detail, n_detail, "line %d, column %d", error.line, error.column);
		return CAUSE_not_json;
	}
	v = find(v, f->key);
	if (!v) {
		snprintf(detail, n_detail, "nothing at ");
		element_quote(f->key, strlen(f->key), detail + 11, n_detail - 11);
		return CAUSE_wrong_value;
	}
	return fill(&s, v, 0) ? CAUSE_none : CAUSE_wrong_value;
}
