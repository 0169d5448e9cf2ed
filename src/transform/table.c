/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* 768 values per field, computed one by one at start, so there is nothing to prove about a faster form. */
#include "transform/table.h"

#include <string.h>

uint16_t table_float16(float value)
{
	uint32_t bits, sign, low, half;
	int exponent;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (bits >= 0x477ff000) /* 65520 and more round to infinity */
		return (uint16_t)(sign | 0x7c00);
	exponent = (int)(bits >> 23) - 127;
	if (exponent < -14) { /* subnormal: shift the whole significand down */
		const int shift = -14 - exponent + 13;
		const uint32_t whole = (bits & 0x7fffff) | 0x800000;

		if (shift > 24)
			return (uint16_t)sign;
		half = whole >> shift;
		low = whole & ((1u << shift) - 1);
		if (low > 1u << (shift - 1) || (low == 1u << (shift - 1) && half & 1))
			half++;
		return (uint16_t)(sign | half);
	}
	half = (uint32_t)(exponent + 15) << 10 | (bits >> 13 & 0x3ff);
	low = bits & 0x1fff;
	if (low > 0x1000 || (low == 0x1000 && half & 1))
		half++;
	return (uint16_t)(sign | half);
}

uint16_t table_bfloat16(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float scaled(enum scale_kind scale, unsigned value)
{
	switch (scale) {
	case SCALE_DIVIDE:
		return (float)value / 255.0f;
	case SCALE_RECIPROCAL:
		return (float)value * (float)(1.0 / 255.0);
	case SCALE_NONE:
		break;
	}
	return (float)value;
}

void table_make(const struct field *f, struct value_table *ret)
{
	for (unsigned c = 0; c < 3; c++) {
		for (unsigned i = 0; i < 256; i++) {
			float v = scaled(f->scale, i);

			for (unsigned k = 0; k < f->n_steps; k++)
				if (f->steps[k].kind == STEP_NORMALIZE)
					v = (v - f->steps[k].mean[c]) / f->steps[k].std[c];
			memcpy(&ret->to32[c][i], &v, sizeof(v));
			ret->to16[c][i] = f->dtype == DTYPE_bfloat16 ? table_bfloat16(v)
								     : table_float16(v);
			ret->to8[c][i] = (uint8_t)i;
		}
	}
}
