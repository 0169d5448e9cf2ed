/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Position -> sample (proto/order.md). A struct order is one epoch of one feed; it answers any
 * position at once, without the ones before it.
 *
 * Threads: any, as long as nobody inits or deinits meanwhile. Allocates in order_init only (block: O(shards)).
 */
#ifndef ORDER_ORDER_H
#define ORDER_ORDER_H

#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

enum {
	ORDER_ATTEMPTS = 8, /* substitutes tried for one position */
};

enum {
	ORDER_E_REFUSED = 1, /* order_check: no such order or pass; the reason names what is wrong */
};

enum shuffle { SHUFFLE_NONE, SHUFFLE_BLOCK, SHUFFLE_FULL };
enum last { LAST_DROP, LAST_PAD, LAST_SHORT };

struct order_spec {
	enum shuffle shuffle;
	uint64_t seed;
	uint64_t window, parts; /* block only; else 0 and 1 */
};

/* Where the samples of each shard start: starts[i] = samples in the shards before i,
 * starts[n_shards] = N. Borrowed for the life of every order made from it. */
struct order_shards {
	const uint64_t *starts;
	size_t n_shards;
};

struct order {
	struct order_spec spec;
	struct order_shards shards;
	uint64_t epoch, n_samples;
	uint64_t key;	       /* full: key(SAMPLES) */
	uint64_t *place_start; /* block: samples before each place, n_shards + 1 */
	uint32_t *place_shard; /* block: the shard at each place */
};

/* The spec must have passed order_check. 0 or -errno. */
int order_init(struct order *o, const struct order_spec *spec, const struct order_shards *shards,
	       uint64_t epoch);
void order_deinit(struct order *o);
/* Bytes one struct order of this spec allocates; for the memory plan. */
size_t order_bytes(const struct order_spec *spec, size_t n_shards);

/* The sample (its number, shards in listed order) at position t; t >= N is pad's. */
uint64_t order_sample(const struct order *o, uint64_t t);
/* Substitute for position t, attempt 1 … ORDER_ATTEMPTS. */
uint64_t order_substitute(const struct order *o, uint64_t t, unsigned attempt);
/* Which shard holds that sample, and its number there. */
uint32_t order_shard_of(const struct order_shards *shards, uint64_t sample, uint64_t *ret_in_shard);

/* The bijection, for golden tests. */
uint64_t order_perm(uint64_t n, uint64_t key, uint64_t x);

/* A pass of a group: N samples from position start, `batch` positions a rank and step, `world` ranks. */
struct pass {
	uint64_t n_samples, start, batch, world;
	enum last last;
};

/* May a group with this pass read a feed of this order? 0, or ORDER_E_REFUSED with the reason. An
 * empty pass (nothing left from start on) is fine. Everything below wants a pass that was checked. */
int order_check(const struct order_spec *spec, const struct pass *p, struct reason *why);

/* Batches per rank; every rank has as many. */
uint64_t pass_n_batches(const struct pass *p);
/* How many samples batch j gives rank r (short: maybe fewer, maybe 0; past the last batch: 0). */
uint64_t pass_batch_length(const struct pass *p, uint64_t j, uint64_t rank);
/* The position of element i of that batch; >= N when padded (valid = false). */
uint64_t pass_position(const struct pass *p, uint64_t j, uint64_t rank, uint64_t i);
/* (epoch, position) of the token after batch j was returned: after the last batch (epoch + 1, 0). */
void pass_after(const struct pass *p, uint64_t epoch, uint64_t j, uint64_t *ret_epoch,
		uint64_t *ret_position);

#endif
