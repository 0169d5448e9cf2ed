/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Digits are read into 64 bits with overflow seen. */
#include "decode/integer.h"

#include "decode/element.h"

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool parse(const uint8_t *at, size_t n, bool *ret_is_negative, uint64_t *ret)
{
	uint64_t value = 0;

	*ret_is_negative = false;
	while (n && is_space(at[n - 1]))
		n--;
	while (n && is_space(*at))
		at++, n--;
	if (n && (*at == '-' || *at == '+')) {
		*ret_is_negative = *at == '-';
		at++, n--;
	}
	if (!n)
		return false;
	for (; n; at++, n--) {
		const int digit = *at - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	*ret = value;
	return true;
}

enum cause integer_decode(const void *bytes, size_t n_bytes, enum dtype dtype, void *ret, char *detail,
			  size_t n_detail)
{
	bool is_negative;
	uint64_t value;

	if (parse(bytes, n_bytes, &is_negative, &value) &&
	    element_put_integer(is_negative, value, dtype, ret))
		return CAUSE_none;
	element_quote(bytes, n_bytes, detail, n_detail);
	return CAUSE_not_an_integer;
}
