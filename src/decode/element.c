/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Integers go into floats by their number of significant bits, so that a label is never rounded. */
#include "decode/element.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Does it have at most that many significant bits, and at most max_bits bits? */
static bool fits_float(uint64_t u, int significant, int max_bits)
{
	int n_bits;

	if (!u)
		return true;
	n_bits = 64 - __builtin_clzll(u);
	return n_bits <= max_bits && n_bits - __builtin_ctzll(u) <= significant;
}

/* Whole numbers of n_bits in two's complement. */
static bool put_signed(bool is_negative, uint64_t u, unsigned n_bits, void *ret)
{
	const uint64_t most = (UINT64_C(1) << (n_bits - 1)) - (is_negative ? 0 : 1);
	const uint64_t value = is_negative ? 0 - u : u;

	if (u > most)
		return false;
	memcpy(ret, &value, n_bits / 8); /* little-endian */
	return true;
}

static bool put_unsigned(bool is_negative, uint64_t u, uint64_t most, size_t n_bytes, void *ret)
{
	if ((is_negative && u) || u > most)
		return false;
	memcpy(ret, &u, n_bytes);
	return true;
}

/* The significant bits that floats have, and the most bits of a whole number; 0: no float. */
static int significant_bits(enum dtype dtype, int *ret_max_bits)
{
	*ret_max_bits = dtype == DTYPE_float16 ? 16 : 64;
	switch (dtype) {
	case DTYPE_float16:
		return 11;
	case DTYPE_bfloat16:
		return 8;
	case DTYPE_float32:
		return 24;
	case DTYPE_float64:
		return 53;
	default:
		return 0;
	}
}

bool element_put_integer(bool is_negative, uint64_t u, enum dtype dtype, void *ret)
{
	int significant, max_bits;

	switch (dtype) {
	case DTYPE_int8:
		return put_signed(is_negative, u, 8, ret);
	case DTYPE_int16:
		return put_signed(is_negative, u, 16, ret);
	case DTYPE_int32:
		return put_signed(is_negative, u, 32, ret);
	case DTYPE_int64:
		return put_signed(is_negative, u, 64, ret);
	case DTYPE_bool:
		return put_unsigned(is_negative, u, 1, 1, ret);
	case DTYPE_uint8:
		return put_unsigned(is_negative, u, UINT8_MAX, 1, ret);
	case DTYPE_uint16:
		return put_unsigned(is_negative, u, UINT16_MAX, 2, ret);
	case DTYPE_uint32:
		return put_unsigned(is_negative, u, UINT32_MAX, 4, ret);
	case DTYPE_uint64:
		return put_unsigned(is_negative, u, UINT64_MAX, 8, ret);
	default:
		significant = significant_bits(dtype, &max_bits);
		return fits_float(u, significant, max_bits) &&
		       element_put_real(is_negative && u ? -(double)u : (double)u, dtype, ret);
	}
}

/* Straight from the double: by way of a float some values would be rounded twice. */
static bool put_half(double value, void *ret)
{
	const double size = fabs(value);
	uint16_t half;
	int exponent;

	if (isnan(value)) {
		half = 0x7e00;
	} else if (isinf(value)) {
		half = 0x7c00;
	} else {
		if (size >= 65520.0)
			return false;
		frexp(size, &exponent);
		if (exponent < -13 || size == 0.0) /* subnormal: all in units of 2^-24 */
			exponent = -13;
		half = (uint16_t)(((exponent + 13) << 10) + (int)rint(ldexp(size, 11 - exponent)));
	}
	if (signbit(value))
		half |= 0x8000;
	memcpy(ret, &half, sizeof(half));
	return true;
}

static bool put_bfloat16(float value, void *ret)
{
	const bool is_finite = isfinite(value);
	uint32_t bits;
	uint16_t half;

	memcpy(&bits, &value, sizeof(bits));
	if (isnan(value))
		half = (uint16_t)(bits >> 16 | 0x40);
	else
		half = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
	if (is_finite && (half & 0x7fff) == 0x7f80)
		return false;
	memcpy(ret, &half, sizeof(half));
	return true;
}

bool element_put_real(double value, enum dtype dtype, void *ret)
{
	const float f = (float)value;

	switch (dtype) {
	case DTYPE_float16:
		return put_half(value, ret);
	case DTYPE_float64:
		memcpy(ret, &value, sizeof(value));
		return true;
	case DTYPE_float32:
	case DTYPE_bfloat16:
		if (isinf(f) && !isinf(value))
			return false;
		if (dtype == DTYPE_bfloat16)
			return put_bfloat16(f, ret);
		memcpy(ret, &f, sizeof(f));
		return true;
	default:
		return false;
	}
}

void element_quote(const void *bytes, size_t n, char *text, size_t n_text)
{
	const uint8_t *at = bytes;
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
