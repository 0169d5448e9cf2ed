/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The dataset of one feed: the shards of all its sources listed, indexed and laid out as samples, and what
 * a mix takes of each.
 */
#ifndef SERVE_DATASET_H
#define SERVE_DATASET_H

#include "base/reason.h"
#include "config/config.h"
#include "order/order.h"
#include "shard/list.h"
#include "shard/samples.h"

struct dataset {
	struct shard_list *lists; /* of each source */
	size_t n_sources;
	struct samples samples;
	struct order_mix mix; /* of a feed whose source is a list; else n_sources is 0 */
	uint64_t n_skipped; /* regular members that belong to no sample */
};

enum { DATASET_E_REFUSED = 1 };

/* Lists, indexes (scanning what has no index, with progress) and lays out. 0, DATASET_E_REFUSED with the
 * reason, or -errno. on_refused: called for every refused shard with the context, or NULL: the first one ends it. */
int dataset_open(const struct config *config, const struct config_feed *feed,
		 void (*on_refused)(void *context, size_t i, const char *path, const struct reason *why),
		 void *context, struct dataset *ret, struct reason *why);
void dataset_deinit(struct dataset *d);

/* The key of a sample and the offset of its first header, from the saved index of its shard. 0, or why it
 * cannot be read (as shard_index_key). */
int dataset_key(const struct dataset *d, const char *cache_folder, uint32_t shard, uint64_t in_shard,
		char *ret_key, size_t n_key, uint64_t *ret_offset);

/* The order of the feed in the words of the order room; what it borrows is the dataset's. */
void dataset_order(const struct config_feed *feed, const struct dataset *d, struct order_spec *ret);
/* Positions of an epoch. */
uint64_t dataset_length(const struct config_feed *feed, const struct dataset *d);

/* The fewest ranks that share a batch: slots are made for so many or more. */
uint64_t dataset_ranks(const struct config_feed *feed);
enum last dataset_last(const struct config_feed *feed);
/* An epoch of so many positions, read by the fewest ranks. */
struct pass dataset_pass(const struct config_feed *feed, uint64_t n_positions);

#endif
