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
 *
 * Convert: by a formula where table.h has one for the field, else as the plain C does.
 */
#include "transform/kernels.h"

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

static void split(const uint8_t *rgb, size_t n, struct row_room out)
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

/* Past the cache: a slot is read by another process, later, and is larger than the cache. */
INLINE void store_wide(uint8_t *at, __m256i v)
{
	if ((uintptr_t)at % 32 == 0)
		_mm256_stream_si256((__m256i *)at, v);
	else
		_mm256_storeu_si256((__m256i *)at, v);
}

INLINE void store_narrow(uint8_t *at, __m128i v)
{
	if ((uintptr_t)at % 16 == 0)
		_mm_stream_si128((__m128i *)at, v);
	else
		_mm_storeu_si128((__m128i *)at, v);
}

/* form and dtype are constants wherever this is inlined. */
INLINE void store_values(__m128i bytes, const struct value_formula *f, const struct constants *k,
			 enum value_form form, enum dtype dtype, uint8_t *out)
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
		store_wide(out, _mm256_castps_si256(x));
	} else if (dtype == DTYPE_float16) {
		store_narrow(out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
	} else {
		const __m256i bits = _mm256_castps_si256(x), one = _mm256_set1_epi32(1);
		const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
		const __m256i sum =
			_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
		const __m256i high = _mm256_srli_epi32(sum, 16);

		store_narrow(out, _mm_packus_epi32(_mm256_castsi256_si128(high),
						   _mm256_extracti128_si256(high, 1)));
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

	for (unsigned c = 0; c < 3; c++) {
		const struct constants k = constants_of(&t->formula, c, 0);
		uint8_t *out = (uint8_t *)to->at + c * to->plane * n_value;

		for (uint32_t x = 0; x + 8 <= to->width; x += 8)
			store_values(
				_mm_cvtsi64_si128((long long)load8(in.at + c * in.stride, to, x)),
				&t->formula, &k, form, dtype, out + x * n_value);
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
	struct constants k[3];

	for (unsigned i = 0; i < 3; i++)
		k[i] = constants_of(&t->formula, 8 * i, 1);
	for (uint32_t x = 0; x + 8 <= to->width; x += 8) {
		uint8_t *out = (uint8_t *)to->at + 3 * x * n_value;
		__m128i v[2];

		interleave(load8(in.at, to, x), load8(in.at + in.stride, to, x),
			   load8(in.at + 2 * in.stride, to, x), v);
		store_values(v[0], &t->formula, &k[0], form, dtype, out);
		store_values(_mm_unpackhi_epi64(v[0], v[0]), &t->formula, &k[1], form, dtype,
			     out + 8 * n_value);
		store_values(v[1], &t->formula, &k[2], form, dtype, out + 16 * n_value);
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

static void convert(const struct value_table *t, struct row in, const struct row_target *to)
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

static void finish(void)
{
	_mm_sfence();
}

const struct kernels kernels_avx2 = {
	.name = "avx2",
	.split = split,
	.horizontal_bytes = horizontal_bytes,
	.prepare_horizontal = prepare_horizontal,
	.horizontal = horizontal,
	.vertical_bytes = vertical_bytes,
	.prepare_vertical = prepare_vertical,
	.vertical = vertical,
	.pick = pick,
	.convert = convert,
	.finish = finish,
};
