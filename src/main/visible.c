/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Tables ascend, because scale and std are positive. */
#include "main/visible.h"

#include "base/classes.h"
#include "transform/table.h"

#include <math.h>
#include <string.h>

enum { ELEMENTS_SHOWN = 64, BYTES_SHOWN = 1024 };

static float float_of_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static float float16_value(uint16_t half)
{
	const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, rest = half & 1023;
	float small;

	if (exponent == 31)
		return float_of_bits(sign | 0x7F800000 | rest << 13);
	if (exponent)
		return float_of_bits(sign | (exponent + 112) << 23 | rest << 13);
	small = (float)rest * 0x1p-24f;
	return sign ? -small : small;
}

/* Element i of an array of one of the floating dtypes, or of uint8. */
static double real_at(enum dtype dtype, const void *array, size_t i)
{
	uint16_t half;
	double real;
	float single;

	switch (dtype) {
	case DTYPE_float16:
	case DTYPE_bfloat16:
		memcpy(&half, (const char *)array + 2 * i, sizeof(half));
		return dtype == DTYPE_float16 ? float16_value(half) : float_of_bits((uint32_t)half << 16);
	case DTYPE_float32:
		memcpy(&single, (const char *)array + 4 * i, sizeof(single));
		return single;
	case DTYPE_float64:
		memcpy(&real, (const char *)array + 8 * i, sizeof(real));
		return real;
	default:
		return ((const uint8_t *)array)[i];
	}
}

void visible_init(struct visible *v, const struct field *field)
{
	const unsigned h = field->layout == LAYOUT_CHW ? 1 : 0;
	struct value_table table;

	*v = (struct visible){.field = field, .height = field->dims[h], .width = field->dims[h + 1]};
	table_make(field, &table);
	for (unsigned c = 0; c < 3; c++) {
		const void *values = table.n_value == 1 ? (void *)table.to8[c]
				     : table.n_value == 2 ? (void *)table.to16[c] : (void *)table.to32[c];

		for (unsigned i = 0; i < 256; i++)
			v->values[c][i] = (float)real_at(field->dtype, values, i);
	}
}

/* The first value of the channel that is not below x. */
static uint8_t find(const float *values, float x)
{
	unsigned from = 0, to = 255;

	while (from < to) {
		const unsigned middle = (from + to) / 2;

		if (values[middle] < x)
			from = middle + 1;
		else
			to = middle;
	}
	return (uint8_t)from;
}

void visible_rgb(const struct visible *v, const void *row, uint8_t *ret_rgb)
{
	const size_t n = (size_t)v->width * v->height;
	const bool is_chw = v->field->layout == LAYOUT_CHW;

	for (size_t i = 0; i < n; i++) {
		for (unsigned c = 0; c < 3; c++) {
			const double x = real_at(v->field->dtype, row, is_chw ? c * n + i : 3 * i + c);

			ret_rgb[3 * i + c] = find(v->values[c], (float)x);
		}
	}
}

static json_t *integer_at(enum dtype dtype, const void *array, size_t i)
{
	const size_t n = dtype_bytes(dtype);
	const bool is_signed = dtype == DTYPE_int8 || dtype == DTYPE_int16 || dtype == DTYPE_int32 || dtype == DTYPE_int64;
	uint64_t value = 0;
	char text[24];

	memcpy(&value, (const char *)array + n * i, n);
	if (is_signed && n < 8 && value >> (8 * n - 1) & 1)
		value |= UINT64_MAX << 8 * n;
	if (is_signed || value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value); /* JSON's integers here end at 2^63 */
	return json_string(text);
}

static json_t *element(enum dtype dtype, const void *array, size_t i)
{
	char text[32];
	double real;

	switch (dtype) {
	case DTYPE_bool:
		return json_boolean(((const uint8_t *)array)[i]);
	case DTYPE_float16:
	case DTYPE_bfloat16:
	case DTYPE_float32:
	case DTYPE_float64:
		real = real_at(dtype, array, i);
		if (isfinite(real))
			return json_real(real);
		snprintf(text, sizeof(text), "%g", real); /* JSON has no word for it */
		return json_string(text);
	default:
		return integer_at(dtype, array, i);
	}
}

static json_t *text_value(const struct field *f, const void *row, size_t n_bytes)
{
	const size_t n = n_bytes < BYTES_SHOWN ? n_bytes : BYTES_SHOWN;
	const unsigned char *bytes = row;
	char hex[2 * BYTES_SHOWN + 1] = "";
	size_t n_text = n;
	json_t *j;

	while (n_text && n_text < n_bytes && (bytes[n_text] & 0xC0) == 0x80)
		n_text--; /* not in the middle of a letter */
	j = f->decode == DECODE_TEXT ? json_stringn(row, n_text) : NULL;
	for (size_t i = 0; !j && i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	return j ? j : json_string(hex);
}

json_t *visible_value(const struct field *f, const void *row, size_t n_bytes)
{
	size_t n = 1;
	json_t *list;

	if (field_is_ragged(f))
		return text_value(f, row, n_bytes);
	if (f->classes) {
		json_t *number = element(f->dtype, row, 0);
		size_t n_name = 0;
		const char *name = classes_name(f->classes, json_integer_value(number), &n_name);

		return json_pack("{s:o, s:s%}", "number", number, "name", name ? name : "", n_name);
	}
	if (f->n_dims == 0)
		return element(f->dtype, row, 0);
	for (unsigned i = 0; i < f->n_dims; i++)
		n *= f->dims[i];
	list = json_array();
	for (size_t i = 0; i < n && i < ELEMENTS_SHOWN; i++)
		json_array_append_new(list, element(f->dtype, row, i));
	return list;
}
