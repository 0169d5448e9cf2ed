/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX2 with FMA and F16C (Haswell, Zen 1 and later).
 *
 * Weights: a weight of 22 fraction bits is hi * 2^11 + lo, both of 16 bits. Each 32-bit lane holds two
 * inputs widened to 16 bits; one multiply-add with two hi, one with two lo, and (sum of hi << 11) + sum of
 * lo is the integer that Pillow sums up.
 *
 * Horizontal: eight outputs a vector, four in each half. Near: what four neighbours mix lies within 16
 * bytes, so one load a half and a byte shuffle for every two taps bring them into place. Far (scales past
 * about 4): sixteen inputs of one output at a time, and the partial sums of eight outputs added up at the end.
 *
 * Convert: by a formula where table.h has one for the field, else as the plain C.
 */
#include "transform/kernels.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	WIDE = 32,	/* bytes of a vector */
	BLOCK = 32,	/* outputs of four vectors, packed to one of bytes */
	WINDOW = 16,	/* bytes a shuffle can pick from */
	LOW_BITS = 11,
	HALF = 1 << (TAPS_BITS - 1),
	N_NEAR = 3,	/* near: vectors per eight outputs and two taps: indexes, hi, lo */
	N_FAR = 2,	/* far: vectors per output and sixteen taps: hi, lo */
	PAIRS_MAX = WINDOW / 2,
};

/* What weights of the horizontal pass begin with; behind it places, then vectors. */
struct form {
	uint32_t n_blocks;
	uint32_t n_steps; /* near: of two taps; far: of sixteen */
	uint32_t is_near;
	uint32_t pad[13];
};

static const uint32_t *places_of(const struct form *f)
{
	return (const uint32_t *)(f + 1);
}

static const __m256i *vectors_of(const struct form *f)
{
	return (const __m256i *)(places_of(f) + (size_t)f->n_blocks * BLOCK);
}

static struct form form_of(const struct taps *t)
{
	struct form f = {.n_blocks = (t->n_out + BLOCK - 1) / BLOCK, .n_steps = (t->n_taps + 1) / 2, .is_near = 1};

	for (uint32_t i = 0; i < t->n_out; i += 4) {
		const uint32_t last = i + 4 < t->n_out ? i + 3 : t->n_out - 1;

		if (t->at[last] - t->at[i] + t->n_taps > WINDOW)
			f.is_near = 0;
	}
	if (!f.is_near)
		f.n_steps = (t->n_taps + 15) / 16;
	return f;
}

static size_t horizontal_bytes(const struct taps *t)
{
	const struct form f = form_of(t);
	const size_t n_vectors = (size_t)f.n_blocks * f.n_steps * (f.is_near ? 4 * N_NEAR : BLOCK * N_FAR);

	return (size_t)((const uint8_t *)vectors_of(&f) - (const uint8_t *)&f) + n_vectors * sizeof(__m256i);
}

INLINE void put_weight(int32_t w, int16_t *hi, int16_t *lo)
{
	*hi = (int16_t)(w >> LOW_BITS);
	*lo = (int16_t)(w & ((1 << LOW_BITS) - 1));
}

/* Output 16 h + 4 v + e of a block is element e of half h of vector v, so that packing puts them in order. */
static void prepare_near(const struct taps *t, const struct form *f, uint32_t *places, uint8_t *vectors)
{
	for (uint32_t i = 0; i < f->n_blocks * BLOCK; i++) {
		const uint32_t b = i / BLOCK, v = i / 4 % 4, half = i % BLOCK / 16, e = i % 4;
		const bool is_there = i < t->n_out;
		uint32_t *place = &places[b * BLOCK + v * 2 + half];

		if (e == 0)
			*place = t->at[is_there ? i : t->n_out - 1];
		for (uint32_t p = 0; p < f->n_steps; p++) {
			uint8_t *to = vectors + (((size_t)b * 4 + v) * f->n_steps + p) * N_NEAR * WIDE + 16 * half + 4 * e;
			int16_t hi[2] = {0}, lo[2] = {0};
			const uint8_t from = (uint8_t)(is_there ? t->at[i] - *place + 2 * p : 0);
			const uint8_t indexes[4] = {from, 0x80, (uint8_t)((from + 1) % WINDOW), 0x80};

			for (uint32_t k = 0; k < 2 && is_there && 2 * p + k < t->n_taps; k++)
				put_weight(t->weights[(size_t)i * t->n_taps + 2 * p + k], &hi[k], &lo[k]);
			memcpy(to, indexes, sizeof(indexes));
			memcpy(to + WIDE, hi, sizeof(hi));
			memcpy(to + 2 * WIDE, lo, sizeof(lo));
		}
	}
}

/* The outputs of a block in the order in which they are summed: by vector, half, element. */
static uint32_t far_output(uint32_t n)
{
	return n % 8 / 4 * 16 + n / 8 * 4 + n % 4;
}

static void prepare_far(const struct taps *t, const struct form *f, uint32_t *places, uint8_t *vectors)
{
	for (uint32_t n = 0; n < f->n_blocks * BLOCK; n++) {
		const uint32_t i = n / BLOCK * BLOCK + far_output(n % BLOCK);
		const bool is_there = i < t->n_out;

		places[n] = t->at[is_there ? i : t->n_out - 1];
		for (uint32_t k = 0; k < f->n_steps * 16; k++) {
			int16_t *to = (int16_t *)(vectors + ((size_t)n * f->n_steps + k / 16) * N_FAR * WIDE) + k % 16;
			const int32_t w = is_there && k < t->n_taps ? t->weights[(size_t)i * t->n_taps + k] : 0;

			put_weight(w, to, to + WIDE / 2);
		}
	}
}

static void prepare_horizontal(const struct taps *t, void *weights)
{
	struct form *f = weights;
	uint32_t *places = (uint32_t *)(f + 1);

	*f = form_of(t);
	if (f->is_near)
		prepare_near(t, f, places, (uint8_t *)vectors_of(f));
	else
		prepare_far(t, f, places, (uint8_t *)vectors_of(f));
}

/* The two sums of eight values to the values before holding. */
INLINE __m256i join(__m256i hi, __m256i lo)
{
	return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(hi, LOW_BITS), lo), TAPS_BITS);
}

INLINE __m256i pack(const __m256i v[4])
{
	return _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
}

INLINE void store_some(uint8_t *at, size_t n, __m256i v)
{
	if (n > 16)
		_mm256_storeu_si256((__m256i *)at, v);
	else
		_mm_storeu_si128((__m128i *)at, _mm256_castsi256_si128(v));
}

/* Eight outputs of one plane. */
INLINE __m256i mix_near(const uint32_t *places, const __m256i *w, uint32_t n_pairs, const uint8_t *in)
{
	const __m256i bytes = _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(in + places[0]))),
		_mm_loadu_si128((const __m128i *)(in + places[1])), 1);
	__m256i hi = _mm256_setzero_si256(), lo = _mm256_set1_epi32(HALF);

	for (uint32_t p = 0; p < n_pairs; p++) {
		const __m256i taps = _mm256_shuffle_epi8(bytes, w[p * N_NEAR]);

		hi = _mm256_add_epi32(hi, _mm256_madd_epi16(taps, w[p * N_NEAR + 1]));
		lo = _mm256_add_epi32(lo, _mm256_madd_epi16(taps, w[p * N_NEAR + 2]));
	}
	return join(hi, lo);
}

/* n_pairs is a constant wherever this is inlined, but for the last. */
INLINE void near(const struct form *f, uint32_t n_pairs, uint32_t n_out, struct row in, struct row_room out)
{
	const __m256i *w = vectors_of(f);

	for (uint32_t b = 0; b < f->n_blocks; b++, w += 4 * n_pairs * N_NEAR) {
		const uint32_t *places = places_of(f) + (size_t)b * BLOCK;

		for (unsigned c = 0; c < 3; c++) {
			__m256i v[4];

			for (unsigned k = 0; k < 4; k++)
				v[k] = mix_near(places + 2 * k, w + k * n_pairs * N_NEAR, n_pairs,
						in.at + c * in.stride);
			store_some(out.at + c * out.stride + (size_t)b * BLOCK, n_out - b * BLOCK, pack(v));
		}
	}
}

/* Eight partial sums of one output of one plane. */
INLINE void mix_far(const __m256i *w, uint32_t n_steps, const uint8_t *in, __m256i *ret)
{
	__m256i hi = _mm256_setzero_si256(), lo = hi;

	for (uint32_t k = 0; k < n_steps; k++) {
		const __m256i taps = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(in + 16 * k)));

		hi = _mm256_add_epi32(hi, _mm256_madd_epi16(taps, w[k * N_FAR]));
		lo = _mm256_add_epi32(lo, _mm256_madd_epi16(taps, w[k * N_FAR + 1]));
	}
	*ret = _mm256_add_epi32(_mm256_slli_epi32(hi, LOW_BITS), lo);
}

/* The sums of eight vectors, in order. */
INLINE __m256i add_up(const __m256i s[8])
{
	const __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
	const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(s[4], s[5]), _mm256_hadd_epi32(s[6], s[7]));

	return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

static void far(const struct form *f, uint32_t n_out, struct row in, struct row_room out)
{
	const size_t n_output = (size_t)f->n_steps * N_FAR;

	for (uint32_t b = 0; b < f->n_blocks; b++) {
		for (unsigned c = 0; c < 3; c++) {
			const uint8_t *plane = in.at + c * in.stride;
			__m256i v[4], s[8];

			for (uint32_t n = 0; n < BLOCK; n++) {
				const size_t at = (size_t)b * BLOCK + n;

				mix_far(vectors_of(f) + at * n_output, f->n_steps, plane + places_of(f)[at], &s[n % 8]);
				if (n % 8 == 7)
					v[n / 8] = _mm256_srai_epi32(
						_mm256_add_epi32(add_up(s), _mm256_set1_epi32(HALF)), TAPS_BITS);
			}
			store_some(out.at + c * out.stride + (size_t)b * BLOCK, n_out - b * BLOCK, pack(v));
		}
	}
}

static void horizontal(const struct taps *t, const void *weights, struct row in, struct row_room out)
{
	const struct form *f = weights;

	if (!f->is_near)
		far(f, t->n_out, in, out);
	else if (f->n_steps == 1)
		near(f, 1, t->n_out, in, out);
	else if (f->n_steps == 2)
		near(f, 2, t->n_out, in, out);
	else if (f->n_steps == 3)
		near(f, 3, t->n_out, in, out);
	else
		near(f, f->n_steps, t->n_out, in, out);
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
INLINE void mix_rows(const int32_t *w, uint32_t n_taps, const uint8_t *const *rows, size_t n, uint8_t *out)
{
	const __m256i zero = _mm256_setzero_si256();

	for (size_t x = 0; x < n; x += WIDE) {
		__m256i hi[4], lo[4], v[4];

		for (unsigned j = 0; j < 4; j++) {
			hi[j] = zero;
			lo[j] = _mm256_set1_epi32(HALF);
		}
		for (uint32_t k = 0; k < n_taps; k += 2) {
			const uint8_t *second = rows[k + 1 < n_taps ? k + 1 : k]; /* any: its weight is 0 */
			const __m256i a = _mm256_loadu_si256((const __m256i *)(rows[k] + x));
			const __m256i b = _mm256_loadu_si256((const __m256i *)(second + x));
			const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
			const __m256i taps[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
						 _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};

			for (unsigned j = 0; j < 4; j++) {
				hi[j] = _mm256_add_epi32(hi[j], _mm256_madd_epi16(taps[j], _mm256_set1_epi32(w[k])));
				lo[j] = _mm256_add_epi32(lo[j], _mm256_madd_epi16(taps[j], _mm256_set1_epi32(w[k + 1])));
			}
		}
		for (unsigned j = 0; j < 4; j++)
			v[j] = join(hi[j], lo[j]);
		_mm256_storeu_si256((__m256i *)(out + x), pack(v));
	}
}

static void vertical(const struct taps *t, const void *weights, uint32_t i, const uint8_t *const *rows, size_t n,
		     uint8_t *out)
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

		out = _mm256_or_si256(out, _mm256_shuffle_epi8(in[k], _mm256_broadcastsi128_si256(at)));
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
			in[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at + k)),
							_mm_loadu_si128(at + 3 + k), 1);
		for (unsigned c = 0; c < 3; c++)
			_mm256_storeu_si256((__m256i *)(out.at + c * out.stride + x), every_third(in, c));
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
	return (struct constants){_mm256_loadu_ps(v[0]), _mm256_loadu_ps(v[1]), _mm256_loadu_ps(v[2]),
				  _mm256_loadu_ps(v[3]), _mm256_loadu_ps(v[4])};
}

/* form and dtype are constants wherever this is inlined. */
INLINE void store_values(__m128i bytes, const struct value_formula *f, const struct constants *k, enum value_form form,
			 enum dtype dtype, uint8_t *out)
{
	const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
	__m256 x;

	if (form == FORM_FMA) {
		x = _mm256_fmadd_ps(v, k->slope, k->offset);
	} else {
		__m256 y;

		x = _mm256_mul_ps(v, _mm256_set1_ps(f->up));
		x = _mm256_fmadd_ps(_mm256_fnmadd_ps(x, _mm256_set1_ps(f->down), v), _mm256_set1_ps(f->again), x);
		y = _mm256_sub_ps(x, k->mean);
		x = _mm256_mul_ps(y, k->up_std);
		x = _mm256_fmadd_ps(_mm256_fnmadd_ps(x, k->std, y), k->up_std, x);
	}
	if (dtype == DTYPE_float32) {
		_mm256_storeu_ps((float *)out, x);
	} else if (dtype == DTYPE_float16) {
		_mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
	} else {
		const __m256i bits = _mm256_castps_si256(x), one = _mm256_set1_epi32(1);
		const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
		const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
		const __m256i high = _mm256_srli_epi32(sum, 16);

		_mm_storeu_si128((__m128i *)out, _mm_packus_epi32(_mm256_castsi256_si128(high),
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

INLINE void planes(const struct value_table *t, enum value_form form, enum dtype dtype, struct row in,
		   const struct row_target *to)
{
	const size_t n_value = dtype == DTYPE_float32 ? 4 : 2;

	for (unsigned c = 0; c < 3; c++) {
		const struct constants k = constants_of(&t->formula, c, 0);
		uint8_t *out = (uint8_t *)to->at + c * to->plane * n_value;

		for (uint32_t x = 0; x + 8 <= to->width; x += 8)
			store_values(_mm_cvtsi64_si128((long long)load8(in.at + c * in.stride, to, x)), &t->formula, &k,
				     form, dtype, out + x * n_value);
	}
}

/* Eight pixels' values in turn: bytes 0 … 15 and 16 … 23. */
INLINE void interleave(uint64_t r, uint64_t g, uint64_t b, __m128i ret[2])
{
	const __m128i rg = _mm_set_epi64x((long long)g, (long long)r), blue = _mm_cvtsi64_si128((long long)b);
	const __m128i rg0 = _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5);
	const __m128i rg1 = _mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1);
	const __m128i b0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
	const __m128i b1 = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1);

	ret[0] = _mm_or_si128(_mm_shuffle_epi8(rg, rg0), _mm_shuffle_epi8(blue, b0));
	ret[1] = _mm_or_si128(_mm_shuffle_epi8(rg, rg1), _mm_shuffle_epi8(blue, b1));
}

INLINE void turns(const struct value_table *t, enum value_form form, enum dtype dtype, struct row in,
		  const struct row_target *to)
{
	const size_t n_value = dtype == DTYPE_float32 ? 4 : 2;
	struct constants k[3];

	for (unsigned i = 0; i < 3; i++)
		k[i] = constants_of(&t->formula, 8 * i, 1);
	for (uint32_t x = 0; x + 8 <= to->width; x += 8) {
		uint8_t *out = (uint8_t *)to->at + 3 * x * n_value;
		__m128i v[2];

		interleave(load8(in.at, to, x), load8(in.at + in.stride, to, x), load8(in.at + 2 * in.stride, to, x), v);
		store_values(v[0], &t->formula, &k[0], form, dtype, out);
		store_values(_mm_unpackhi_epi64(v[0], v[0]), &t->formula, &k[1], form, dtype, out + 8 * n_value);
		store_values(v[1], &t->formula, &k[2], form, dtype, out + 16 * n_value);
	}
}

/* The pixels from x on, one by one. */
static void look_up_rest(const struct value_table *t, struct row in, const struct row_target *to, uint32_t x)
{
	const size_t step = to->plane ? 1 : 3, skipped = x * step * t->n_value;
	const struct row_target rest = {(uint8_t *)to->at + skipped, to->plane, to->width - x, to->is_flipped};

	if (!to->is_flipped)
		in.at += x;
	if (rest.width)
		kernels_c.convert(t, in, &rest);
}

INLINE void convert_as(const struct value_table *t, enum value_form form, enum dtype dtype, struct row in,
		       const struct row_target *to)
{
	if (to->plane)
		planes(t, form, dtype, in, to);
	else
		turns(t, form, dtype, in, to);
	look_up_rest(t, in, to, to->width / 8 * 8);
}

static void convert(const struct value_table *t, struct row in, const struct row_target *to)
{
	const enum value_form form = t->formula.form;

	if (form == FORM_FMA && t->dtype == DTYPE_float32)
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

const struct kernels kernels_avx2 = {
	.name = "avx2",
	.split = split,
	.horizontal_bytes = horizontal_bytes,
	.prepare_horizontal = prepare_horizontal,
	.horizontal = horizontal,
	.vertical_bytes = vertical_bytes,
	.prepare_vertical = prepare_vertical,
	.vertical = vertical,
	.convert = convert,
};
