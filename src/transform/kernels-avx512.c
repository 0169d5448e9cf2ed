/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later).
 *
 * Weights: a weight of 22 fraction bits is c2 * 2^16 + c1 * 2^8 + c0 in signed bytes. Each 32-bit lane
 * holds four 8-bit inputs; a dot product with four c2, shifted left by 8, plus that with c1, shifted
 * again, plus that with c0 is, modulo 2^32, the integer that Pillow sums up. The sum begins with 32, which
 * the two shifts make the 2^21 that rounds.
 *
 * Horizontal: sixteen outputs a vector. Near: what they mix lies within 64 bytes, so one load and one
 * byte permutation bring every lane its four inputs. Far (scales past about 3.5): each 128-bit quarter
 * loads sixteen inputs of one output, and four such partial sums are added up at the end.
 *
 * Convert: 256-entry tables of bytes held in registers, a permutation for each quarter of a table.
 */
#include "transform/kernels.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	GROUP = 16,	    /* outputs of a vector */
	WINDOW = 64,	    /* bytes a permutation can pick from */
	QUADS_MAX = WINDOW / 4,
	START = 1 << (TAPS_BITS - 1 - 16),
	N_NEAR = 4,	    /* near: vectors per group and four taps: indexes, c2, c1, c0 */
	N_FAR = 3,	    /* far: vectors per four outputs and sixteen taps: c2, c1, c0 */
};

/* What weights of the horizontal pass begin with; behind it places, then vectors. */
struct form {
	uint32_t n_groups;
	uint32_t n_steps; /* near: of four taps; far: of sixteen */
	uint32_t is_near;
	uint32_t pad[13];
};

static uint32_t round_up(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

static const uint32_t *places_of(const struct form *f)
{
	return (const uint32_t *)(f + 1);
}

static const __m512i *vectors_of(const struct form *f)
{
	const uint32_t n_places = f->is_near ? round_up(f->n_groups, GROUP) : f->n_groups * GROUP;

	return (const __m512i *)(places_of(f) + n_places);
}

static struct form form_of(const struct taps *t)
{
	struct form f = {.n_groups = (t->n_out + GROUP - 1) / GROUP, .n_steps = (t->n_taps + 3) / 4, .is_near = 1};

	for (uint32_t i = 0; i < t->n_out; i += GROUP) {
		const uint32_t last = i + GROUP < t->n_out ? i + GROUP - 1 : t->n_out - 1;

		if (t->at[last] - t->at[i] + t->n_taps > WINDOW)
			f.is_near = 0;
	}
	if (!f.is_near)
		f.n_steps = (t->n_taps + GROUP - 1) / GROUP;
	return f;
}

static size_t horizontal_bytes(const struct taps *t)
{
	const struct form f = form_of(t);
	const size_t n_vectors = (size_t)f.n_groups * f.n_steps * (f.is_near ? N_NEAR : 4 * N_FAR);

	return (size_t)((const uint8_t *)vectors_of(&f) - (const uint8_t *)&f) + n_vectors * sizeof(__m512i);
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

static void prepare_near(const struct taps *t, const struct form *f, uint32_t *places, uint8_t *vectors)
{
	for (uint32_t i = 0; i < f->n_groups * GROUP; i++) {
		const uint32_t g = i / GROUP, lane = i % GROUP;

		if (lane == 0)
			places[g] = t->at[i];
		for (uint32_t q = 0; q < f->n_steps; q++) {
			uint8_t *v = vectors + ((size_t)g * f->n_steps + q) * N_NEAR * WINDOW + 4 * lane;
			const bool is_there = i < t->n_out;
			const uint32_t from = is_there ? t->at[i] - places[g] + 4 * q : 0;
			const uint32_t index = 0x03020100 + 0x01010101 * (from & (WINDOW - 1));

			memcpy(v, &index, sizeof(index));
			put_digits(t->weights + (size_t)i * t->n_taps + 4 * q, is_there ? t->n_taps - 4 * q : 0,
				   v + WINDOW, v + 2 * WINDOW, v + 3 * WINDOW);
		}
	}
}

/* Output i is lane i / 4 % 4 of vector i % 4, which is how the sums come out in order. */
static void prepare_far(const struct taps *t, const struct form *f, uint32_t *places, uint8_t *vectors)
{
	for (uint32_t i = 0; i < f->n_groups * GROUP; i++) {
		const uint32_t g = i / GROUP, sub = i % 4, lane = i % GROUP / 4;
		const bool is_there = i < t->n_out;

		places[g * GROUP + sub * 4 + lane] = t->at[is_there ? i : t->n_out - 1];
		for (uint32_t k = 0; k < f->n_steps * 16; k += 4) {
			uint8_t *v = vectors + (((size_t)g * 4 + sub) * f->n_steps + k / 16) * N_FAR * WINDOW +
				     16 * lane + k % 16;

			put_digits(t->weights + (size_t)i * t->n_taps + k,
				   is_there && k < t->n_taps ? t->n_taps - k : 0, v, v + WINDOW, v + 2 * WINDOW);
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

/* Four vectors of sixteen sums each, in order, to 64 held bytes. */
INLINE __m512i settle(const __m512i s[4])
{
	const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	const __m512i low = _mm512_packs_epi32(_mm512_srai_epi32(s[0], TAPS_BITS), _mm512_srai_epi32(s[1], TAPS_BITS));
	const __m512i high = _mm512_packs_epi32(_mm512_srai_epi32(s[2], TAPS_BITS), _mm512_srai_epi32(s[3], TAPS_BITS));

	return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
}

INLINE void store_group(const struct row_room out, uint32_t x, uint32_t n_left, __m512i s[3][4])
{
	const __mmask64 mask = n_left >= WINDOW ? ~0ull : (1ull << n_left) - 1;

	for (unsigned c = 0; c < 3; c++)
		_mm512_mask_storeu_epi8(out.at + c * out.stride + x, mask, settle(s[c]));
}

/* Sixteen outputs of each plane. */
INLINE void mix_near(const __m512i *w, uint32_t n_quads, const uint8_t *in, size_t stride, unsigned g, __m512i s[3][4])
{
	for (unsigned c = 0; c < 3; c++) {
		const __m512i bytes = _mm512_loadu_si512(in + c * stride);
		__m512i sum = _mm512_set1_epi32(START), taps[QUADS_MAX];

		for (uint32_t q = 0; q < n_quads; q++) {
			taps[q] = _mm512_permutexvar_epi8(w[q * N_NEAR], bytes);
			sum = _mm512_dpbusd_epi32(sum, taps[q], w[q * N_NEAR + 1]);
		}
		sum = _mm512_slli_epi32(sum, 8);
		for (uint32_t q = 0; q < n_quads; q++)
			sum = _mm512_dpbusd_epi32(sum, taps[q], w[q * N_NEAR + 2]);
		sum = _mm512_slli_epi32(sum, 8);
		for (uint32_t q = 0; q < n_quads; q++)
			sum = _mm512_dpbusd_epi32(sum, taps[q], w[q * N_NEAR + 3]);
		s[c][g] = sum;
	}
}

/* n_quads is a constant wherever this is inlined, but for the last. */
INLINE void near(const struct form *f, uint32_t n_quads, uint32_t n_out, struct row in, struct row_room out)
{
	const uint32_t *places = places_of(f);
	const __m512i *w = vectors_of(f);
	__m512i s[3][4];
	uint32_t i = 0;

	for (; i + 4 <= f->n_groups; i += 4) {
		for (unsigned g = 0; g < 4; g++, w += n_quads * N_NEAR)
			mix_near(w, n_quads, in.at + places[i + g], in.stride, g, s);
		store_group(out, i * GROUP, n_out - i * GROUP, s);
	}
	if (i == f->n_groups)
		return;
	for (unsigned g = 0; g < 4; g++) {
		const uint32_t from = i + g < f->n_groups ? g : f->n_groups - i - 1; /* the last again: not stored */

		mix_near(w + from * n_quads * N_NEAR, n_quads, in.at + places[i + from], in.stride, g, s);
	}
	store_group(out, i * GROUP, n_out - i * GROUP, s);
}

INLINE __m512i gather(const uint8_t *in, const uint32_t *places, uint32_t from)
{
	const __m128i *at[4];

	for (unsigned lane = 0; lane < 4; lane++)
		at[lane] = (const __m128i *)(in + places[lane] + from);
	return _mm512_inserti64x4(
		_mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at[0])),
							      _mm_loadu_si128(at[1]), 1)),
		_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at[2])), _mm_loadu_si128(at[3]), 1), 1);
}

/* Four partial sums a quarter, of four vectors, to sixteen sums. */
INLINE __m512i add_up(const __m512i s[4])
{
	const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
	const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));

	return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Sixteen outputs of each plane. */
static void mix_far(const uint32_t *places, const __m512i *w, uint32_t n_steps, struct row in, unsigned g, __m512i s[3][4])
{
	__m512i parts[3][4];

	for (unsigned sub = 0; sub < 4; sub++) {
		__m512i sums[3][3] = {0};

		for (uint32_t k = 0; k < n_steps; k++, w += N_FAR) {
			for (unsigned c = 0; c < 3; c++) {
				const __m512i taps = gather(in.at + c * in.stride, places + 4 * sub, 16 * k);

				sums[c][0] = _mm512_dpbusd_epi32(sums[c][0], taps, w[0]);
				sums[c][1] = _mm512_dpbusd_epi32(sums[c][1], taps, w[1]);
				sums[c][2] = _mm512_dpbusd_epi32(sums[c][2], taps, w[2]);
			}
		}
		for (unsigned c = 0; c < 3; c++) {
			const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(sums[c][0], 8), sums[c][1]);

			parts[c][sub] = _mm512_add_epi32(_mm512_slli_epi32(upper, 8), sums[c][2]);
		}
	}
	for (unsigned c = 0; c < 3; c++)
		s[c][g] = _mm512_add_epi32(add_up(parts[c]), _mm512_set1_epi32(START << 16));
}

static void far(const struct form *f, uint32_t n_out, struct row in, struct row_room out)
{
	const size_t n_group = (size_t)f->n_steps * 4 * N_FAR;
	__m512i s[3][4];

	memset(s, 0, sizeof(s));
	for (uint32_t i = 0; i < f->n_groups; i++) {
		mix_far(places_of(f) + i * GROUP, vectors_of(f) + i * n_group, f->n_steps, in, i % 4, s);
		if (i % 4 == 3 || i + 1 == f->n_groups)
			store_group(out, i / 4 * WINDOW, n_out - i / 4 * WINDOW, s);
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
	return (size_t)t->n_out * ((t->n_taps + 3) / 4) * 3 * sizeof(uint32_t);
}

/* Per output and four taps: c2, c1, c0, four bytes each. */
static void prepare_vertical(const struct taps *t, void *weights)
{
	uint8_t *to = weights;

	for (uint32_t i = 0; i < t->n_out; i++)
		for (uint32_t k = 0; k < t->n_taps; k += 4, to += 12)
			put_digits(t->weights + (size_t)i * t->n_taps + k, t->n_taps - k, to, to + 4, to + 8);
}

/* Bytes of four rows side by side, so that each lane holds four taps of one value; packing puts them back. */
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

INLINE __m512i pack_in_order(const __m512i s[4])
{
	const __m512i low = _mm512_packs_epi32(_mm512_srai_epi32(s[0], TAPS_BITS), _mm512_srai_epi32(s[1], TAPS_BITS));
	const __m512i high = _mm512_packs_epi32(_mm512_srai_epi32(s[2], TAPS_BITS), _mm512_srai_epi32(s[3], TAPS_BITS));

	return _mm512_packus_epi16(low, high);
}

/* Up to four rows. */
static void vertical4(const int32_t *w, const uint8_t *const rows[4], size_t n, uint8_t *out)
{
	const __m512i c2 = _mm512_set1_epi32(w[0]), c1 = _mm512_set1_epi32(w[1]), c0 = _mm512_set1_epi32(w[2]);
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

static void vertical_any(const int32_t *w, uint32_t n_taps, const uint8_t *const *rows, size_t n, uint8_t *out)
{
	for (size_t x = 0; x < n; x += WINDOW) {
		__m512i sums[3][4] = {0}, s[4];

		for (uint32_t k = 0; k < n_taps; k += 4) {
			const uint8_t *four[4];
			__m512i taps[4];

			for (uint32_t j = 0; j < 4; j++)
				four[j] = rows[k + j < n_taps ? k + j : k]; /* any: its weight is 0 */
			interleave(four, x, taps);
			for (unsigned d = 0; d < 3; d++)
				for (unsigned v = 0; v < 4; v++)
					sums[d][v] = _mm512_dpbusd_epi32(sums[d][v], taps[v],
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

static void vertical(const struct taps *t, const void *weights, uint32_t i, const uint8_t *const *rows, size_t n,
		     uint8_t *out)
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

/* 0, 1, … as bytes. */
INLINE __m512i count_up(void)
{
	const __m512i dwords = _mm512_setr_epi32(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514,
						0x1b1a1918, 0x1f1e1d1c, 0x23222120, 0x27262524, 0x2b2a2928, 0x2f2e2d2c,
						0x33323130, 0x37363534, 0x3b3a3938, 0x3f3e3d3c);

	return dwords;
}

/* Every third byte of 192, from the first-th on: v is which third of them. */
INLINE __m512i every_third(__m512i a, __m512i b, __m512i c, unsigned first)
{
	/* Byte i of the result is byte 3i + first of the three; as 8-bit indexes these wrap at 256, never here. */
	const __m512i i = count_up();
	const __m512i at = _mm512_add_epi8(_mm512_add_epi8(i, _mm512_add_epi8(i, i)), _mm512_set1_epi8((char)first));
	const __mmask64 is_in_c = _mm512_movepi8_mask(at); /* 128 and more */

	return _mm512_mask_permutexvar_epi8(_mm512_permutex2var_epi8(a, at, b), is_in_c, at, c);
}

static void split(const uint8_t *rgb, size_t n, struct row_room out)
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
			_mm512_storeu_si512(out.at + c * out.stride + x, every_third(in[0], in[1], in[2], c));
	}
}

/* 64 values looked up in a table of 256 bytes. */
INLINE __m512i look_up(const __m512i table[4], __m512i values)
{
	const __m512i low = _mm512_permutex2var_epi8(table[0], values, table[1]);
	const __m512i high = _mm512_permutex2var_epi8(table[2], values, table[3]);

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(values), low, high);
}

/* The n <= 64 pixels from x on, in the order that indexes say (of a whole vector), mirrored or not. */
INLINE __m512i load_pixels(const uint8_t *plane, const struct row_target *to, uint32_t x, uint32_t n, __m512i indexes)
{
	if (to->is_flipped) {
		plane += to->width - x - n;
		indexes = _mm512_sub_epi8(_mm512_set1_epi8((char)(n - 1)), indexes);
	} else {
		plane += x;
	}
	return _mm512_permutexvar_epi8(indexes, _mm512_loadu_si512(plane));
}

/* The order in which pixels must come so that unpacking the bytes of their values puts them in order. */
INLINE __m512i order_for(unsigned n_value)
{
	const __m512i i = count_up();
	const __m512i lane = _mm512_and_si512(_mm512_srli_epi16(i, 4), _mm512_set1_epi8(0x03));
	const __m512i low = _mm512_and_si512(i, _mm512_set1_epi8(n_value == 2 ? 7 : 3));

	if (n_value == 1)
		return i;
	if (n_value == 2) /* byte 16L + j is pixel 8L + j, byte 16L + 8 + j pixel 32 + 8L + j */
		return _mm512_or_si512(_mm512_or_si512(_mm512_slli_epi16(lane, 3), low),
				       _mm512_and_si512(_mm512_slli_epi16(i, 2), _mm512_set1_epi8(0x20)));
	/* byte 16L + 4k + j is pixel 16k + 4L + j */
	return _mm512_or_si512(_mm512_or_si512(_mm512_slli_epi16(lane, 2), low),
			       _mm512_and_si512(_mm512_slli_epi16(i, 2), _mm512_set1_epi8(0x30)));
}

/* Values of 64 pixels of one channel, n_value vectors. n_value is a constant where this is inlined. */
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
		const __m512i a = _mm512_unpacklo_epi8(bytes[0], bytes[1]), b = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
		const __m512i c = _mm512_unpacklo_epi8(bytes[2], bytes[3]), d = _mm512_unpackhi_epi8(bytes[2], bytes[3]);

		ret[0] = _mm512_unpacklo_epi16(a, c);
		ret[1] = _mm512_unpackhi_epi16(a, c);
		ret[2] = _mm512_unpacklo_epi16(b, d);
		ret[3] = _mm512_unpackhi_epi16(b, d);
	}
}

INLINE void store_bytes(uint8_t *at, size_t n_bytes, __m512i v)
{
	if (n_bytes >= WINDOW)
		_mm512_storeu_si512(at, v);
	else
		_mm512_mask_storeu_epi8(at, (1ull << n_bytes) - 1, v);
}

INLINE void convert_planes(const struct value_table *table, unsigned n_value, struct row in,
			   const struct row_target *to)
{
	const __m512i order = order_for(n_value);

	for (unsigned c = 0; c < 3; c++) {
		uint8_t *out = (uint8_t *)to->at + c * to->plane * n_value;

		for (uint32_t x = 0; x < to->width; x += WINDOW) {
			const uint32_t n = to->width - x < WINDOW ? to->width - x : WINDOW;
			__m512i values[4];

			values_of(table->bytes[c], n_value, load_pixels(in.at + c * in.stride, to, x, n, order), values);
			for (unsigned v = 0; v < n_value && v * WINDOW < n * n_value; v++)
				store_bytes(out + (size_t)x * n_value + v * WINDOW, n * n_value - v * WINDOW, values[v]);
		}
	}
}

/* How vector k of three takes its elements from three channels' vectors in turn. */
struct turn {
	__m512i at;	   /* of the first two, side by side, or of the third */
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
		at[half] = _mm512_mask_add_epi16(pixel, _mm512_cmpeq_epi16_mask(channel, _mm512_set1_epi16(1)), pixel,
						 _mm512_set1_epi16((short)n));
	}
	if (n_value == 4)
		return (struct turn){_mm512_cvtepu16_epi32(_mm512_castsi512_si256(at[0])), is_third[0]};
	if (n_value == 2)
		return (struct turn){at[0], is_third[0]};
	return (struct turn){_mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(at[0])),
						_mm512_cvtepi16_epi8(at[1]), 1),
			     is_third[0] | (__mmask64)is_third[1] << 32};
}

INLINE __m512i take_turns(const struct turn *t, unsigned n_value, __m512i a, __m512i b, __m512i c)
{
	if (n_value == 4)
		return _mm512_mask_permutexvar_epi32(_mm512_permutex2var_epi32(a, t->at, b), (__mmask16)t->is_third,
						     t->at, c);
	if (n_value == 2)
		return _mm512_mask_permutexvar_epi16(_mm512_permutex2var_epi16(a, t->at, b), (__mmask32)t->is_third,
						     t->at, c);
	return _mm512_mask_permutexvar_epi8(_mm512_permutex2var_epi8(a, t->at, b), t->is_third, t->at, c);
}

INLINE void convert_turns(const struct value_table *table, unsigned n_value, struct row in, const struct row_target *to)
{
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
			values_of(table->bytes[c], n_value, load_pixels(in.at + c * in.stride, to, x, n, order),
				  values[c]);
		for (unsigned v = 0; v < 3 * n_value && v * WINDOW < n_bytes; v++) {
			const unsigned from = v / 3;

			store_bytes(out + v * WINDOW, n_bytes - v * WINDOW,
				    take_turns(&turns[v % 3], n_value, values[0][from], values[1][from],
					       values[2][from]));
		}
	}
}

static void convert(const struct value_table *table, struct row in, const struct row_target *to)
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

const struct kernels kernels_avx512 = {
	.name = "avx512",
	.split = split,
	.horizontal_bytes = horizontal_bytes,
	.prepare_horizontal = prepare_horizontal,
	.horizontal = horizontal,
	.vertical_bytes = vertical_bytes,
	.prepare_vertical = prepare_vertical,
	.vertical = vertical,
	.convert = convert,
};
