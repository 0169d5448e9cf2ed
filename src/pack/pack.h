/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * pack: images and labels, or the samples of other tars, into shards NAME-000000.tar … in a folder, with
 * an index beside each, classes.txt and NAME-pack.jsonl, the manifest by which a pack that was cut short
 * goes on.
 *
 * What lies in which shard is settled before the first byte is read, by names, sizes and labels alone.
 * A shard gets its name when it is whole and on disk. The same source and options give the same bytes,
 * however often the pack was killed.
 *
 * Threads: one caller. Never logs; tells by callbacks.
 */
#ifndef PACK_PACK_H
#define PACK_PACK_H

#include "base/reason.h"
#include "pack/catalog.h"

#include <stdbool.h>
#include <stdint.h>

struct pack_progress {
	uint64_t n_samples, n_samples_all; /* of those that this run has to write */
	uint64_t n_bytes, n_bytes_all;	   /* read */
};

struct pack_options {
	const char *source, *folder, *name;
	const char *classes;	   /* a file with one class per line, or NULL: those found, sorted */
	uint64_t shard_bytes;	   /* at most, unless one sample is larger */
	uint64_t samples_per_shard; /* at most; 0: no limit */
	uint64_t shuffle;	   /* seed, or 0: sorted by key, lists and tars in their own order */
	uint32_t long_side;	   /* longer ones are resized to it and become JPEGs; 0: none are */
	unsigned n_processes;	   /* that resize */
	bool is_squeezed;	   /* zstd frames with a seek table; sizes are meant before that */
	bool is_forced;		   /* replace what another pack left under this name */
	void *context;
	void (*on_left_out)(void *context, const char *path, bool is_sample, const char *why);
	void (*on_progress)(void *context, const struct pack_progress *now);
	bool (*is_stopped)(void *context);
};

struct pack_result {
	uint64_t n_samples, n_bytes, n_shards; /* written by this run; n_bytes of shards */
	uint64_t n_samples_there, n_shards_there; /* finished before */
	uint64_t n_shards_all;
	uint64_t n_classes;
	bool has_labels;
};

/* 0; PACK_E_REFUSED with the reason; PACK_E_STOPPED: is_stopped said so, nothing half-written is left,
 * the same call goes on; or -errno. *ret is filled as far as it came. */
int pack_run(const struct pack_options *how, struct pack_result *ret, struct reason *why);

#endif
