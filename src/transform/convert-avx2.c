/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX2 with FMA and F16C: interleaved pixels to planes, planes to the target. Values are computed by a
 * formula where table.h has one for the field, else looked up as in plain C.
 */
#include "transform/kernels-x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Which bytes of the k-th 16 of 48 make the 16 bytes of channel c: thirds[c][k]; -1 is none. */
static const int8_t thirds[3][3][16] = {
	{{0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13}},
	{{1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14}},
	{{2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1},
	 {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15}},
};

INLINE __m256i every_third(const __m256i in[3], unsigned c)
{
	__m256i out = _mm256_setzero_si256();

	for (unsigned k = 0; k < 3; k++) {
		const __m128i at = _mm_loadu_si128((const __m128i *)thirds[c][k]);

		out = _mm256_or_si256(out,
				      _mm256_shuffle_epi8(in[k], _mm256_broadcastsi128_si256(at)));
	}
	return out;
}

void avx2_split(const uint8_t *rgb, size_t n, struct row_room out)
{
	size_t x = 0;

	for (; x + 32 <= n; x += 32, rgb += 96) {
		const __m128i *at = (const __m128i *)rgb;
		__m256i in[3];

		for (unsigned k = 0; k < 3; k++)
			in[k] = _mm256_inserti128_si256(
				_mm256_castsi128_si256(_mm_loadu_si128(at + k)),
				_mm_loadu_si128(at + 3 + k), 1);
		for (unsigned c = 0; c < 3; c++)
			_mm256_storeu_si256((__m256i *)(out.at + c * out.stride + x),
					    every_third(in, c));
	}
	kernels_c.split(rgb, n - x, (struct row_room){out.at + x, out.stride});
}

/* Eight values of a formula: channels in turn begin with channel phase, or are all that channel. */
struct constants {
	__m256 slope, offset, mean, std, up_std;
};

static struct constants constants_of(const struct value_formula *f, unsigned phase, unsigned step)
{
	float v[5][8];

	for (unsigned i = 0; i < 8; i++) {
		const unsigned c = (phase + i * step) % 3;

		v[0][i] = f->slope[c];
		v[1][i] = f->offset[c];
		v[2][i] = f->mean[c];
		v[3][i] = f->std[c];
		v[4][i] = f->up_std[c];
	}
	return (struct constants){_mm256_loadu_ps(v[0]), _mm256_loadu_ps(v[1]),
				  _mm256_loadu_ps(v[2]), _mm256_loadu_ps(v[3]),
				  _mm256_loadu_ps(v[4])};
}

INLINE void store_wide(uint8_t *at, __m256i v, bool is_past_cache)
{
	if (is_past_cache)
		_mm256_stream_si256((__m256i *)at, v);
	else
		_mm256_storeu_si256((__m256i *)at, v);
}

INLINE void store_narrow(uint8_t *at, __m128i v, bool is_past_cache)
{
	if (is_past_cache)
		_mm_stream_si128((__m128i *)at, v);
	else
		_mm_storeu_si128((__m128i *)at, v);
}

/* form and dtype are constants wherever this is inlined. */
INLINE void store_values(__m128i bytes, const struct value_formula *f, const struct constants *k,
			 enum value_form form, enum dtype dtype, uint8_t *out, bool is_past_cache)
{
	const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
	__m256 x;

	if (form == FORM_FMA) {
		x = _mm256_fmadd_ps(v, k->slope, k->offset);
	} else {
		__m256 y;

		x = _mm256_mul_ps(v, _mm256_set1_ps(f->up));
		x = _mm256_fmadd_ps(_mm256_fnmadd_ps(x, _mm256_set1_ps(f->down), v),
				    _mm256_set1_ps(f->again), x);
		y = _mm256_sub_ps(x, k->mean);
		x = _mm256_mul_ps(y, k->up_std);
		x = _mm256_fmadd_ps(_mm256_fnmadd_ps(x, k->std, y), k->up_std, x);
	}
	if (dtype == DTYPE_float32) {
		store_wide(out, _mm256_castps_si256(x), is_past_cache);
	} else if (dtype == DTYPE_float16) {
		store_narrow(out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT), is_past_cache);
	} else {
		const __m256i bits = _mm256_castps_si256(x), one = _mm256_set1_epi32(1);
		const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
		const __m256i sum =
			_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
		const __m256i high = _mm256_srli_epi32(sum, 16);

		store_narrow(out,
			     _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)),
			     is_past_cache);
	}
}

/* Pixels x … x + 7 of the target. */
INLINE uint64_t load8(const uint8_t *plane, const struct row_target *to, uint32_t x)
{
	uint64_t v;

	memcpy(&v, plane + (to->is_flipped ? to->width - x - 8 : x), sizeof(v));
	return to->is_flipped ? __builtin_bswap64(v) : v;
}

INLINE void planes(const struct value_table *t, enum value_form form, enum dtype dtype,
		   struct row in, const struct row_target *to)
{
	const size_t n_value = dtype == DTYPE_float32 ? 4 : 2;
	const bool is_past_cache = is_whole_lines(to, n_value);

	for (unsigned c = 0; c < 3; c++) {
		const struct constants k = constants_of(&t->formula, c, 0);
		uint8_t *out = (uint8_t *)to->at + c * to->plane * n_value;

		for (uint32_t x = 0; x + 8 <= to->width; x += 8)
			store_values(
				_mm_cvtsi64_si128((long long)load8(in.at + c * in.stride, to, x)),
				&t->formula, &k, form, dtype, out + x * n_value, is_past_cache);
	}
}

/* Eight pixels' values in turn: bytes 0 … 15 and 16 … 23. */
INLINE void interleave(uint64_t r, uint64_t g, uint64_t b, __m128i ret[2])
{
	const __m128i rg = _mm_set_epi64x((long long)g, (long long)r),
		      blue = _mm_cvtsi64_si128((long long)b);
	const __m128i rg0 = _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5);
	const __m128i rg1 =
		_mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1);
	const __m128i b0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
	const __m128i b1 =
		_mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1);

	ret[0] = _mm_or_si128(_mm_shuffle_epi8(rg, rg0), _mm_shuffle_epi8(blue, b0));
	ret[1] = _mm_or_si128(_mm_shuffle_epi8(rg, rg1), _mm_shuffle_epi8(blue, b1));
}

INLINE void turns(const struct value_table *t, enum value_form form, enum dtype dtype,
		  struct row in, const struct row_target *to)
{
	const size_t n_value = dtype == DTYPE_float32 ? 4 : 2;
	const bool is_past_cache = is_whole_lines(to, n_value);
	struct constants k[3];

	for (unsigned i = 0; i < 3; i++)
		k[i] = constants_of(&t->formula, 8 * i, 1);
	for (uint32_t x = 0; x + 8 <= to->width; x += 8) {
		uint8_t *out = (uint8_t *)to->at + 3 * x * n_value;
		__m128i v[2];

		interleave(load8(in.at, to, x), load8(in.at + in.stride, to, x),
			   load8(in.at + 2 * in.stride, to, x), v);
		store_values(v[0], &t->formula, &k[0], form, dtype, out, is_past_cache);
		store_values(_mm_unpackhi_epi64(v[0], v[0]), &t->formula, &k[1], form, dtype,
			     out + 8 * n_value, is_past_cache);
		store_values(v[1], &t->formula, &k[2], form, dtype, out + 16 * n_value,
			     is_past_cache);
	}
}

static void planes8(struct row in, const struct row_target *to)
{
	for (unsigned c = 0; c < 3; c++) {
		uint8_t *out = (uint8_t *)to->at + c * to->plane;

		for (uint32_t x = 0; x + 8 <= to->width; x += 8) {
			const uint64_t v = load8(in.at + c * in.stride, to, x);

			memcpy(out + x, &v, sizeof(v));
		}
	}
}

static void turns8(struct row in, const struct row_target *to)
{
	for (uint32_t x = 0; x + 8 <= to->width; x += 8) {
		uint8_t *out = (uint8_t *)to->at + 3 * (size_t)x;
		__m128i v[2];

		interleave(load8(in.at, to, x), load8(in.at + in.stride, to, x),
			   load8(in.at + 2 * in.stride, to, x), v);
		_mm_storeu_si128((__m128i *)out, v[0]);
		_mm_storel_epi64((__m128i *)(out + 16), v[1]);
	}
}

/* The pixels from x on, one by one. */
static void look_up_rest(const struct value_table *t, struct row in, const struct row_target *to,
			 uint32_t x)
{
	const size_t step = to->plane ? 1 : 3, skipped = x * step * t->n_value;
	const struct row_target rest = {(uint8_t *)to->at + skipped, to->plane, to->width - x,
					to->is_flipped};

	if (!to->is_flipped)
		in.at += x;
	if (rest.width)
		kernels_c.convert(t, in, &rest);
}

INLINE void convert_as(const struct value_table *t, enum value_form form, enum dtype dtype,
		       struct row in, const struct row_target *to)
{
	if (to->plane)
		planes(t, form, dtype, in, to);
	else
		turns(t, form, dtype, in, to);
	look_up_rest(t, in, to, to->width / 8 * 8);
}

/* Bytes stay what they are. */
static void convert8(const struct value_table *t, struct row in, const struct row_target *to)
{
	if (to->plane)
		planes8(in, to);
	else
		turns8(in, to);
	look_up_rest(t, in, to, to->width / 8 * 8);
}

void avx2_convert(const struct value_table *t, struct row in, const struct row_target *to)
{
	const enum value_form form = t->formula.form;

	if (t->dtype == DTYPE_uint8)
		convert8(t, in, to);
	else if (form == FORM_FMA && t->dtype == DTYPE_float32)
		convert_as(t, FORM_FMA, DTYPE_float32, in, to);
	else if (form == FORM_FMA && t->dtype == DTYPE_float16)
		convert_as(t, FORM_FMA, DTYPE_float16, in, to);
	else if (form == FORM_FMA)
		convert_as(t, FORM_FMA, DTYPE_bfloat16, in, to);
	else if (form == FORM_DIVIDE && t->dtype == DTYPE_float32)
		convert_as(t, FORM_DIVIDE, DTYPE_float32, in, to);
	else if (form == FORM_DIVIDE && t->dtype == DTYPE_float16)
		convert_as(t, FORM_DIVIDE, DTYPE_float16, in, to);
	else if (form == FORM_DIVIDE)
		convert_as(t, FORM_DIVIDE, DTYPE_bfloat16, in, to);
	else
		kernels_c.convert(t, in, to);
}

void avx2_finish(void)
{
	_mm_sfence();
}
