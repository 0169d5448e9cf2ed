/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One digit loop; units are tables. Nothing is rounded: a unit takes whole numbers alone. */
#include "config/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits; *ret_end is what stands behind them. 010 is refused: some would read it as 8. */
static bool digits(const char *text, uint64_t *ret, const char **ret_end)
{
	uint64_t n = 0;
	const char *c = text;

	if (!is_digit(*c) || (*c == '0' && is_digit(c[1])))
		return false;
	for (; is_digit(*c); c++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
			return false;
	*ret = n;
	*ret_end = c;
	return true;
}

static bool with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	const char *end;
	uint64_t n;

	if (!digits(text, &n, &end))
		return false;
	while (units->name && strcmp(end, units->name) != 0)
		units++;
	if (!units->name || __builtin_mul_overflow(n, units->factor, &n))
		return false;
	*ret = n;
	return true;
}

bool number_count(const char *text, uint64_t *ret)
{
	static const struct unit none[] = {{"", 1}, {NULL, 0}};

	return with_unit(text, none, ret);
}

bool number_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {{"B", 1},
					    {"KiB", 1ull << 10},
					    {"MiB", 1ull << 20},
					    {"GiB", 1ull << 30},
					    {"TiB", 1ull << 40},
					    {NULL, 0}};

	return with_unit(text, units, ret_bytes);
}

bool number_time(const char *text, uint64_t *ret_ns)
{
	static const struct unit units[] = {{"us", 1000},
					    {"ms", 1000000},
					    {"s", 1000000000},
					    {"min", 60000000000},
					    {"h", 3600000000000},
					    {NULL, 0}};

	return with_unit(text, units, ret_ns);
}

/* The end of a decimal real, or NULL: strtod alone would take hexadecimals, nan and blanks. */
static const char *real_end(const char *c)
{
	if (*c == '-')
		c++;
	if (!is_digit(*c) || (*c == '0' && is_digit(c[1])))
		return NULL;
	c += strspn(c, "0123456789");
	if (*c == '.') {
		if (!is_digit(c[1]))
			return NULL;
		c += 1 + strspn(c + 1, "0123456789");
	}
	if (*c == 'e' || *c == 'E') {
		c += c[1] == '-' || c[1] == '+' ? 2 : 1;
		if (!is_digit(*c))
			return NULL;
		c += strspn(c, "0123456789");
	}
	return c;
}

bool number_real(const char *text, double *ret)
{
	const char *end = real_end(text);

	if (!end || *end)
		return false;
	*ret = strtod(text, NULL);
	return isfinite(*ret);
}

bool number_share(const char *text, double *ret)
{
	const char *end = real_end(text);

	if (!end || *text == '-' || strcmp(end, "%") != 0)
		return false;
	*ret = strtod(text, NULL) / 100;
	return isfinite(*ret);
}
