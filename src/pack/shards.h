/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Which samples of a catalog go into which shard, and a hash of all that a shard will be made of (keys,
 * labels, extensions, sizes and times of the files), by which it is known again.
 *
 * Threads: any once made; never changes after.
 */
#ifndef PACK_SHARDS_H
#define PACK_SHARDS_H

#include "pack/catalog.h"

struct shard_plan {
	size_t first, n_samples;
	uint64_t n_payload; /* bytes to be read */
	uint64_t content;
	bool is_there; /* finished by a run before */
};

struct shard_plans {
	struct shard_plan *list;
	size_t n;
	uint64_t content; /* of all */
};

/* samples_max 0: no limit. 0 or -errno. */
int shard_plans_make(const struct catalog *c, uint64_t bytes_max, uint64_t samples_max, struct shard_plans *ret);
void shard_plans_deinit(struct shard_plans *p);

/* The payload of a sample's .cls member: its length, ret holds 24 bytes. */
int shard_label(const struct catalog_sample *s, char *ret);

#endif
