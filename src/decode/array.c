/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * An .npy header is the text of a Python dict with three keys. It is read by a parser of its own that knows
 * exactly what NumPy's writers have written: strings without escapes, True, False, and tuples of whole numbers,
 * which Python 2 ended with an L.
 */
#include "decode/array.h"

#include "decode/element.h"

#include <stdio.h>
#include <string.h>

enum { DESCR_MAX = 24, NPY_PREFIX = 8, NPY_DIMS_MAX = 32 };

struct npy {
	char descr[DESCR_MAX]; /* "" for a list: a structured dtype */
	bool is_fortran;
	unsigned n_dims;
	uint64_t dims[NPY_DIMS_MAX];
};

struct cursor {
	const char *at, *end;
};

enum cause array_from_raw(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
			  size_t n_detail)
{
	const size_t n_row = field_row_bytes(f);

	if (n_bytes != n_row) {
		snprintf(detail, n_detail, "%zu bytes where dtype and shape make %zu", n_bytes, n_row);
		return CAUSE_wrong_length;
	}
	if (f->dtype == DTYPE_bool) {
		for (size_t i = 0; i < n_bytes; i++) {
			if (((const unsigned char *)bytes)[i] > 1) {
				snprintf(detail, n_detail, "byte %zu is no bool", i);
				return CAUSE_wrong_value;
			}
		}
	}
	memcpy(ret, bytes, n_bytes);
	return CAUSE_none;
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\n'))
		c->at++;
}

/* The next thing is this text. */
static bool is_next(struct cursor *c, const char *text)
{
	const size_t n = strlen(text);

	skip_space(c);
	if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
		return false;
	c->at += n;
	return true;
}

/* 'text' or "text", cut to what the buffer holds. */
static bool take_string(struct cursor *c, char *ret, size_t n_ret)
{
	const char *end;
	char quote;
	size_t n;

	skip_space(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return false;
	quote = *c->at++;
	end = memchr(c->at, quote, (size_t)(c->end - c->at));
	if (!end || memchr(c->at, '\\', (size_t)(end - c->at)))
		return false;
	n = (size_t)(end - c->at) < n_ret ? (size_t)(end - c->at) : n_ret - 1;
	memcpy(ret, c->at, n);
	ret[n] = '\0';
	c->at = end + 1;
	return true;
}

static bool take_count(struct cursor *c, uint64_t *ret)
{
	const char *before;

	skip_space(c);
	before = c->at;
	for (*ret = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
		if (__builtin_mul_overflow(*ret, 10, ret) || __builtin_add_overflow(*ret, *c->at - '0', ret))
			return false;
	if (c->at == before)
		return false;
	is_next(c, "L");
	return true;
}

static bool take_shape(struct cursor *c, struct npy *ret)
{
	if (!is_next(c, "("))
		return false;
	for (ret->n_dims = 0; !is_next(c, ")"); ret->n_dims++) {
		if (ret->n_dims == NPY_DIMS_MAX || !take_count(c, &ret->dims[ret->n_dims]))
			return false;
		if (!is_next(c, ",")) /* a comma is what makes (3,) a tuple */
			return ret->n_dims++ > 0 && is_next(c, ")");
	}
	return true;
}

/* A structured dtype is a list of tuples of strings and shapes: skipped by its brackets. */
static bool skip_list(struct cursor *c)
{
	char name[DESCR_MAX];
	int depth = 0;

	do {
		if (is_next(c, "[") || is_next(c, "("))
			depth++;
		else if (is_next(c, "]") || is_next(c, ")"))
			depth--;
		else if (c->at < c->end && (*c->at == '\'' || *c->at == '"')) {
			if (!take_string(c, name, sizeof(name)))
				return false;
		} else if (c->at < c->end) {
			c->at++;
		}
	} while (depth > 0 && c->at < c->end);
	return depth == 0;
}

static bool take_value(struct cursor *c, const char *key, struct npy *ret, unsigned *seen)
{
	static const char *const keys[] = {"descr", "fortran_order", "shape"};
	unsigned k = 0;

	while (k < 3 && strcmp(key, keys[k]) != 0)
		k++;
	if (k == 3 || *seen & 1u << k)
		return false;
	*seen |= 1u << k;
	if (k == 2)
		return take_shape(c, ret);
	if (k == 0) {
		skip_space(c);
		return c->at < c->end && *c->at == '[' ? skip_list(c)
						       : take_string(c, ret->descr, sizeof(ret->descr));
	}
	ret->is_fortran = is_next(c, "True");
	return ret->is_fortran || is_next(c, "False");
}

static bool parse_header(struct cursor c, struct npy *ret)
{
	unsigned seen = 0;
	char key[DESCR_MAX];

	*ret = (struct npy){.is_fortran = false};
	if (!is_next(&c, "{"))
		return false;
	while (!is_next(&c, "}")) {
		if (!take_string(&c, key, sizeof(key)) || !is_next(&c, ":") || !take_value(&c, key, ret, &seen))
			return false;
		if (!is_next(&c, ","))
			return is_next(&c, "}") && seen == 7 && (skip_space(&c), c.at == c.end);
	}
	skip_space(&c);
	return seen == 7 && c.at == c.end;
}

/* Where the header's text lies; false: no .npy file of a version that is known. */
static bool find_header(const unsigned char *b, size_t n, struct cursor *ret)
{
	const size_t n_length = n > NPY_PREFIX && b[6] == 1 ? 2 : 4;
	uint32_t length = 0;

	if (n < NPY_PREFIX + n_length || memcmp(b, "\x93NUMPY", 6) != 0 || b[6] < 1 || b[6] > 3 || b[7] != 0)
		return false;
	memcpy(&length, b + NPY_PREFIX, n_length); /* little-endian */
	if (length > n - NPY_PREFIX - n_length)
		return false;
	ret->at = (const char *)b + NPY_PREFIX + n_length;
	ret->end = ret->at + length;
	return true;
}

/* The letters of NumPy's array protocol for a dtype, after the byte order. */
static const char *letters(enum dtype dtype)
{
	static const char *const all[DTYPE_COUNT] = {
		[DTYPE_uint8] = "u1",	[DTYPE_int64] = "i8",  [DTYPE_float16] = "f2", [DTYPE_float32] = "f4",
		[DTYPE_int32] = "i4",	[DTYPE_int8] = "i1",   [DTYPE_int16] = "i2",   [DTYPE_uint16] = "u2",
		[DTYPE_uint32] = "u4",	[DTYPE_uint64] = "u8", [DTYPE_float64] = "f8", [DTYPE_bool] = "b1",
	};

	return all[dtype] ? all[dtype] : "?"; /* NumPy has no bfloat16 */
}

static bool has_dtype(const struct npy *a, enum dtype dtype)
{
	return (a->descr[0] == '<' || (a->descr[0] == '|' && dtype_bytes(dtype) == 1)) &&
	       strcmp(a->descr + 1, letters(dtype)) == 0;
}

static bool has_shape(const struct npy *a, const struct field *f)
{
	for (unsigned i = 0; i < a->n_dims && i < f->n_dims; i++)
		if (a->dims[i] != f->dims[i])
			return false;
	return a->n_dims == f->n_dims;
}

static void say_shape(const struct npy *a, char *detail, size_t n_detail)
{
	size_t used = (size_t)snprintf(detail, n_detail, "the shape is [");

	for (unsigned i = 0; i < a->n_dims && used < n_detail; i++)
		used += (size_t)snprintf(detail + used, n_detail - used, "%s%llu", i ? ", " : "",
					 (unsigned long long)a->dims[i]);
	if (used < n_detail)
		snprintf(detail + used, n_detail - used, "]");
}

enum cause array_from_npy(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
			  size_t n_detail)
{
	struct cursor header;
	struct npy a;

	if (!find_header(bytes, n_bytes, &header) || !parse_header(header, &a)) {
		snprintf(detail, n_detail, "its header is not NumPy's");
		return CAUSE_not_npy;
	}
	if (a.descr[0] && a.descr[1] == 'O') {
		element_quote(a.descr, strlen(a.descr), detail, n_detail);
		return CAUSE_object_array;
	}
	if (!has_dtype(&a, f->dtype)) {
		snprintf(detail, n_detail, "the dtype is ");
		if (a.descr[0])
			element_quote(a.descr, strlen(a.descr), detail + 13, n_detail - 13);
		else
			snprintf(detail + 13, n_detail - 13, "structured");
		return CAUSE_wrong_array;
	}
	if (!has_shape(&a, f)) {
		say_shape(&a, detail, n_detail);
		return CAUSE_wrong_array;
	}
	if (a.is_fortran && f->n_dims > 1) {
		snprintf(detail, n_detail, "the order is Fortran's");
		return CAUSE_wrong_array;
	}
	return array_from_raw(f, header.end, n_bytes - (size_t)(header.end - (const char *)bytes), ret, detail,
			      n_detail);
}
