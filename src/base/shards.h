/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where the samples of each shard start. Here because the samples of a feed say it and its order goes by it.
 *
 * Threads: any; no state.
 */
#ifndef BASE_SHARDS_H
#define BASE_SHARDS_H

#include <stddef.h>
#include <stdint.h>

/* starts[i] = samples in the shards before i, starts[n_shards] = N. Borrowed for the life of every order made
 * from it. */
struct order_shards {
	const uint64_t *starts;
	size_t n_shards;
};

#endif
