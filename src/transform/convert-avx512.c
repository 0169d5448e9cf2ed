/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX-512 with VBMI: interleaved pixels to planes, planes to the target. Values are looked up: tables of
 * 256 bytes are held in registers, one for each byte of a value, and a permutation picks from half of one.
 */
#include "transform/kernels-x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WINDOW = 64 }; /* bytes of a vector */

/* 0, 1, … as bytes. */
INLINE __m512i count_up(void)
{
	const __m512i dwords = _mm512_setr_epi32(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c,
						 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c,
						 0x23222120, 0x27262524, 0x2b2a2928, 0x2f2e2d2c,
						 0x33323130, 0x37363534, 0x3b3a3938, 0x3f3e3d3c);

	return dwords;
}

/* Every third byte of 192, from the first-th on: v is which third of them. */
INLINE __m512i every_third(__m512i a, __m512i b, __m512i c, unsigned first)
{
	/* Byte i of the result is byte 3i + first of the three; as 8-bit indexes these wrap at 256,
	 * never here. */
	const __m512i i = count_up();
	const __m512i at = _mm512_add_epi8(_mm512_add_epi8(i, _mm512_add_epi8(i, i)),
					   _mm512_set1_epi8((char)first));
	const __mmask64 is_in_c = _mm512_movepi8_mask(at); /* 128 and more */

	return _mm512_mask_permutexvar_epi8(_mm512_permutex2var_epi8(a, at, b), is_in_c, at, c);
}

void avx512_split(const uint8_t *rgb, size_t n, struct row_room out)
{
	for (size_t x = 0; x < n; x += WINDOW, rgb += 3 * WINDOW) {
		const size_t n_left = 3 * (n - x);
		__m512i in[3];

		for (size_t k = 0; k < 3; k++) {
			const size_t n_here = n_left > k * WINDOW ? n_left - k * WINDOW : 0;
			const __mmask64 mask = n_here >= WINDOW ? ~0ull : (1ull << n_here) - 1;

			in[k] = _mm512_maskz_loadu_epi8(mask, rgb + k * WINDOW);
		}
		for (unsigned c = 0; c < 3; c++)
			_mm512_storeu_si512(out.at + c * out.stride + x,
					    every_third(in[0], in[1], in[2], c));
	}
}

/* 64 values looked up in a table of 256 bytes. */
INLINE __m512i look_up(const __m512i table[4], __m512i values)
{
	const __m512i low = _mm512_permutex2var_epi8(table[0], values, table[1]);
	const __m512i high = _mm512_permutex2var_epi8(table[2], values, table[3]);

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(values), low, high);
}

/* The n <= 64 pixels from x on, in the order that indexes say (of a whole vector), mirrored or not.
 */
INLINE __m512i load_pixels(const uint8_t *plane, const struct row_target *to, uint32_t x,
			   uint32_t n, __m512i indexes)
{
	if (to->is_flipped) {
		plane += to->width - x - n;
		indexes = _mm512_sub_epi8(_mm512_set1_epi8((char)(n - 1)), indexes);
	} else {
		plane += x;
	}
	return _mm512_permutexvar_epi8(indexes, _mm512_loadu_si512(plane));
}

/* The order in which pixels must come so that unpacking the bytes of their values puts them in
 * order. */
INLINE __m512i order_for(unsigned n_value)
{
	const __m512i i = count_up();
	const __m512i lane = _mm512_and_si512(_mm512_srli_epi16(i, 4), _mm512_set1_epi8(0x03));
	const __m512i low = _mm512_and_si512(i, _mm512_set1_epi8(n_value == 2 ? 7 : 3));

	if (n_value == 1)
		return i;
	if (n_value == 2) /* byte 16L + j is pixel 8L + j, byte 16L + 8 + j pixel 32 + 8L + j */
		return _mm512_or_si512(
			_mm512_or_si512(_mm512_slli_epi16(lane, 3), low),
			_mm512_and_si512(_mm512_slli_epi16(i, 2), _mm512_set1_epi8(0x20)));
	/* byte 16L + 4k + j is pixel 16k + 4L + j */
	return _mm512_or_si512(_mm512_or_si512(_mm512_slli_epi16(lane, 2), low),
			       _mm512_and_si512(_mm512_slli_epi16(i, 2), _mm512_set1_epi8(0x30)));
}

/* Values of 64 pixels of one channel, n_value vectors. n_value is a constant where this is inlined.
 */
INLINE void values_of(const uint8_t table[4][256], unsigned n_value, __m512i pixels, __m512i ret[4])
{
	__m512i bytes[4];

	for (unsigned k = 0; k < n_value; k++) {
		__m512i entries[4];

		for (unsigned j = 0; j < 4; j++)
			entries[j] = _mm512_loadu_si512(table[k] + WINDOW * j);
		bytes[k] = look_up(entries, pixels);
	}
	if (n_value == 1) {
		ret[0] = bytes[0];
	} else if (n_value == 2) {
		ret[0] = _mm512_unpacklo_epi8(bytes[0], bytes[1]);
		ret[1] = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
	} else {
		const __m512i a = _mm512_unpacklo_epi8(bytes[0], bytes[1]),
			      b = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
		const __m512i c = _mm512_unpacklo_epi8(bytes[2], bytes[3]),
			      d = _mm512_unpackhi_epi8(bytes[2], bytes[3]);

		ret[0] = _mm512_unpacklo_epi16(a, c);
		ret[1] = _mm512_unpackhi_epi16(a, c);
		ret[2] = _mm512_unpacklo_epi16(b, d);
		ret[3] = _mm512_unpackhi_epi16(b, d);
	}
}

INLINE void store_bytes(uint8_t *at, size_t n_bytes, __m512i v, bool is_past_cache)
{
	if (is_past_cache)
		_mm512_stream_si512((void *)at, v);
	else if (n_bytes >= WINDOW)
		_mm512_storeu_si512(at, v);
	else
		_mm512_mask_storeu_epi8(at, (1ull << n_bytes) - 1, v);
}

INLINE void convert_planes(const struct value_table *table, unsigned n_value, struct row in,
			   const struct row_target *to)
{
	const bool is_past_cache = is_whole_lines(to, n_value);
	const __m512i order = order_for(n_value);

	for (unsigned c = 0; c < 3; c++) {
		uint8_t *out = (uint8_t *)to->at + c * to->plane * n_value;

		for (uint32_t x = 0; x < to->width; x += WINDOW) {
			const uint32_t n = to->width - x < WINDOW ? to->width - x : WINDOW;
			__m512i values[4];

			values_of(table->bytes[c], n_value,
				  load_pixels(in.at + c * in.stride, to, x, n, order), values);
			for (unsigned v = 0; v < n_value && v * WINDOW < n * n_value; v++)
				store_bytes(out + (size_t)x * n_value + v * WINDOW,
					    n * n_value - v * WINDOW, values[v], is_past_cache);
		}
	}
}

/* How vector k of three takes its elements from three channels' vectors in turn. */
struct turn {
	__m512i at; /* of the first two, side by side, or of the third */
	__mmask64 is_third;
};

/* Element e is number g = n k + e of all: channel g % 3 of pixel g / 3; n elements a vector. */
INLINE struct turn turn_of(unsigned n_value, unsigned k)
{
	const unsigned n = WINDOW / n_value;
	const __m512i bytes = count_up(), three = _mm512_set1_epi16(3);
	__m512i at[2];
	__mmask32 is_third[2];

	for (unsigned half = 0; half < 2; half++) {
		const __m512i i = _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(bytes, 1)
							    : _mm512_castsi512_si256(bytes));
		const __m512i g = _mm512_add_epi16(i, _mm512_set1_epi16((short)(n * k)));
		const __m512i pixel = _mm512_mulhi_epu16(g, _mm512_set1_epi16(21846)); /* g / 3 */
		const __m512i channel = _mm512_sub_epi16(g, _mm512_mullo_epi16(pixel, three));

		is_third[half] = _mm512_cmpeq_epi16_mask(channel, _mm512_set1_epi16(2));
		at[half] = _mm512_mask_add_epi16(
			pixel, _mm512_cmpeq_epi16_mask(channel, _mm512_set1_epi16(1)), pixel,
			_mm512_set1_epi16((short)n));
	}
	if (n_value == 4)
		return (struct turn){_mm512_cvtepu16_epi32(_mm512_castsi512_si256(at[0])),
				     is_third[0]};
	if (n_value == 2)
		return (struct turn){at[0], is_third[0]};
	return (struct turn){_mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(at[0])),
						_mm512_cvtepi16_epi8(at[1]), 1),
			     is_third[0] | (__mmask64)is_third[1] << 32};
}

INLINE __m512i take_turns(const struct turn *t, unsigned n_value, __m512i a, __m512i b, __m512i c)
{
	if (n_value == 4)
		return _mm512_mask_permutexvar_epi32(_mm512_permutex2var_epi32(a, t->at, b),
						     (__mmask16)t->is_third, t->at, c);
	if (n_value == 2)
		return _mm512_mask_permutexvar_epi16(_mm512_permutex2var_epi16(a, t->at, b),
						     (__mmask32)t->is_third, t->at, c);
	return _mm512_mask_permutexvar_epi8(_mm512_permutex2var_epi8(a, t->at, b), t->is_third,
					    t->at, c);
}

INLINE void convert_turns(const struct value_table *table, unsigned n_value, struct row in,
			  const struct row_target *to)
{
	const bool is_past_cache = is_whole_lines(to, n_value);
	const __m512i order = order_for(n_value);
	struct turn turns[3];

	for (unsigned k = 0; k < 3; k++)
		turns[k] = turn_of(n_value, k);
	for (uint32_t x = 0; x < to->width; x += WINDOW) {
		const uint32_t n = to->width - x < WINDOW ? to->width - x : WINDOW;
		const size_t n_bytes = (size_t)3 * n * n_value;
		uint8_t *out = (uint8_t *)to->at + (size_t)3 * x * n_value;
		__m512i values[3][4];

		for (unsigned c = 0; c < 3; c++)
			values_of(table->bytes[c], n_value,
				  load_pixels(in.at + c * in.stride, to, x, n, order), values[c]);
		for (unsigned v = 0; v < 3 * n_value && v * WINDOW < n_bytes; v++) {
			const unsigned from = v / 3;

			store_bytes(out + v * WINDOW, n_bytes - v * WINDOW,
				    take_turns(&turns[v % 3], n_value, values[0][from],
					       values[1][from], values[2][from]),
				    is_past_cache);
		}
	}
}

void avx512_convert(const struct value_table *table, struct row in, const struct row_target *to)
{
	if (to->plane && table->n_value == 1)
		convert_planes(table, 1, in, to);
	else if (to->plane && table->n_value == 2)
		convert_planes(table, 2, in, to);
	else if (to->plane)
		convert_planes(table, 4, in, to);
	else if (table->n_value == 1)
		convert_turns(table, 1, in, to);
	else if (table->n_value == 2)
		convert_turns(table, 2, in, to);
	else
		convert_turns(table, 4, in, to);
}

void avx512_finish(void)
{
	_mm_sfence();
}
