/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* proto/order.md, "Keys and draws". Doubles are computed in the order written there; the build has
 * -ffp-contract=off, so every machine gets the same bits. */
#include "base/draw.h"

#include "base/hash.h"

#include <assert.h>
#include <math.h>

uint64_t draw_key(uint64_t seed, uint64_t epoch, uint64_t stream, const uint64_t *rest,
		  unsigned n_rest)
{
	uint64_t values[8] = {1, seed, epoch, stream};
	unsigned char bytes[sizeof(values)];
	unsigned n = 4 + n_rest;

	assert(n_rest <= 4);
	for (unsigned i = 0; i < n_rest; i++)
		values[4 + i] = rest[i];
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 8; k++)
			bytes[8 * i + k] = (unsigned char)(values[i] >> (8 * k));
	return hash_bytes(bytes, 8 * (size_t)n);
}

uint64_t draw_number(const struct draw_source *from, uint64_t n)
{
	const uint64_t rest[4] = {from->position, from->field_hash, from->path_hash, n};

	return draw_key(from->seed, from->epoch, DRAW_TRANSFORM, rest, 4);
}

double draw_unit(uint64_t u)
{
	return (double)(u >> 11) * 0x1p-53;
}

double draw_uniform(uint64_t u, double a, double b)
{
	return a + (b - a) * draw_unit(u);
}

uint64_t draw_below(uint64_t u, uint64_t m)
{
	return (uint64_t)(((unsigned __int128)u * m) >> 64);
}

bool draw_event(uint64_t u, double p)
{
	return draw_unit(u) < p;
}

double draw_log_uniform(uint64_t u, double a, double b)
{
	double result = a, root = b / a;

	for (int k = 1; k <= 32; k++) {
		root = sqrt(root);
		if (u >> (64 - k) & 1)
			result = result * root;
	}
	return result;
}
