/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Sub, Average and Paeth need the pixel to the left, so a vector holds one pixel, its channels side by
 * side; Up is left to the compiler. */
#include "decode/png-filter.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { FILTER_NONE, FILTER_SUB, FILTER_UP, FILTER_AVERAGE, FILTER_PAETH };

static uint8_t paeth(int left, int up, int corner)
{
	const int by_left = abs(up - corner), by_up = abs(left - corner),
		  by_corner = abs(left + up - 2 * corner);

	if (by_left <= by_up && by_left <= by_corner)
		return (uint8_t)left;
	return (uint8_t)(by_up <= by_corner ? up : corner);
}

static void add_up(uint8_t *row, const uint8_t *above, size_t n)
{
	for (size_t i = 0; i < n; i++)
		row[i] = (uint8_t)(row[i] + above[i]);
}

bool png_unfilter_plain(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter)
{
	switch (filter) {
	case FILTER_NONE:
		return true;
	case FILTER_SUB:
		for (size_t i = n_pixel; i < n; i++)
			row[i] = (uint8_t)(row[i] + row[i - n_pixel]);
		return true;
	case FILTER_UP:
		add_up(row, above, n);
		return true;
	case FILTER_AVERAGE:
		for (size_t i = 0; i < n; i++)
			row[i] = (uint8_t)(row[i] + ((i < n_pixel ? 0 : row[i - n_pixel]) + above[i]) / 2);
		return true;
	case FILTER_PAETH:
		for (size_t i = 0; i < n_pixel; i++)
			row[i] = (uint8_t)(row[i] + above[i]);
		for (size_t i = n_pixel; i < n; i++)
			row[i] = (uint8_t)(row[i] + paeth(row[i - n_pixel], above[i], above[i - n_pixel]));
		return true;
	default:
		return false;
	}
}

#ifdef __SSE2__
static inline __m128i load(const uint8_t *at)
{
	int v;

	memcpy(&v, at, sizeof(v));
	return _mm_cvtsi32_si128(v);
}

static inline void store(uint8_t *at, __m128i v, unsigned n_pixel)
{
	const int pixel = _mm_cvtsi128_si32(v);

	memcpy(at, &pixel, n_pixel);
}

static inline void undo_sub(uint8_t *row, size_t n, unsigned n_pixel)
{
	__m128i left = _mm_setzero_si128();

	for (size_t i = 0; i < n; i += n_pixel) {
		left = _mm_add_epi8(left, load(row + i));
		store(row + i, left, n_pixel);
	}
}

static inline void undo_average(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel)
{
	const __m128i ones = _mm_set1_epi8(1);
	__m128i left = _mm_setzero_si128();

	for (size_t i = 0; i < n; i += n_pixel) {
		const __m128i up = load(above + i);
		const __m128i odd = _mm_and_si128(_mm_xor_si128(left, up), ones); /* what rounds up */

		left = _mm_add_epi8(load(row + i), _mm_sub_epi8(_mm_avg_epu8(left, up), odd));
		store(row + i, left, n_pixel);
	}
}

static inline __m128i magnitude(__m128i v)
{
	return _mm_max_epi16(v, _mm_sub_epi16(_mm_setzero_si128(), v));
}

static inline __m128i choose(__m128i where, __m128i a, __m128i b)
{
	return _mm_or_si128(_mm_and_si128(where, a), _mm_andnot_si128(where, b));
}

/* In 16 bits a channel. */
static inline void undo_paeth(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel)
{
	const __m128i zero = _mm_setzero_si128(), low = _mm_set1_epi16(255);
	__m128i left = zero, corner = zero;

	for (size_t i = 0; i < n; i += n_pixel) {
		const __m128i up = _mm_unpacklo_epi8(load(above + i), zero);
		const __m128i to_up = _mm_sub_epi16(up, corner), to_left = _mm_sub_epi16(left, corner);
		const __m128i by_left = magnitude(to_up), by_up = magnitude(to_left);
		const __m128i by_corner = magnitude(_mm_add_epi16(to_up, to_left));
		const __m128i least = _mm_min_epi16(by_corner, _mm_min_epi16(by_left, by_up));
		const __m128i best = choose(_mm_cmpeq_epi16(least, by_left), left,
					    choose(_mm_cmpeq_epi16(least, by_up), up, corner));

		corner = up;
		left = _mm_and_si128(_mm_add_epi16(best, _mm_unpacklo_epi8(load(row + i), zero)), low);
		store(row + i, _mm_packus_epi16(left, left), n_pixel);
	}
}

static inline bool undo(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter)
{
	switch (filter) {
	case FILTER_SUB:
		undo_sub(row, n, n_pixel);
		return true;
	case FILTER_AVERAGE:
		undo_average(row, above, n, n_pixel);
		return true;
	case FILTER_PAETH:
		undo_paeth(row, above, n, n_pixel);
		return true;
	default:
		return png_unfilter_plain(row, above, n, n_pixel, filter);
	}
}

bool png_unfilter(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter)
{
	if (n_pixel == 3)
		return undo(row, above, n, 3, filter);
	if (n_pixel == 4)
		return undo(row, above, n, 4, filter);
	return png_unfilter_plain(row, above, n, n_pixel, filter);
}
#else
bool png_unfilter(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter)
{
	return png_unfilter_plain(row, above, n, n_pixel, filter);
}
#endif
