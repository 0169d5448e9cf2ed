/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX2 with FMA and F16C (Haswell, Zen 1 and later).
 *
 * Weights: a weight of 22 fraction bits is hi * 2^11 + lo, both of 16 bits. Each 32-bit lane holds
 * two inputs widened to 16 bits; one multiply-add with two hi, one with two lo, and (sum of hi <<
 * 11) + sum of lo is the integer that Pillow sums up.
 *
 * Horizontal: each half of a vector holds 4, 2 or 1 outputs with two, four or eight inputs each a
 * step, the more outputs the better; what they mix at a step must lie within 16 bytes, so that one
 * load and one byte shuffle bring it into place. The partial sums of an output are added up at the
 * end.
 */
#include "transform/kernels-x86.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	WIDE = 32,   /* bytes of a vector */
	BLOCK = 32,  /* outputs packed to one vector of bytes */
	WINDOW = 16, /* bytes a shuffle can pick from */
	HALF_LANES = 4,
	LOW_BITS = 11,
	START = 1 << (TAPS_BITS - 1),
	N_STEP = 3, /* vectors a step: indexes, hi, lo */
};

/* What weights of the horizontal pass begin with; behind it places, two a vector, then vectors. */
struct form {
	uint32_t n_blocks;
	uint32_t n_each;  /* outputs half a vector: 4, 2 or 1 */
	uint32_t n_steps; /* of 8 / n_each taps */
	uint32_t advance; /* inputs from step to step; 0: one load serves all steps */
	uint32_t pad[12];
};

static uint32_t *places_of(const struct form *f)
{
	return (uint32_t *)(f + 1);
}

/* Vectors of a block, at a step. */
static uint32_t block_vectors(uint32_t n_each)
{
	return BLOCK / 2 / n_each;
}

static uint8_t *vectors_of(const struct form *f)
{
	return (uint8_t *)(places_of(f) + (size_t)f->n_blocks * 2 * block_vectors(f->n_each));
}

/* Do n outputs at a time stay within the window, with n_taps taps each? */
static bool is_within(const struct taps *t, uint32_t n, uint32_t n_taps)
{
	for (uint32_t i = 0; i < t->n_out; i += n) {
		const uint32_t last = i + n < t->n_out ? i + n - 1 : t->n_out - 1;

		if (t->at[last] - t->at[i] + n_taps > WINDOW)
			return false;
	}
	return true;
}

static struct form form_of(const struct taps *t)
{
	const uint32_t n_each = is_within(t, 4, 2)   ? 4
				: is_within(t, 2, 4) ? 2
						     : 1,
		       n_taps = 2 * HALF_LANES / n_each;
	const uint32_t n_steps = (t->n_taps + n_taps - 1) / n_taps;

	return (struct form){.n_blocks = (t->n_out + BLOCK - 1) / BLOCK,
			     .n_each = n_each,
			     .n_steps = n_steps,
			     .advance = is_within(t, n_each, n_steps * n_taps) ? 0 : n_taps};
}

static size_t horizontal_bytes(const struct taps *t)
{
	const struct form f = form_of(t);

	return (size_t)(vectors_of(&f) - (uint8_t *)&f) +
	       (size_t)f.n_blocks * block_vectors(f.n_each) * f.n_steps * N_STEP * WIDE;
}

INLINE void put_weight(int32_t w, int16_t *hi, int16_t *lo)
{
	*hi = (int16_t)(w >> LOW_BITS);
	*lo = (int16_t)(w & ((1 << LOW_BITS) - 1));
}

/* One output's part of its vector, at every step. Outputs 16 h + 4 v … + 3 of a block lie in halves
 * h of the vectors that make sum v, so that adding up and packing put them in order. */
static void prepare_output(const struct taps *t, const struct form *f, uint32_t i)
{
	const uint32_t n_taps = 2 * HALF_LANES / f->n_each, half = i % BLOCK / 16,
		       part = i % f->n_each;
	const uint32_t vector = i / BLOCK * block_vectors(f->n_each) + i % 16 / f->n_each;
	uint32_t *place = places_of(f) + 2 * vector + half;
	uint8_t *v = vectors_of(f) + (size_t)vector * f->n_steps * N_STEP * WIDE + half * WINDOW +
		     part * 2 * n_taps;
	const bool is_there = i < t->n_out;

	if (part == 0)
		*place = t->at[is_there ? i : t->n_out - 1];
	for (uint32_t step = 0; step < f->n_steps; step++, v += N_STEP * WIDE) {
		for (uint32_t k = 0; k < n_taps; k++) {
			const uint32_t at = step * n_taps + k;
			const int32_t w = is_there && at < t->n_taps
						  ? t->weights[(size_t)i * t->n_taps + at]
						  : 0;
			const uint32_t from =
				(is_there ? t->at[i] - *place : 0) + (f->advance ? k : at);
			const uint8_t index[2] = {(uint8_t)from, 0x80};

			memcpy(v + 2 * k, index, sizeof(index));
			put_weight(w, (int16_t *)(v + WIDE) + k, (int16_t *)(v + 2 * WIDE) + k);
		}
	}
}

static void prepare_horizontal(const struct taps *t, void *weights)
{
	struct form *f = weights;

	*f = form_of(t);
	for (uint32_t i = 0; i < f->n_blocks * BLOCK; i++)
		prepare_output(t, f, i);
}

/* The two sums to one. */
INLINE __m256i join(__m256i hi, __m256i lo)
{
	return _mm256_add_epi32(_mm256_slli_epi32(hi, LOW_BITS), lo);
}

/* Four vectors of sums to held bytes, half by half. */
INLINE __m256i settle(const __m256i s[4])
{
	const __m256i low = _mm256_packs_epi32(_mm256_srai_epi32(s[0], TAPS_BITS),
					       _mm256_srai_epi32(s[1], TAPS_BITS));
	const __m256i high = _mm256_packs_epi32(_mm256_srai_epi32(s[2], TAPS_BITS),
						_mm256_srai_epi32(s[3], TAPS_BITS));

	return _mm256_packus_epi16(low, high);
}

INLINE void store_some(uint8_t *at, size_t n, __m256i v)
{
	if (n > 16)
		_mm256_storeu_si256((__m256i *)at, v);
	else
		_mm_storeu_si128((__m128i *)at, _mm256_castsi256_si128(v));
}

INLINE __m256i load_halves(const uint8_t *in, const uint32_t *places)
{
	return _mm256_loadu2_m128i((const __m128i *)(in + places[1]),
				   (const __m128i *)(in + places[0]));
}

/* The sums of one vector; lanes begin with start. */
INLINE __m256i mix(const uint32_t *places, const __m256i *w, uint32_t n_steps, uint32_t advance,
		   const uint8_t *in, __m256i start)
{
	__m256i hi = _mm256_setzero_si256(), lo = start, bytes = load_halves(in, places);

	for (uint32_t k = 0; k < n_steps; k++, w += N_STEP) {
		__m256i taps;

		if (advance && k)
			bytes = load_halves(in + k * advance, places);
		taps = _mm256_shuffle_epi8(bytes, w[0]);
		hi = _mm256_add_epi32(hi, _mm256_madd_epi16(taps, w[1]));
		lo = _mm256_add_epi32(lo, _mm256_madd_epi16(taps, w[2]));
	}
	return join(hi, lo);
}

/* Four outputs in each half. n_each is a constant where this is inlined. */
INLINE __m256i mix_outputs(uint32_t n_each, const uint32_t *places, const __m256i *w,
			   uint32_t n_steps, uint32_t advance, const uint8_t *in)
{
	const uint32_t n_vectors = 4 / n_each;
	const __m256i start = n_each == 4   ? _mm256_set1_epi32(START)
			      : n_each == 2 ? _mm256_set1_epi64x(START)
					    : _mm256_setr_epi32(START, 0, 0, 0, START, 0, 0, 0);
	__m256i s[4];

	for (uint32_t v = 0; v < n_vectors; v++)
		s[v] = mix(places + 2 * v, w + v * n_steps * N_STEP, n_steps, advance, in, start);
	if (n_each == 4)
		return s[0];
	if (n_each == 2)
		return _mm256_hadd_epi32(s[0], s[1]);
	return _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
}

/* A row; all but out are constants where this is inlined for small scales. */
INLINE void mix_row(const struct form *f, uint32_t n_each, uint32_t n_steps, uint32_t advance,
		    uint32_t n_out, struct row in, struct row_room out)
{
	const uint32_t n_vectors = 4 / n_each;
	const __m256i *w = (const __m256i *)vectors_of(f);
	const uint32_t *places = places_of(f);

	for (uint32_t x = 0; x < n_out; x += BLOCK) {
		for (unsigned c = 0; c < 3; c++) {
			__m256i s[4];

			for (uint32_t v = 0; v < 4; v++)
				s[v] = mix_outputs(n_each, places + 2 * v * n_vectors,
						   w + v * n_vectors * n_steps * N_STEP, n_steps,
						   advance, in.at + c * in.stride);
			store_some(out.at + c * out.stride + x, n_out - x, settle(s));
		}
		w += 4 * n_vectors * n_steps * N_STEP;
		places += 2 * 4 * n_vectors;
	}
}

static void horizontal(const struct taps *t, const void *weights, struct row in,
		       struct row_room out)
{
	const struct form *f = weights;

	if (f->n_each == 4 && !f->advance && f->n_steps == 1)
		mix_row(f, 4, 1, 0, t->n_out, in, out);
	else if (f->n_each == 4 && !f->advance && f->n_steps == 2)
		mix_row(f, 4, 2, 0, t->n_out, in, out);
	else if (f->n_each == 4 && !f->advance && f->n_steps == 3)
		mix_row(f, 4, 3, 0, t->n_out, in, out);
	else if (f->n_each == 4)
		mix_row(f, 4, f->n_steps, f->advance, t->n_out, in, out);
	else if (f->n_each == 2)
		mix_row(f, 2, f->n_steps, f->advance, t->n_out, in, out);
	else
		mix_row(f, 1, f->n_steps, f->advance, t->n_out, in, out);
}

static size_t vertical_bytes(const struct taps *t)
{
	return (size_t)t->n_out * ((t->n_taps + 1) / 2) * 2 * sizeof(uint32_t);
}

/* Per output and two taps: two hi, two lo. */
static void prepare_vertical(const struct taps *t, void *weights)
{
	int16_t *to = weights;

	for (uint32_t i = 0; i < t->n_out; i++) {
		const int32_t *w = t->weights + (size_t)i * t->n_taps;

		for (uint32_t k = 0; k < t->n_taps; k += 2, to += 4) {
			put_weight(w[k], &to[0], &to[2]);
			put_weight(k + 1 < t->n_taps ? w[k + 1] : 0, &to[1], &to[3]);
		}
	}
}

/* n_taps is a constant wherever this is inlined, but for the last. */
INLINE void mix_rows(const int32_t *w, uint32_t n_taps, const uint8_t *const *rows, size_t n,
		     uint8_t *out)
{
	const __m256i zero = _mm256_setzero_si256();

	for (size_t x = 0; x < n; x += WIDE) {
		__m256i hi[4], lo[4], v[4];

		for (unsigned j = 0; j < 4; j++) {
			hi[j] = zero;
			lo[j] = _mm256_set1_epi32(START);
		}
		for (uint32_t k = 0; k < n_taps; k += 2) {
			const uint8_t *second =
				rows[k + 1 < n_taps ? k + 1 : k]; /* any: its weight is 0 */
			const __m256i a = _mm256_loadu_si256((const __m256i *)(rows[k] + x));
			const __m256i b = _mm256_loadu_si256((const __m256i *)(second + x));
			const __m256i low = _mm256_unpacklo_epi8(a, b),
				      high = _mm256_unpackhi_epi8(a, b);
			const __m256i taps[4] = {
				_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
				_mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};

			for (unsigned j = 0; j < 4; j++) {
				hi[j] = _mm256_add_epi32(
					hi[j], _mm256_madd_epi16(taps[j], _mm256_set1_epi32(w[k])));
				lo[j] = _mm256_add_epi32(
					lo[j],
					_mm256_madd_epi16(taps[j], _mm256_set1_epi32(w[k + 1])));
			}
		}
		for (unsigned j = 0; j < 4; j++)
			v[j] = join(hi[j], lo[j]);
		_mm256_storeu_si256((__m256i *)(out + x), settle(v));
	}
}

static void vertical(const struct taps *t, const void *weights, uint32_t i,
		     const uint8_t *const *rows, size_t n, uint8_t *out)
{
	const int32_t *w = (const int32_t *)weights + (size_t)i * ((t->n_taps + 1) / 2) * 2;

	if (t->n_taps <= 2)
		mix_rows(w, t->n_taps, rows, n, out);
	else if (t->n_taps == 3)
		mix_rows(w, 3, rows, n, out);
	else if (t->n_taps == 4)
		mix_rows(w, 4, rows, n, out);
	else
		mix_rows(w, t->n_taps, rows, n, out);
}

/* Eight at a time where they lie within a window, one by one where not. */
static void pick(const struct taps *t, struct row in, struct row_room out)
{
	const __m256i low = _mm256_set1_epi64x(0x0c080400), zero = _mm256_setzero_si256();

	for (uint32_t x = 0; x < t->n_out; x += 8) {
		const uint32_t n = t->n_out - x < 8 ? t->n_out - x : 8, first = t->at[x];
		const bool is_near = n == 8 && t->at[x + 7] - first < WINDOW;
		__m256i at = zero;
		__m128i from;

		if (is_near)
			at = _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(t->at + x)),
					      _mm256_set1_epi32((int)first));
		at = _mm256_shuffle_epi8(at, low); /* four indexes a half */
		from = _mm_unpacklo_epi32(_mm256_castsi256_si128(at),
					  _mm256_extracti128_si256(at, 1));
		for (unsigned c = 0; c < 3; c++) {
			const uint8_t *plane = in.at + c * in.stride;
			uint8_t *to = out.at + c * out.stride + x;

			if (is_near)
				_mm_storel_epi64(
					(__m128i *)to,
					_mm_shuffle_epi8(
						_mm_loadu_si128((const __m128i *)(plane + first)),
						from));
			for (uint32_t i = 0; i < n && !is_near; i++)
				to[i] = plane[t->at[x + i]];
		}
	}
}

/* Four rounds of interleaving row i with row i + 8, each of which moves one bit of the place from row
 * to column. */
static void transpose(const uint8_t *in, size_t in_stride, uint8_t *out, size_t out_stride)
{
	__m128i rows[KERNELS_BLOCK], next[KERNELS_BLOCK];

	for (unsigned y = 0; y < KERNELS_BLOCK; y++)
		rows[y] = _mm_loadu_si128((const __m128i *)(in + y * in_stride));
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned y = 0; y < KERNELS_BLOCK / 2; y++) {
			next[2 * y] = _mm_unpacklo_epi8(rows[y], rows[y + KERNELS_BLOCK / 2]);
			next[2 * y + 1] = _mm_unpackhi_epi8(rows[y], rows[y + KERNELS_BLOCK / 2]);
		}
		memcpy(rows, next, sizeof(rows));
	}
	for (unsigned y = 0; y < KERNELS_BLOCK; y++)
		_mm_storeu_si128((__m128i *)(out + y * out_stride), rows[y]);
}

const struct kernels kernels_avx2 = {
	.name = "avx2",
	.split = avx2_split,
	.horizontal_bytes = horizontal_bytes,
	.prepare_horizontal = prepare_horizontal,
	.horizontal = horizontal,
	.vertical_bytes = vertical_bytes,
	.prepare_vertical = prepare_vertical,
	.vertical = vertical,
	.pick = pick,
	.transpose = transpose,
	.convert = avx2_convert,
	.finish = avx2_finish,
};
