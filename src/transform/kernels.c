/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Plain C kernels. A sum of 8-bit values times 22-bit weights is an integer below 2^53, so doubles hold
 * it exactly, and every machine adds and multiplies two of them at once, while 32-bit multiplies are
 * slow before SSE4. Middle values are v x 2^22 and vertical weights w / 2^22, so that both passes end
 * the same way: a sum of v x 2^22 that wants rounding to a multiple of 2^22.
 *
 * Pillow rounds half up: floor((S + 2^21) / 2^22). Adding 1.5 x 2^74 to S + 0.5 makes the hardware round
 * to a multiple of 2^22; S + 0.5 is never a tie, and lies above every S that Pillow rounds up at the tie.
 */
#include "transform/kernels.h"

#include <string.h>

#define MIDDLE_ONE 0x1p22		   /* a middle value of 1 */
#define MIDDLE_MAX (255 * MIDDLE_ONE)	   /* of 255 */
#define ROUND_BIAS 0.5
#define ROUND_BIG 0x1.8p74		   /* its last bit is worth 2^22 */

typedef double pair __attribute__((vector_size(16)));
typedef double loose_pair __attribute__((vector_size(16), aligned(8), may_alias));

/* Weights are stored twice each, so that one load fills both halves. */
static void spread(const struct taps *t, double one, double *to)
{
	const size_t n = (size_t)t->n_out * t->n_taps;

	for (size_t i = 0; i < n; i++)
		to[2 * i] = to[2 * i + 1] = t->weights[i] * one;
}

static void prepare_horizontal(const struct taps *t, void *weights)
{
	spread(t, 1, weights);
}

static void prepare_vertical(const struct taps *t, void *weights)
{
	spread(t, 1 / MIDDLE_ONE, weights);
}

static void lift_to(const uint8_t *restrict in, size_t n, double one, double *restrict out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = in[i] * one;
}

static void lift(const uint8_t *in, size_t n, void *middle)
{
	lift_to(in, n, MIDDLE_ONE, middle);
}

/* Held to [0, 255] and rounded, in place of sums that began with ROUND_BIAS. */
static void settle(double *restrict at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double v = at[i];

		v = v < 0 ? 0 : v;
		v = v > MIDDLE_MAX ? MIDDLE_MAX : v;
		at[i] = (v + ROUND_BIG) - ROUND_BIG;
	}
}

/* n is a constant wherever this is inlined, and the loop over taps gone. */
static inline __attribute__((always_inline)) void mix_pixels(const struct taps *t, const pair *w,
							     const double *in, uint32_t n, double *out)
{
	for (uint32_t i = 0; i < t->n_out; i++, w += n, out += 3) {
		const double *at = in + 3 * (size_t)t->at[i];
		pair rg = {ROUND_BIAS, ROUND_BIAS}, b = {ROUND_BIAS, ROUND_BIAS};

		for (uint32_t k = 0; k < n; k++, at += 3) {
			rg += *(const loose_pair *)at * w[k];
			b += *(const loose_pair *)(at + 2) * w[k];
		}
		*(loose_pair *)out = (loose_pair)rg;
		out[2] = b[0];
	}
}

static void horizontal(const struct taps *t, const void *weights, const uint8_t *rgb, void *lifted,
		       void *middle)
{
	const size_t n_in = 3 * (size_t)(t->end_in - t->first_in);
	double *in = lifted;

	lift_to(rgb, n_in, 1, in);
	in[n_in] = 0; /* the last pixel is read with the value behind it */
	switch (t->n_taps) {
#define CASE(n)                                                                                        \
	case n:                                                                                        \
		mix_pixels(t, weights, in, n, middle);                                                 \
		break;
	CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
	default:
		mix_pixels(t, weights, in, t->n_taps, middle);
	}
	settle(middle, 3 * (size_t)t->n_out);
}

enum { CHUNK = KERNELS_ROW_ROUND }; /* values a turn of vertical(), small enough to stay in L1 */

static void lower(const void *middle, size_t n, uint8_t *out)
{
	const double *in = middle;

	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(int)(in[i] * (1 / MIDDLE_ONE));
}

static inline __attribute__((always_inline)) void mix_rows(const pair *w, uint32_t n_taps,
							   const void *const *rows, size_t n, uint8_t *out)
{
	const pair bias = {ROUND_BIAS, ROUND_BIAS};
	pair sums[CHUNK / 2];

	for (size_t at = 0; at < n; at += CHUNK) {
		for (size_t i = 0; i < CHUNK / 2; i += 4) {
			pair a = bias, b = bias, c = bias, d = bias;

			for (uint32_t k = 0; k < n_taps; k++) {
				const pair *row = (const pair *)rows[k] + at / 2 + i;

				a += row[0] * w[k];
				b += row[1] * w[k];
				c += row[2] * w[k];
				d += row[3] * w[k];
			}
			sums[i] = a;
			sums[i + 1] = b;
			sums[i + 2] = c;
			sums[i + 3] = d;
		}
		settle((double *)sums, CHUNK);
		lower(sums, CHUNK, out + at);
	}
}

static void vertical(const void *weights, uint32_t n_taps, const void *const *rows, size_t n, uint8_t *out)
{
	switch (n_taps) {
#define CASE(k)                                                                                        \
	case k:                                                                                        \
		mix_rows(weights, k, rows, n, out);                                                    \
		break;
	CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
	default:
		mix_rows(weights, n_taps, rows, n, out);
	}
}

/* The same three loops for each size of value: planes, alternating, either mirrored. */
#define CONVERT(name, type, member)                                                                    \
	static void name(const struct value_table *table, const uint8_t *rgb,                          \
			 const struct row_target *to)                                                  \
	{                                                                                              \
		const uint32_t n = to->width;                                                          \
		const ptrdiff_t step = to->is_flipped ? -3 : 3;                                        \
		const uint8_t *in = to->is_flipped ? rgb + 3 * (size_t)(n - 1) : rgb;                  \
		type *restrict out = to->at;                                                           \
                                                                                                       \
		for (uint32_t x = 0; !to->plane && x < n; x++, in += step, out += 3) {                 \
			out[0] = table->member[0][in[0]];                                              \
			out[1] = table->member[1][in[1]];                                              \
			out[2] = table->member[2][in[2]];                                              \
		}                                                                                      \
		for (uint32_t x = 0; to->plane && x < n; x++, in += step) {                            \
			out[x] = table->member[0][in[0]];                                              \
			out[x + to->plane] = table->member[1][in[1]];                                  \
			out[x + 2 * to->plane] = table->member[2][in[2]];                              \
		}                                                                                      \
	}
CONVERT(convert8, uint8_t, to8)
CONVERT(convert16, uint16_t, to16)
CONVERT(convert32, uint32_t, to32)
#undef CONVERT

const struct kernels kernels_c = {
	.name = "c",
	.n_middle = sizeof(double),
	.n_weight = 2 * sizeof(double),
	.n_lifted = sizeof(double),
	.prepare_horizontal = prepare_horizontal,
	.prepare_vertical = prepare_vertical,
	.horizontal = horizontal,
	.vertical = vertical,
	.lift = lift,
	.lower = lower,
	.convert8 = convert8,
	.convert16 = convert16,
	.convert32 = convert32,
};

const struct kernels *kernels_best(void)
{
	return &kernels_c;
}
