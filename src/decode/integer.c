/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Digits are read into 64 bits with overflow seen; the float formats are checked by way of their
 * number of significant bits, so that a label is never rounded. */
#include "decode/integer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool parse(const uint8_t *at, size_t n, int64_t *ret)
{
	bool is_negative = false;
	int64_t value = 0;

	while (n && is_space(at[n - 1]))
		n--;
	while (n && is_space(*at))
		at++, n--;
	if (n && (*at == '-' || *at == '+')) {
		is_negative = *at == '-';
		at++, n--;
	}
	if (!n)
		return false;
	for (; n; at++, n--) {
		const int digit = *at - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, digit, &value)) /* below zero there is one more */
			return false;
	}
	if (!is_negative && __builtin_sub_overflow(0, value, &value))
		return false;
	*ret = value;
	return true;
}

/* Does the value have at most that many significant bits, and a magnitude of at most max_bits bits? */
static bool fits_float(int64_t value, int significant, int max_bits)
{
	const uint64_t u = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	int n_bits;

	if (!u)
		return true;
	n_bits = 64 - __builtin_clzll(u);
	return n_bits <= max_bits && n_bits - __builtin_ctzll(u) <= significant;
}

static uint16_t half_of(int64_t value)
{
	const uint64_t u = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	const uint16_t sign = value < 0 ? 0x8000 : 0;
	int n_bits;

	if (!u)
		return 0;
	n_bits = 64 - __builtin_clzll(u);
	return (uint16_t)(sign | (n_bits + 14) << 10 |
			  ((n_bits > 11 ? u >> (n_bits - 11) : u << (11 - n_bits)) & 0x3ff));
}

static bool store(int64_t value, enum dtype dtype, void *ret)
{
	const float f = (float)value;
	uint32_t bits;
	uint16_t half;

	switch (dtype) {
	case DTYPE_uint8:
		if (value < 0 || value > UINT8_MAX)
			return false;
		*(uint8_t *)ret = (uint8_t)value;
		return true;
	case DTYPE_int64:
		memcpy(ret, &value, sizeof(value));
		return true;
	case DTYPE_float16:
		if (!fits_float(value, 11, 16))
			return false;
		half = half_of(value);
		memcpy(ret, &half, sizeof(half));
		return true;
	case DTYPE_bfloat16:
		if (!fits_float(value, 8, 64))
			return false;
		memcpy(&bits, &f, sizeof(bits));
		half = (uint16_t)(bits >> 16);
		memcpy(ret, &half, sizeof(half));
		return true;
	case DTYPE_float32:
		if (!fits_float(value, 24, 64))
			return false;
		memcpy(ret, &f, sizeof(f));
		return true;
	case DTYPE_COUNT:
		break;
	}
	return false;
}

/* "abc\x00" in quotes; a longer text ends in "…" as three dots. */
static void quote(const uint8_t *at, size_t n, char *text, size_t n_text)
{
	size_t used = 0;

	if (n_text < 16)
		return;
	text[used++] = '"';
	for (size_t i = 0; i < n; i++) {
		const bool is_plain = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\';

		if (used + 10 > n_text) {
			memcpy(text + used, "...", 3);
			used += 3;
			break;
		}
		if (is_plain)
			text[used++] = (char)at[i];
		else
			used += (size_t)snprintf(text + used, n_text - used, "\\x%02x", at[i]);
	}
	text[used++] = '"';
	text[used] = '\0';
}

enum cause integer_decode(const void *bytes, size_t n_bytes, enum dtype dtype, void *ret, char *detail,
			  size_t n_detail)
{
	int64_t value;

	if (parse(bytes, n_bytes, &value) && store(value, dtype, ret))
		return CAUSE_none;
	quote(bytes, n_bytes, detail, n_detail);
	return CAUSE_not_an_integer;
}
