/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Keys of samples, for ledger, log and messages. They stand in the saved index, which may lie beside its shard behind a
 * server that does not answer: then the loop waits a moment for a thread of its own, and goes on without the key. While
 * that thread is still stuck nobody waits for it again.
 *
 * Threads: the loop's.
 */
#ifndef SERVE_KEYS_H
#define SERVE_KEYS_H

#include "base/reason.h"
#include "io/engine.h"
#include "serve/dataset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEYS_PATIENCE_MS = 50, KEYS_LENGTH_MAX = 512 };

struct keys {
	const char *cache_folder;
	struct io_engine *engine; /* NULL: every shard is on this machine */
	struct { /* the thread's while it is under way */
		const struct dataset *dataset;
		uint32_t shard;
		uint64_t in_shard, offset;
		char key[KEYS_LENGTH_MAX];
	} wanted;
};

/* After the datasets are open. cache_folder: as dataset_key's. 0 or -errno with the reason. */
int keys_init(struct keys *k, const struct dataset *datasets, unsigned n_datasets, const char *cache_folder,
	      struct reason *why);
/* Waits for the thread. */
void keys_deinit(struct keys *k);
/* As dataset_key; n_key: KEYS_LENGTH_MAX at most. false: it cannot be had, or not now. */
bool keys_find(struct keys *k, const struct dataset *dataset, uint32_t shard, uint64_t in_shard, char *ret_key,
	       size_t n_key, uint64_t *ret_offset);

#endif
