/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "apart.h"

#include <string.h>

void apart_init(struct apart *a, uint32_t n_samples)
{
	memset(a, 0, sizeof(*a));
	for (uint32_t i = 0; i < n_samples; i++)
		a->places[i] = (struct sample_place){.header_block = i * (APART / 512), .size = APART_PAYLOAD};
	a->starts[1] = n_samples;
	a->shard = (struct sample_shard){.header_bytes = 512, .n_samples = n_samples, .file_size = (uint64_t)n_samples * APART,
					 .raw_size = (uint64_t)n_samples * APART};
	a->samples = (struct samples){.n_fields = 1, .places = a->places, .starts = a->starts, .shards = &a->shard,
				      .n_shards = 1, .n_samples = n_samples, .largest_extent = 3 * 4096};
	a->feed = (struct core_feed){.name = "train", .samples = &a->samples, .n_positions = n_samples, .order.parts = 1};
	a->spec = (struct core_spec){.feeds = &a->feed, .n_feeds = 1, .n_workers = 1, .read_max = 1 << 20,
				     .reads_in_flight = 4, .staging_bytes = 64 << 20};
}
