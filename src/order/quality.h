/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * How well an order mixes, each number beside what a uniformly random permutation is expected to give (proto/order.md,
 * "Quality"). Threads: any.
 */
#ifndef ORDER_QUALITY_H
#define ORDER_QUALITY_H

#include "order/order.h"

#include <stdbool.h>

struct order_quality {
	double displacement;	    /* 1: as a random permutation's; 0: file order */
	double adjacency;	    /* 1: as a random permutation's; towards 0: neighbours stay neighbours */
	double same_shard, same_shard_expected; /* shares of neighbours */
	bool is_exact;		    /* from all positions */
};

/* More than n_most positions are judged by n_most of them, always the same. Of a mix each source is judged by
 * itself: o is not one, but may be of order_init_source. */
void order_quality(const struct order *o, uint64_t n_most, struct order_quality *ret);

#endif
