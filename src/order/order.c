/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * proto/order.md, "The bijection", "Position -> sample" and "Substitutes". A position is answered
 * by arithmetic alone: full costs one perm; block costs a window's key, one perm and a search among
 * the places at which the shards lie. Nothing here overflows: p * (N / P) and e * P + p stay below
 * N.
 */
#include "order/order.h"

#include "order/mix.h"

#include "base/draw.h"
#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static uint64_t mix64(uint64_t z)
{
	z ^= z >> 30;
	z *= 0xBF58476D1CE4E5B9;
	z ^= z >> 27;
	z *= 0x94D049BB133111EB;
	z ^= z >> 31;
	return z;
}

static unsigned bits_of(uint64_t n)
{
	return n ? 64 - (unsigned)__builtin_clzll(n) : 0;
}

uint64_t order_perm(uint64_t n, uint64_t key, uint64_t x)
{
	unsigned bits, low;
	uint64_t low_mask, high_mask, keys[8];

	assert(x < n);
	if (n == 1)
		return 0;
	bits = bits_of(n - 1);
	if (bits < 6)
		bits = 6;
	low = bits / 2;
	low_mask = (UINT64_C(1) << low) - 1;
	high_mask = (UINT64_C(1) << (bits - low)) - 1;
	for (unsigned i = 0; i < 8; i++)
		keys[i] = mix64(key + i * 0x9E3779B97F4A7C15);
	do {
		uint64_t a = x >> low, b = x & low_mask;

		for (unsigned i = 0; i < 8; i += 2) {
			a ^= mix64(b ^ keys[i]) & high_mask;
			b ^= mix64(a ^ keys[i + 1]) & low_mask;
		}
		x = a << low | b;
	} while (x >= n);
	return x;
}

size_t order_run_of(const uint64_t *starts, size_t n, uint64_t x)
{
	size_t low = 0, high = n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (starts[middle] <= x)
			low = middle;
		else
			high = middle;
	}
	return low;
}

struct order_part order_part_of(uint64_t n_samples, uint64_t n_parts, uint64_t p)
{
	uint64_t each = n_samples / n_parts, more = n_samples % n_parts;

	return (struct order_part){
		.start = p * each + (p < more ? p : more),
		.n_samples = each + (p < more ? 1 : 0),
	};
}

/* Where pad repeats: the position below N whose sample t holds. */
static uint64_t own_position(const struct order *o, uint64_t t)
{
	uint64_t n = o->n_samples;

	if (t < n)
		return t;
	return t % (n < o->spec.parts ? n : n - n % o->spec.parts);
}

static int make_places(struct order *o)
{
	size_t n = o->shards.n_shards;

	assert(o->spec.window > 0 && n <= UINT32_MAX);
	o->place_start = calloc(n + 1, sizeof(*o->place_start));
	o->place_shard = calloc(n, sizeof(*o->place_shard));
	if (o->place_start && o->place_shard)
		return 0;
	order_deinit(o);
	return fail(-ENOMEM);
}

static void lay_places(struct order *o)
{
	size_t n = o->shards.n_shards;
	uint64_t key = draw_key(o->spec.seed, o->epoch, DRAW_SHARDS + o->stream, NULL, 0);

	for (size_t x = 0; x < n; x++) {
		uint64_t shard = order_perm(n, key, x);
		uint64_t n_here = o->shards.starts[shard + 1] - o->shards.starts[shard];

		o->place_shard[x] = (uint32_t)shard;
		o->place_start[x + 1] = o->place_start[x] + n_here;
	}
}

void order_turn(struct order *o, uint64_t epoch)
{
	o->epoch = epoch;
	if (o->spec.shuffle == SHUFFLE_FULL)
		o->key = draw_key(o->spec.seed, epoch, DRAW_SAMPLES + o->stream, NULL, 0);
	if (o->spec.shuffle == SHUFFLE_BLOCK)
		lay_places(o);
}

/* All shards as one source. */
static int init_alone(struct order *o, uint64_t epoch)
{
	int r;

	o->n_samples = o->shards.starts[o->shards.n_shards] - o->shards.starts[0];
	assert(o->n_samples > 0 && o->spec.parts > 0);
	r = o->spec.shuffle == SHUFFLE_BLOCK ? make_places(o) : 0;
	if (r < 0)
		return pass(r);
	order_turn(o, epoch);
	return 0;
}

int order_init_source(struct order *o, const struct order_spec *spec, const struct order_shards *shards,
		      size_t source, uint64_t pass)
{
	*o = (struct order){.spec = *spec, .shards = mix_shards(spec, shards, source), .stream = 16 * source};
	o->spec.mix = NULL;
	return init_alone(o, pass);
}

int order_init(struct order *o, const struct order_spec *spec, const struct order_shards *shards,
	       uint64_t epoch)
{
	*o = (struct order){.spec = *spec, .shards = *shards};
	if (!spec->mix)
		return init_alone(o, epoch);
	o->epoch = epoch;
	o->n_samples = order_length(spec, shards);
	return mixed_new(o, &o->mixed);
}

void order_deinit(struct order *o)
{
	o->mixed = mixed_free(o->mixed);
	free(o->place_start);
	free(o->place_shard);
	o->place_start = NULL;
	o->place_shard = NULL;
}

size_t order_bytes(const struct order_spec *spec, const struct order_shards *shards)
{
	if (spec->mix)
		return mixed_bytes(spec, shards);
	if (spec->shuffle != SHUFFLE_BLOCK)
		return 0;
	return (shards->n_shards + 1) * sizeof(uint64_t) + shards->n_shards * sizeof(uint32_t);
}

/* The x-th sample of the shards as they lie at their places. */
static uint64_t sample_at(const struct order *o, uint64_t x)
{
	size_t place = order_run_of(o->place_start, o->shards.n_shards, x);

	return o->shards.starts[o->place_shard[place]] + (x - o->place_start[place]);
}

static uint64_t block_sample(const struct order *o, uint64_t t)
{
	const uint64_t p = t % o->spec.parts, i = t / o->spec.parts, w = i / o->spec.window;
	const uint64_t rest[2] = {p, w}, first = w * o->spec.window;
	const struct order_part part = order_part_of(o->n_samples, o->spec.parts, p);
	uint64_t m = part.n_samples - first;
	uint64_t key = draw_key(o->spec.seed, o->epoch, DRAW_WINDOW + o->stream, rest, 2);

	if (m > o->spec.window)
		m = o->spec.window;
	return sample_at(o, part.start + first + order_perm(m, key, i - first));
}

uint64_t order_sample(const struct order *o, uint64_t t)
{
	t = own_position(o, t);
	if (o->mixed)
		return mixed_sample(o, t);
	switch (o->spec.shuffle) {
	case SHUFFLE_NONE:
		return o->shards.starts[0] + t;
	case SHUFFLE_FULL:
		return o->shards.starts[0] + order_perm(o->n_samples, o->key, t);
	case SHUFFLE_BLOCK:
		return block_sample(o, t);
	}
	assert(!"a shuffle that is none of the three");
	return 0;
}

uint64_t order_substitute(const struct order *o, uint64_t t, unsigned attempt)
{
	const uint64_t rest[2] = {t, attempt}, own = own_position(o, t), p = own % o->spec.parts;
	const uint64_t key = draw_key(o->spec.seed, o->epoch, DRAW_SUBSTITUTE, rest, 2);

	assert(attempt >= 1 && attempt <= ORDER_ATTEMPTS);
	if (o->mixed)
		return mixed_substitute(o, own, key);
	return order_sample(o, key % order_part_of(o->n_samples, o->spec.parts, p).n_samples * o->spec.parts + p);
}

uint32_t order_shard_of(const struct order_shards *shards, uint64_t sample, uint64_t *ret_in_shard)
{
	size_t shard;

	assert(sample < shards->starts[shards->n_shards]);
	shard = order_run_of(shards->starts, shards->n_shards, sample);
	*ret_in_shard = sample - shards->starts[shard];
	return (uint32_t)shard;
}
