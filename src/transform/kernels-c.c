/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Plain C: what the other tables must equal, bit for bit, and what runs where there is no other. As
 * Pillow's Resample.c: 32-bit sums of 8-bit values times weights of 22 fraction bits, rounded half
 * up and held to 8 bits after each pass.
 */
#include "transform/kernels.h"

#include <string.h>

static void split(const uint8_t *restrict rgb, size_t n, struct row_room out)
{
	uint8_t *restrict r = out.at, *restrict g = r + out.stride, *restrict b = g + out.stride;

	for (size_t x = 0; x < n; x++) {
		r[x] = rgb[3 * x];
		g[x] = rgb[3 * x + 1];
		b[x] = rgb[3 * x + 2];
	}
}

static size_t weights_bytes(const struct taps *t)
{
	return (size_t)t->n_out * t->n_taps * sizeof(int32_t);
}

static void prepare(const struct taps *t, void *weights)
{
	memcpy(weights, t->weights, weights_bytes(t));
}

static uint8_t settle(int32_t sum)
{
	const int32_t v = (sum + (1 << (TAPS_BITS - 1))) >> TAPS_BITS;

	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void horizontal(const struct taps *t, const void *weights, struct row in,
		       struct row_room out)
{
	for (unsigned c = 0; c < 3; c++, in.at += in.stride, out.at += out.stride) {
		const int32_t *w = weights;

		for (uint32_t i = 0; i < t->n_out; i++, w += t->n_taps) {
			const uint8_t *from = in.at + t->at[i];
			int32_t sum = 0;

			for (uint32_t k = 0; k < t->n_taps; k++)
				sum += from[k] * w[k];
			out.at[i] = settle(sum);
		}
	}
}

enum { CHUNK = 256 }; /* values a turn of vertical(), so that the sums stay in L1 */

static void vertical(const struct taps *t, const void *weights, uint32_t i,
		     const uint8_t *const *rows, size_t n, uint8_t *restrict out)
{
	const int32_t *w = (const int32_t *)weights + (size_t)i * t->n_taps;
	int32_t sums[CHUNK];

	for (size_t at = 0; at < n; at += CHUNK) {
		const size_t n_now = n - at < CHUNK ? n - at : CHUNK;

		memset(sums, 0, sizeof(sums));
		for (uint32_t k = 0; k < t->n_taps; k++)
			for (size_t x = 0; x < n_now; x++)
				sums[x] += rows[k][at + x] * w[k];
		for (size_t x = 0; x < n_now; x++)
			out[at + x] = settle(sums[x]);
	}
}

static void pick(const struct taps *t, struct row in, struct row_room out)
{
	for (unsigned c = 0; c < 3; c++) {
		const uint8_t *restrict from = in.at + c * in.stride;
		uint8_t *restrict to = out.at + c * out.stride;

		for (uint32_t x = 0; x < t->n_out; x++)
			to[x] = from[t->at[x]];
	}
}

static void transpose(const uint8_t *restrict in, size_t in_stride, uint8_t *restrict out,
		      size_t out_stride)
{
	for (size_t y = 0; y < KERNELS_BLOCK; y++)
		for (size_t x = 0; x < KERNELS_BLOCK; x++)
			out[y * out_stride + x] = in[x * in_stride + y];
}

/* The same loop for each size of value: planes or alternating, either mirrored. */
#define CONVERT(name, type, member)                                                                \
	static void name(const struct value_table *table, struct row in,                           \
			 const struct row_target *to)                                              \
	{                                                                                          \
		const uint32_t n = to->width;                                                      \
		const size_t step = to->plane ? 1 : 3, plane = to->plane ? to->plane : 1;          \
                                                                                                   \
		for (unsigned c = 0; c < 3; c++) {                                                 \
			const uint8_t *restrict from = in.at + c * in.stride;                      \
			const type *values = table->member[c];                                     \
			type *restrict out = (type *)to->at + c * plane;                           \
                                                                                                   \
			for (uint32_t x = 0; x < n; x++)                                           \
				out[x * step] = values[from[to->is_flipped ? n - 1 - x : x]];      \
		}                                                                                  \
	}
CONVERT(convert8, uint8_t, to8)
CONVERT(convert16, uint16_t, to16)
CONVERT(convert32, uint32_t, to32)
#undef CONVERT

static void convert(const struct value_table *table, struct row in, const struct row_target *to)
{
	if (table->n_value == 1)
		convert8(table, in, to);
	else if (table->n_value == 2)
		convert16(table, in, to);
	else
		convert32(table, in, to);
}

static void finish(void)
{
}

const struct kernels kernels_c = {
	.name = "c",
	.split = split,
	.horizontal_bytes = weights_bytes,
	.prepare_horizontal = prepare,
	.horizontal = horizontal,
	.vertical_bytes = weights_bytes,
	.prepare_vertical = prepare,
	.vertical = vertical,
	.pick = pick,
	.transpose = transpose,
	.convert = convert,
	.finish = finish,
};
