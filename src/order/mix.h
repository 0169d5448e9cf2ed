/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * proto/order.md, "Mixing sources by weight": for order.c alone.
 *
 * Threads: one at a time for each mixed; see order.h.
 */
#ifndef ORDER_MIX_H
#define ORDER_MIX_H

#include "order/order.h"

/* ---- order.c, for mix.c ---- */

/* The run of samples that is part p of n_parts. */
struct order_part {
	uint64_t start, n_samples;
};
struct order_part order_part_of(uint64_t n_samples, uint64_t n_parts, uint64_t p);
/* The last i with starts[i] <= x; x < starts[n]. An empty run shares its start with the next, so
 * the last one is the one that holds x. */
size_t order_run_of(const uint64_t *starts, size_t n, uint64_t x);
/* Makes it the order of another epoch (or pass) of the same, in the memory it has. */
void order_turn(struct order *o, uint64_t epoch);

/* ---- mix.c, for order.c ---- */

/* The shards of one source; their starts go on counting all samples. */
struct order_shards mix_shards(const struct order_spec *spec, const struct order_shards *shards, size_t source);
/* o: spec, shards and epoch are set. 0 or -errno. */
int mixed_new(const struct order *o, struct order_mixed **ret);
struct order_mixed *mixed_free(struct order_mixed *m);
size_t mixed_bytes(const struct order_spec *spec, const struct order_shards *shards);
/* t < N. */
uint64_t mixed_sample(const struct order *o, uint64_t t);
uint64_t mixed_substitute(const struct order *o, uint64_t t, uint64_t key);

#endif
