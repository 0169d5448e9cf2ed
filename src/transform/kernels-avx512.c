/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later).
 *
 * Weights: a weight of 22 fraction bits is c2 * 2^16 + c1 * 2^8 + c0 in signed bytes. Each 32-bit
 * lane holds four 8-bit inputs; a dot product with four c2, shifted left by 8, plus that with c1,
 * shifted again, plus that with c0 is, modulo 2^32, the integer that Pillow sums up. The sum begins
 * with 32, which the two shifts make the 2^21 that rounds.
 *
 * Horizontal: a vector holds 16 outputs with four inputs each a step, or 8 with eight, where what
 * they mix at a step lies within 64 bytes, so that one load and one byte permutation bring it into
 * place. Larger scales (past about 8): four outputs with sixteen inputs, each quarter loaded from
 * where its output's inputs begin. The partial sums of an output are added up at the end.
 */
#include "transform/kernels-x86.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	WINDOW = 64, /* bytes of a vector, and that a permutation can pick from */
	LANES = 16,  /* sums of a vector */
	QUARTERS = 4,
	START = 1 << (TAPS_BITS - 1 - 16),
};

/* What weights of the horizontal pass begin with; behind it places, then vectors. */
struct form {
	uint32_t n_groups; /* of LANES outputs */
	uint32_t n_each;   /* outputs a vector: LANES, LANES / 2, or QUARTERS */
	uint32_t n_steps;  /* of WINDOW / n_each taps */
	uint32_t n_parts;  /* vectors a step: indexes unless there are four outputs, c2, c1, c0 */
	uint32_t n_places; /* per group: one for each vector, or each output where there are four */
	uint32_t pad[11];
};

static uint32_t *places_of(const struct form *f)
{
	return (uint32_t *)(f + 1);
}

static __m512i *vectors_of(const struct form *f)
{
	return (__m512i *)(places_of(f) + (f->n_groups * f->n_places + LANES - 1) / LANES * LANES);
}

/* Do n outputs at a time stay within the window at every step? */
static bool is_within(const struct taps *t, uint32_t n)
{
	for (uint32_t i = 0; i < t->n_out; i += n) {
		const uint32_t last = i + n < t->n_out ? i + n - 1 : t->n_out - 1;

		if (t->at[last] - t->at[i] + WINDOW / n > WINDOW)
			return false;
	}
	return true;
}

static struct form form_of(const struct taps *t)
{
	struct form f = {.n_groups = (t->n_out + LANES - 1) / LANES,
			 .n_each = QUARTERS,
			 .n_parts = 3,
			 .n_places = LANES};

	if (is_within(t, LANES))
		f.n_each = LANES;
	else if (is_within(t, LANES / 2))
		f.n_each = LANES / 2;
	if (f.n_each != QUARTERS) {
		f.n_places = LANES / f.n_each;
		f.n_parts = 4;
	}
	f.n_steps = (t->n_taps + WINDOW / f.n_each - 1) / (WINDOW / f.n_each);
	return f;
}

/* Vectors of sixteen outputs. */
static size_t group_vectors(const struct form *f)
{
	return (size_t)(LANES / f->n_each) * f->n_steps * f->n_parts;
}

static size_t horizontal_bytes(const struct taps *t)
{
	const struct form f = form_of(t);

	return (size_t)((uint8_t *)vectors_of(&f) - (uint8_t *)&f) +
	       f.n_groups * group_vectors(&f) * sizeof(__m512i);
}

/* Digit 0, 1 or 2 of four weights, of which n are there. */
INLINE void put_digits(const int32_t *weights, uint32_t n, uint8_t *c2, uint8_t *c1, uint8_t *c0)
{
	for (uint32_t k = 0; k < 4; k++) {
		const int32_t w = k < n ? weights[k] : 0, upper = (w + 128) >> 8;

		c0[k] = (uint8_t)w;
		c1[k] = (uint8_t)upper;
		c2[k] = (uint8_t)((upper + 128) >> 8);
	}
}

/* One output's part of its vector, at every step. Where four outputs share a vector, output i is
 * quarter i / 4 % 4 of vector i % 4, which is how add_up() puts them in order. */
static void prepare_output(const struct taps *t, const struct form *f, uint32_t i)
{
	const bool is_far = f->n_each == QUARTERS;
	const uint32_t n_taps = WINDOW / f->n_each, lane = i % LANES;
	const uint32_t vector = is_far ? lane % 4 : lane / f->n_each,
		       part = is_far ? lane / 4 : lane % f->n_each;
	uint32_t *place =
		places_of(f) + i / LANES * f->n_places + (is_far ? vector * 4 + part : vector);
	uint8_t *v = (uint8_t *)(vectors_of(f) + i / LANES * group_vectors(f) +
				 (size_t)vector * f->n_steps * f->n_parts);
	const bool is_there = i < t->n_out;

	if (is_far || part == 0)
		*place = t->at[is_there ? i : t->n_out - 1];
	for (uint32_t step = 0; step < f->n_steps; step++) {
		if (!is_far) {
			for (uint32_t k = 0; k < n_taps; k += 4) {
				const uint32_t indexes =
					0x03020100 +
					0x01010101 * (is_there ? t->at[i] - *place + k : 0);

				memcpy(v + part * n_taps + k, &indexes, sizeof(indexes));
			}
			v += WINDOW;
		}
		for (uint32_t k = 0; k < n_taps; k += 4) {
			const uint32_t at = step * n_taps + k,
				       n_left = is_there && at < t->n_taps ? t->n_taps - at : 0;
			uint8_t *to = v + part * n_taps + k;

			put_digits(t->weights + (size_t)i * t->n_taps + at, n_left, to, to + WINDOW,
				   to + 2 * WINDOW);
		}
		v += 3 * WINDOW;
	}
}

static void prepare_horizontal(const struct taps *t, void *weights)
{
	struct form *f = weights;

	*f = form_of(t);
	for (uint32_t i = 0; i < f->n_groups * LANES; i++)
		prepare_output(t, f, i);
}

/* Four vectors of sums to 64 held bytes, quarter by quarter: what unpacking took apart is in order again. */
INLINE __m512i pack_in_order(const __m512i s[4])
{
	const __m512i low = _mm512_packs_epi32(_mm512_srai_epi32(s[0], TAPS_BITS),
					       _mm512_srai_epi32(s[1], TAPS_BITS));
	const __m512i high = _mm512_packs_epi32(_mm512_srai_epi32(s[2], TAPS_BITS),
						_mm512_srai_epi32(s[3], TAPS_BITS));

	return _mm512_packus_epi16(low, high);
}

/* The same for sums that are in order. */
INLINE __m512i settle(const __m512i s[4])
{
	const __m512i order =
		_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

	return _mm512_permutexvar_epi32(order, pack_in_order(s));
}

INLINE void store_outputs(const struct row_room out, uint32_t x, uint32_t n_left, __m512i s[3][4])
{
	const __mmask64 mask = n_left >= WINDOW ? ~0ull : (1ull << n_left) - 1;

	for (unsigned c = 0; c < 3; c++)
		_mm512_mask_storeu_epi8(out.at + c * out.stride + x, mask, settle(s[c]));
}

/* The sums of one vector, of each plane; one step, one lane an output. */
INLINE void mix_once(const __m512i *w, const uint8_t *in, size_t stride, __m512i ret[3])
{
	for (unsigned c = 0; c < 3; c++) {
		const __m512i taps =
			_mm512_permutexvar_epi8(w[0], _mm512_loadu_si512(in + c * stride));
		__m512i sum = _mm512_slli_epi32(
			_mm512_dpbusd_epi32(_mm512_set1_epi32(START), taps, w[1]), 8);

		sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(sum, taps, w[2]), 8);
		ret[c] = _mm512_dpbusd_epi32(sum, taps, w[3]);
	}
}

/* Sixteen bytes from each of four places. */
INLINE __m512i gather(const uint8_t *in, const uint32_t *places)
{
	const __m256i low = _mm256_loadu2_m128i((const __m128i *)(in + places[1]),
						(const __m128i *)(in + places[0]));
	const __m256i high = _mm256_loadu2_m128i((const __m128i *)(in + places[3]),
						 (const __m128i *)(in + places[2]));

	return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* The sums of one vector, of each plane; start is what lanes begin with. */
INLINE void mix(const __m512i *w, uint32_t n_each, uint32_t n_steps, const uint32_t *places,
		struct row in, __m512i start, __m512i ret[3])
{
	const uint32_t n_taps = WINDOW / n_each;
	__m512i sums[3][3];

	for (unsigned c = 0; c < 3; c++) {
		sums[c][0] = start;
		sums[c][1] = sums[c][2] = _mm512_setzero_si512();
	}
	for (uint32_t k = 0; k < n_steps; k++, in.at += n_taps) {
		const __m512i *digits = n_each == QUARTERS ? w : w + 1;

		for (unsigned c = 0; c < 3; c++) {
			const uint8_t *plane = in.at + c * in.stride;
			const __m512i taps =
				n_each == QUARTERS
					? gather(plane, places)
					: _mm512_permutexvar_epi8(
						  w[0], _mm512_loadu_si512(plane + *places));

			for (unsigned d = 0; d < 3; d++)
				sums[c][d] = _mm512_dpbusd_epi32(sums[c][d], taps, digits[d]);
		}
		w = digits + 3;
	}
	for (unsigned c = 0; c < 3; c++) {
		const __m512i upper =
			_mm512_add_epi32(_mm512_slli_epi32(sums[c][0], 8), sums[c][1]);

		ret[c] = _mm512_add_epi32(_mm512_slli_epi32(upper, 8), sums[c][2]);
	}
}

/* Sums of neighbouring lanes of both, those of a first. */
INLINE __m512i add_pairs(__m512i a, __m512i b)
{
	const __m512i even =
		_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));

	return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
				_mm512_permutex2var_epi32(a, odd, b));
}

/* Four partial sums a quarter, of four vectors: lane 4q + v is the sum of quarter q of vector v. */
INLINE __m512i add_up(__m512i s0, __m512i s1, __m512i s2, __m512i s3)
{
	const __m512i a =
		_mm512_add_epi32(_mm512_unpacklo_epi32(s0, s1), _mm512_unpackhi_epi32(s0, s1));
	const __m512i b =
		_mm512_add_epi32(_mm512_unpacklo_epi32(s2, s3), _mm512_unpackhi_epi32(s2, s3));

	return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Sixteen outputs of each plane. n_each is a constant where this is inlined. */
INLINE void mix_lanes(const struct form *f, uint32_t n_each, uint32_t n_steps, uint32_t group,
		      struct row in, __m512i ret[3])
{
	const uint32_t n_vectors = LANES / n_each, n_parts = n_each == QUARTERS ? 3 : 4;
	const uint32_t n_places = n_each == QUARTERS ? LANES : n_vectors;
	const __m512i *w = vectors_of(f) + (size_t)group * n_vectors * n_steps * n_parts;
	const uint32_t *places = places_of(f) + group * n_places;
	const __m512i start = _mm512_maskz_set1_epi32((__mmask16)(n_each == LANES      ? 0xffff
								  : n_each == QUARTERS ? 0x1111
										       : 0x5555),
						      START);
	__m512i parts[4][3];

	if (n_each == LANES && n_steps == 1) {
		mix_once(w, in.at + *places, in.stride, ret);
		return;
	}
	for (uint32_t v = 0; v < n_vectors; v++) {
		mix(w, n_each, n_steps, places, in, start, parts[v]);
		w += n_steps * n_parts;
		places += n_places / n_vectors;
	}
	for (unsigned c = 0; c < 3; c++)
		ret[c] = n_each == LANES ? parts[0][c]
			 : n_each == QUARTERS
				 ? add_up(parts[0][c], parts[1][c], parts[2][c], parts[3][c])
				 : add_pairs(parts[0][c], parts[1][c]);
}

/* n_each and, but for the largest, n_steps are constants where this is inlined. */
INLINE void mix_row(const struct form *f, uint32_t n_each, uint32_t n_steps, uint32_t n_out,
		    struct row in, struct row_room out)
{
	const uint32_t n_groups = (n_out + LANES - 1) / LANES;
	__m512i sums[3], block[3][4] = {0};

	for (uint32_t g = 0; g < n_groups; g++) {
		mix_lanes(f, n_each, n_steps, g, in, sums);
		for (unsigned c = 0; c < 3; c++)
			block[c][g % 4] = sums[c];
		if (g % 4 == 3 || g + 1 == n_groups)
			store_outputs(out, g / 4 * WINDOW, n_out - g / 4 * WINDOW, block);
	}
}

static void horizontal(const struct taps *t, const void *weights, struct row in,
		       struct row_room out)
{
	const struct form *f = weights;

	if (f->n_each == 16 && f->n_steps == 1)
		mix_row(f, 16, 1, t->n_out, in, out);
	else if (f->n_each == 16 && f->n_steps == 2)
		mix_row(f, 16, 2, t->n_out, in, out);
	else if (f->n_each == 16)
		mix_row(f, 16, f->n_steps, t->n_out, in, out);
	else if (f->n_each == 8 && f->n_steps == 2)
		mix_row(f, 8, 2, t->n_out, in, out);
	else if (f->n_each == 8)
		mix_row(f, 8, f->n_steps, t->n_out, in, out);
	else
		mix_row(f, QUARTERS, f->n_steps, t->n_out, in, out);
}

static size_t vertical_bytes(const struct taps *t)
{
	return (size_t)t->n_out * ((t->n_taps + 3) / 4) * 3 * sizeof(uint32_t);
}

/* Per output and four taps: c2, c1, c0, four bytes each. */
static void prepare_vertical(const struct taps *t, void *weights)
{
	uint8_t *to = weights;

	for (uint32_t i = 0; i < t->n_out; i++)
		for (uint32_t k = 0; k < t->n_taps; k += 4, to += 12)
			put_digits(t->weights + (size_t)i * t->n_taps + k, t->n_taps - k, to,
				   to + 4, to + 8);
}

/* Bytes of four rows side by side, so that each lane holds four taps of one value; packing puts
 * them back. */
INLINE void interleave(const uint8_t *const rows[4], size_t x, __m512i ret[4])
{
	const __m512i r0 = _mm512_loadu_si512(rows[0] + x), r1 = _mm512_loadu_si512(rows[1] + x);
	const __m512i r2 = _mm512_loadu_si512(rows[2] + x), r3 = _mm512_loadu_si512(rows[3] + x);
	const __m512i low01 = _mm512_unpacklo_epi8(r0, r1), high01 = _mm512_unpackhi_epi8(r0, r1);
	const __m512i low23 = _mm512_unpacklo_epi8(r2, r3), high23 = _mm512_unpackhi_epi8(r2, r3);

	ret[0] = _mm512_unpacklo_epi16(low01, low23);
	ret[1] = _mm512_unpackhi_epi16(low01, low23);
	ret[2] = _mm512_unpacklo_epi16(high01, high23);
	ret[3] = _mm512_unpackhi_epi16(high01, high23);
}

/* Up to four rows. */
static void vertical4(const int32_t *w, const uint8_t *const rows[4], size_t n, uint8_t *out)
{
	const __m512i c2 = _mm512_set1_epi32(w[0]), c1 = _mm512_set1_epi32(w[1]),
		      c0 = _mm512_set1_epi32(w[2]);
	const __m512i start = _mm512_set1_epi32(START);

	for (size_t x = 0; x < n; x += WINDOW) {
		__m512i taps[4], s[4];

		interleave(rows, x, taps);
		for (unsigned v = 0; v < 4; v++) {
			s[v] = _mm512_slli_epi32(_mm512_dpbusd_epi32(start, taps[v], c2), 8);
			s[v] = _mm512_slli_epi32(_mm512_dpbusd_epi32(s[v], taps[v], c1), 8);
			s[v] = _mm512_dpbusd_epi32(s[v], taps[v], c0);
		}
		_mm512_storeu_si512(out + x, pack_in_order(s));
	}
}

static void vertical_any(const int32_t *w, uint32_t n_taps, const uint8_t *const *rows, size_t n,
			 uint8_t *out)
{
	for (size_t x = 0; x < n; x += WINDOW) {
		__m512i sums[3][4] = {0}, s[4];

		for (uint32_t k = 0; k < n_taps; k += 4) {
			const uint8_t *four[4];
			__m512i taps[4];

			for (uint32_t j = 0; j < 4; j++)
				four[j] =
					rows[k + j < n_taps ? k + j : k]; /* any: its weight is 0 */
			interleave(four, x, taps);
			for (unsigned d = 0; d < 3; d++)
				for (unsigned v = 0; v < 4; v++)
					sums[d][v] = _mm512_dpbusd_epi32(
						sums[d][v], taps[v],
						_mm512_set1_epi32(w[k / 4 * 3 + d]));
		}
		for (unsigned v = 0; v < 4; v++) {
			s[v] = _mm512_add_epi32(_mm512_slli_epi32(sums[0][v], 8), sums[1][v]);
			s[v] = _mm512_add_epi32(_mm512_slli_epi32(s[v], 8), sums[2][v]);
			s[v] = _mm512_add_epi32(s[v], _mm512_set1_epi32(START << 16));
		}
		_mm512_storeu_si512(out + x, pack_in_order(s));
	}
}

static void vertical(const struct taps *t, const void *weights, uint32_t i,
		     const uint8_t *const *rows, size_t n, uint8_t *out)
{
	const uint32_t n_quads = (t->n_taps + 3) / 4;
	const int32_t *w = (const int32_t *)weights + (size_t)i * n_quads * 3;
	const uint8_t *four[4];

	if (n_quads > 1) {
		vertical_any(w, t->n_taps, rows, n, out);
		return;
	}
	for (uint32_t j = 0; j < 4; j++)
		four[j] = rows[j < t->n_taps ? j : 0];
	vertical4(w, four, n, out);
}

/* Sixteen at a time where they lie within a window, one by one where not. */
static void pick(const struct taps *t, struct row in, struct row_room out)
{
	for (uint32_t x = 0; x < t->n_out; x += LANES) {
		const uint32_t n = t->n_out - x < LANES ? t->n_out - x : LANES, first = t->at[x];
		const __m512i at = _mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), t->at + x);
		const __m128i from =
			_mm512_cvtepi32_epi8(_mm512_sub_epi32(at, _mm512_set1_epi32((int)first)));
		const bool is_near = t->at[x + n - 1] - first < WINDOW;

		for (unsigned c = 0; c < 3; c++) {
			const uint8_t *plane = in.at + c * in.stride;
			uint8_t *to = out.at + c * out.stride + x;

			if (is_near)
				_mm_storeu_si128((__m128i *)to,
						 _mm512_castsi512_si128(_mm512_permutexvar_epi8(
							 _mm512_castsi128_si512(from),
							 _mm512_loadu_si512(plane + first))));
			for (uint32_t i = 0; i < n && !is_near; i++)
				to[i] = plane[t->at[x + i]];
		}
	}
}

/* As the AVX2 one: there is nothing to gain from wider vectors. */
static void transpose(const uint8_t *in, size_t in_stride, uint8_t *out, size_t out_stride)
{
	kernels_avx2.transpose(in, in_stride, out, out_stride);
}

const struct kernels kernels_avx512 = {
	.name = "avx512",
	.split = avx512_split,
	.horizontal_bytes = horizontal_bytes,
	.prepare_horizontal = prepare_horizontal,
	.horizontal = horizontal,
	.vertical_bytes = vertical_bytes,
	.prepare_vertical = prepare_vertical,
	.vertical = vertical,
	.pick = pick,
	.transpose = transpose,
	.convert = avx512_convert,
	.finish = avx512_finish,
};
