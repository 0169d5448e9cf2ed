/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* 768 values per field, computed one by one at start; a formula is tried on all of them. */
#include "transform/table.h"

#include <math.h>
#include <stdbool.h>
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

/* The only normalize step, or NULL; false: there are several. */
static bool only_normalize(const struct field *f, const struct step **ret)
{
	*ret = NULL;
	for (unsigned k = 0; k < f->n_steps; k++) {
		if (f->steps[k].kind != STEP_NORMALIZE)
			continue;
		if (*ret)
			return false;
		*ret = &f->steps[k];
	}
	return true;
}

static float compute(const struct value_formula *o, enum value_form form, unsigned c, float v)
{
	float x, y, z;

	if (form == FORM_FMA)
		return fmaf(v, o->slope[c], o->offset[c]);
	x = v * o->up;
	x = fmaf(fmaf(-x, o->down, v), o->again, x);
	y = x - o->mean[c];
	z = y * o->up_std[c];
	return fmaf(fmaf(-z, o->std[c], y), o->up_std[c], z);
}

static bool is_equal(const struct value_table *t, enum value_form form)
{
	for (unsigned c = 0; c < 3; c++) {
		for (unsigned i = 0; i < 256; i++) {
			const float v = compute(&t->formula, form, c, (float)i);
			uint32_t bits;

			memcpy(&bits, &v, sizeof(bits));
			if (t->dtype == DTYPE_float32	? bits != t->to32[c][i]
			    : t->dtype == DTYPE_float16 ? table_float16(v) != t->to16[c][i]
							: table_bfloat16(v) != t->to16[c][i])
				return false;
		}
	}
	return true;
}

/* The cheapest formula that agrees with the whole table. */
static void find_formula(const struct field *f, struct value_table *t)
{
	struct value_formula *o = &t->formula;
	const double unit = f->scale == SCALE_NONE ? 1.0 : 1.0 / 255.0;
	const struct step *s;

	*o = (struct value_formula){.form = FORM_LOOKUP,
				    .up = (float)unit,
				    .down = f->scale == SCALE_DIVIDE ? 255.0f : 1.0f,
				    .again = f->scale == SCALE_DIVIDE ? (float)unit : 0.0f};
	if (t->n_value == 1 || !only_normalize(f, &s))
		return;
	for (unsigned c = 0; c < 3; c++) {
		o->mean[c] = s ? s->mean[c] : 0.0f;
		o->std[c] = s ? s->std[c] : 1.0f;
		o->up_std[c] = 1.0f / o->std[c];
		o->slope[c] = (float)(unit / (double)o->std[c]);
		o->offset[c] = (float)(-(double)o->mean[c] / (double)o->std[c]);
	}
	if (is_equal(t, FORM_FMA))
		o->form = FORM_FMA;
	else if (is_equal(t, FORM_DIVIDE))
		o->form = FORM_DIVIDE;
}

static void put_values(const struct field *f, unsigned c, unsigned i, struct value_table *t)
{
	float v = scaled(f->scale, i);

	for (unsigned k = 0; k < f->n_steps; k++)
		if (f->steps[k].kind == STEP_NORMALIZE)
			v = (v - f->steps[k].mean[c]) / f->steps[k].std[c];
	memcpy(&t->to32[c][i], &v, sizeof(v));
	t->to16[c][i] = f->dtype == DTYPE_bfloat16 ? table_bfloat16(v) : table_float16(v);
	t->to8[c][i] = (uint8_t)i;
}

void table_make(const struct field *f, struct value_table *ret)
{
	ret->dtype = f->dtype;
	ret->n_value = (unsigned)dtype_bytes(f->dtype);
	for (unsigned c = 0; c < 3; c++) {
		for (unsigned i = 0; i < 256; i++) {
			uint32_t value;

			put_values(f, c, i, ret);
			value = ret->n_value == 1   ? ret->to8[c][i]
				: ret->n_value == 2 ? ret->to16[c][i]
						    : ret->to32[c][i];
			for (unsigned k = 0; k < 4; k++)
				ret->bytes[c][k][i] = (uint8_t)(value >> 8 * k);
		}
	}
	find_formula(f, ret);
}
