/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Random numbers for the pictures: splitmix64, one stream per picture, so that a picture depends on
 * the seed and its own number alone, whatever thread draws it.
 */
#ifndef DEMO_PICTURES_RANDOM_H
#define DEMO_PICTURES_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline struct random random_of(uint64_t seed, uint64_t stream, uint64_t number)
{
	struct random r = {seed};

	r.state = random_next(&r) ^ stream;
	r.state = random_next(&r) ^ number;
	return r;
}

/* In [0, n). */
static inline uint32_t random_below(struct random *r, uint32_t n)
{
	return (uint32_t)((random_next(r) >> 32) * n >> 32);
}

/* In [from, to). */
static inline double random_real(struct random *r, double from, double to)
{
	return from + (to - from) * ((double)(random_next(r) >> 11) * 0x1p-53);
}

static inline bool random_chance(struct random *r, double p)
{
	return random_real(r, 0, 1) < p;
}

#endif
