/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Indexes of many shards: loaded where they are saved, taken from a DALI .idx where one fits, else
 * scanned, several shards at once through a reader engine, and saved.
 *
 * Threads: the caller's; the engine lives only as long as the call.
 */
#ifndef SERVE_INDEXING_H
#define SERVE_INDEXING_H

#include "base/reason.h"
#include "io/engine.h"
#include "io/file.h"
#include "shard/index.h"

#include <stdbool.h>
#include <stddef.h>

enum index_source { INDEX_SAVED, INDEX_DALI, INDEX_SCANNED };

struct indexing {
	enum io_kind io;
	bool is_direct;		  /* read past the page cache */
	bool is_forced;		  /* scan even where a saved index fits */
	bool has_progress;	  /* a line on stderr while it takes long */
	const char *cache_folder; /* or NULL */
	void *context;
	/* Each shard in listed order; file: as it was found, closed again. What it returns (not 0) ends the run. */
	int (*on_index)(void *context, size_t i, const char *path, const struct io_file *file,
			const struct shard_index *index, enum index_source source, struct reason *why);
	/* Each shard that is refused; NULL: the first one ends the run. */
	void (*on_refused)(void *context, size_t i, const char *path, const struct reason *why);
};

/* 0; INDEX_E_REFUSED with the reason of the first refused shard; what on_index returned; or -errno. */
int index_shards(const struct indexing *how, char *const *paths, size_t n_paths, struct reason *why);

#endif
