/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A pattern is text, its first group, and a rest. A group is {a,b,…}, whose pieces are patterns
 * themselves, or a range {1..9}, {001..128}, {a..e}, {1..9..2}. Braces around anything else, as
 * {abc}, stand for themselves. Expanding is replacing the first group by each of its pieces in turn
 * and going on with what then is the pattern; counting multiplies and adds, so it is done first.
 */
#include "shard/brace.h"

#include "base/fault.h"
#include "shard/list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct range {
	int64_t first, last, step; /* step > 0; the direction is the bounds' */
	int width;		   /* zero-padded to it; 0 = not */
	bool is_letters;
};

struct group {
	const char *open, *close; /* the braces */
	bool is_range;
	struct range range;
};

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* An integer that ends where end is; its length counts for padding. */
static bool parse_integer(const char *at, const char *end, int64_t *ret, int *ret_padded)
{
	bool is_negative = at < end && *at == '-';
	const char *digits = at + (at < end && (*at == '-' || *at == '+'));
	int64_t value = 0;

	if (digits == end || end - digits > 18)
		return false;
	for (const char *c = digits; c < end; c++) {
		if (*c < '0' || *c > '9')
			return false;
		value = value * 10 + (*c - '0');
	}
	*ret = is_negative ? -value : value;
	*ret_padded = *digits == '0' && end - digits > 1 ? 1 : 0;
	return true;
}

static bool is_letter(const char *at, const char *end)
{
	return end - at == 1 && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z'));
}

static const char *find_dots(const char *at, const char *end)
{
	for (; at + 1 < end; at++) {
		if (at[0] == '.' && at[1] == '.')
			return at;
	}
	return NULL;
}

/* FIRST..LAST or FIRST..LAST..STEP between the braces. */
static bool parse_range(const char *at, const char *end, struct range *ret)
{
	const char *dots = find_dots(at, end), *second, *more, *last_end;
	int is_padded[2] = {0, 0}, unused;

	if (!dots)
		return false;
	second = dots + 2;
	more = find_dots(second, end);
	last_end = more ? more : end;
	*ret = (struct range){.step = 1};
	if (is_letter(at, dots) && is_letter(second, last_end) && (*at >= 'a') == (*second >= 'a')) {
		ret->is_letters = true;
		ret->first = *at;
		ret->last = *second;
	} else if (!parse_integer(at, dots, &ret->first, &is_padded[0]) ||
		   !parse_integer(second, last_end, &ret->last, &is_padded[1])) {
		return false;
	}
	if (is_padded[0] || is_padded[1]) {
		ptrdiff_t a = dots - at, b = last_end - second;

		ret->width = (int)(a > b ? a : b);
	}
	if (more && !parse_integer(more + 2, end, &ret->step, &unused))
		return false;
	if (ret->step < 0)
		ret->step = -ret->step;
	if (ret->step == 0)
		ret->step = 1;
	return true;
}

static uint64_t count_range(const struct range *r)
{
	uint64_t span = r->first < r->last ? (uint64_t)r->last - (uint64_t)r->first :
					     (uint64_t)r->first - (uint64_t)r->last;

	return span / (uint64_t)r->step + 1;
}

/* Where the piece that begins at at ends: at a comma of this level, or at end. */
static const char *piece_end(const char *at, const char *end)
{
	int depth = 0;

	for (; at < end; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == '{')
			depth++;
		else if (*at == '}')
			depth--;
		else if (*at == ',' && depth == 0)
			break;
	}
	return at;
}

/* The brace that closes the one at open, or NULL. */
static const char *find_close(const char *open, const char *end)
{
	int depth = 0;

	for (const char *c = open; c < end; c++) {
		if (*c == '\\' && c + 1 < end)
			c++;
		else if (*c == '{')
			depth++;
		else if (*c == '}' && --depth == 0)
			return c;
	}
	return NULL;
}

/* The first group between at and end: 1 = found, 0 = none, -1 = a brace is not closed (ret->open). */
static int find_group(const char *at, const char *end, struct group *ret)
{
	for (; at < end; at++) {
		if (*at == '\\' && at + 1 < end) {
			at++;
			continue;
		}
		if (*at != '{')
			continue;
		ret->open = at;
		ret->close = find_close(at, end);
		if (!ret->close)
			return -1;
		ret->is_range = parse_range(at + 1, ret->close, &ret->range);
		if (ret->is_range || piece_end(at + 1, ret->close) < ret->close)
			return 1;
	}
	return 0;
}

static int count(const char *at, const char *end, int depth, uint64_t *ret_n, struct reason *why)
{
	uint64_t product = 1;
	int n_groups = 0;

	for (;;) {
		struct group g;
		uint64_t sum = 0, n;
		int r = find_group(at, end, &g);

		if (r == 0)
			break;
		if (r < 0) {
			reason_set(why, "the brace in \"%.200s\" is not closed", g.open);
			return SHARD_E_LIST;
		}
		if (depth + ++n_groups > BRACE_GROUPS_MAX) {
			reason_set(why, "\"%.200s\": more than %d braces", at, BRACE_GROUPS_MAX);
			return SHARD_E_LIST;
		}
		if (g.is_range)
			sum = count_range(&g.range);
		for (const char *p = g.open + 1; !g.is_range;) {
			const char *stop = piece_end(p, g.close);

			r = count(p, stop, depth + 1, &n, why);
			if (r != 0)
				return r;
			sum = add(sum, n);
			if (stop == g.close)
				break;
			p = stop + 1;
		}
		product = multiply(product, sum);
		at = g.close + 1;
	}
	*ret_n = product;
	return 0;
}

int brace_count(const char *pattern, uint64_t *ret_n, struct reason *why)
{
	size_t n = strlen(pattern);

	if (n >= BRACE_LENGTH_MAX) {
		reason_set(why, "\"%.100s…\": %zu bytes; %d are possible", pattern, n,
			   BRACE_LENGTH_MAX - 1);
		return SHARD_E_LIST;
	}
	return count(pattern, pattern + n, 0, ret_n, why);
}

struct expansion {
	int (*on_string)(void *context, const char *string);
	void *context;
};

static int expand(const struct expansion *x, const char *pattern, size_t n_done);

/* The pattern with the group replaced by n bytes of piece, expanded from where the piece begins. */
static int replace(const struct expansion *x, const char *pattern, const struct group *g,
		   const char *piece, size_t n, bool is_final, char *scratch)
{
	size_t n_before = (size_t)(g->open - pattern), n_rest = strlen(g->close + 1);

	if (n_before + n + n_rest >= 2 * BRACE_LENGTH_MAX)
		return fail(-ENAMETOOLONG);
	memcpy(scratch, pattern, n_before);
	memcpy(scratch + n_before, piece, n);
	memcpy(scratch + n_before + n, g->close + 1, n_rest + 1);
	return expand(x, scratch, n_before + (is_final ? n : 0));
}

static int replace_by_range(const struct expansion *x, const char *pattern, const struct group *g,
			    char *scratch)
{
	const struct range *range = &g->range;
	uint64_t n = count_range(range);
	int64_t step = range->first <= range->last ? range->step : -range->step;
	char text[BRACE_LENGTH_MAX];
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		int64_t value = range->first + (int64_t)i * step;
		int k = range->is_letters ?
				snprintf(text, sizeof(text), "%c", (int)value) :
				snprintf(text, sizeof(text), "%0*lld", range->width, (long long)value);

		r = replace(x, pattern, g, text, (size_t)k, true, scratch);
	}
	return r;
}

static int expand(const struct expansion *x, const char *pattern, size_t n_done)
{
	struct group g;
	char *scratch;
	int r = 0;

	if (find_group(pattern + n_done, pattern + strlen(pattern), &g) <= 0)
		return x->on_string(x->context, pattern);
	scratch = malloc(2 * BRACE_LENGTH_MAX);
	if (!scratch)
		return fail(-ENOMEM);
	if (g.is_range)
		r = replace_by_range(x, pattern, &g, scratch);
	for (const char *p = g.open + 1; r == 0 && !g.is_range;) {
		const char *stop = piece_end(p, g.close);

		r = replace(x, pattern, &g, p, (size_t)(stop - p), false, scratch);
		if (stop == g.close)
			break;
		p = stop + 1;
	}
	free(scratch);
	return r;
}

int brace_expand(const char *pattern, int (*on_string)(void *context, const char *string),
		 void *context)
{
	const struct expansion x = {.on_string = on_string, .context = context};

	return expand(&x, pattern, 0);
}
