/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Sums of bytes that saturate: what outgrows 64 bits stays too much, and is refused as such. */
#ifndef BATCH_BYTES_H
#define BATCH_BYTES_H

#include <stdint.h>

static inline uint64_t bytes_add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t bytes_times(uint64_t a, uint64_t b)
{
	uint64_t n;

	return __builtin_mul_overflow(a, b, &n) ? UINT64_MAX : n;
}

/* To the next multiple of unit, a power of two. */
static inline uint64_t bytes_round_up(uint64_t n, uint64_t unit)
{
	return bytes_add(n, unit - 1) & ~(unit - 1);
}

#endif
