/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The grammar is checked here and underscores are left out, so that strtod sees nothing that only it takes
 * (hexadecimal numbers, nan with a payload). */
#include "decode/real.h"

#include "decode/element.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct reading {
	const char *at, *end;
	char text[REAL_CHARACTERS_MAX + 1];
	size_t n;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes one of these characters. */
static bool take(struct reading *r, const char *any)
{
	if (r->at == r->end || !*r->at || !strchr(any, *r->at))
		return false;
	r->text[r->n++] = *r->at++;
	return true;
}

/* Digits with single underscores between them; how many. */
static size_t take_digits(struct reading *r)
{
	size_t n = 0;

	while (r->at < r->end) {
		if (is_digit(*r->at)) {
			r->text[r->n++] = *r->at++;
			n++;
		} else if (n && *r->at == '_' && r->at + 1 < r->end && is_digit(r->at[1])) {
			r->at++;
		} else {
			break;
		}
	}
	return n;
}

static bool is_word(const struct reading *r, const char *word)
{
	return (size_t)(r->end - r->at) == strlen(word) && strncasecmp(r->at, word, strlen(word)) == 0;
}

static bool parse(struct reading *r, double *ret)
{
	bool is_negative, has_digits;

	while (r->at < r->end && is_space(r->end[-1]))
		r->end--;
	while (r->at < r->end && is_space(*r->at))
		r->at++;
	if (r->end - r->at > REAL_CHARACTERS_MAX)
		return false;
	is_negative = r->at < r->end && *r->at == '-';
	take(r, "+-");
	if (is_word(r, "inf") || is_word(r, "infinity") || is_word(r, "nan")) {
		*ret = copysign(is_word(r, "nan") ? (double)NAN : (double)INFINITY, is_negative ? -1.0 : 1.0);
		return true;
	}
	has_digits = take_digits(r) > 0;
	if (take(r, "."))
		has_digits |= take_digits(r) > 0;
	if (!has_digits)
		return false;
	if (take(r, "eE")) {
		take(r, "+-");
		if (take_digits(r) == 0)
			return false;
	}
	r->text[r->n] = '\0';
	if (r->at != r->end)
		return false;
	*ret = strtod(r->text, NULL);
	return isfinite(*ret);
}

enum cause real_decode(const void *bytes, size_t n_bytes, enum dtype dtype, void *ret, char *detail,
		       size_t n_detail)
{
	struct reading r = {.at = bytes, .end = (const char *)bytes + n_bytes};
	double value;

	if (parse(&r, &value) && element_put_real(value, dtype, ret))
		return CAUSE_none;
	element_quote(bytes, n_bytes, detail, n_detail);
	return CAUSE_not_a_number;
}
