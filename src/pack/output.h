/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One shard on its way to disk: written under NAME.tar.part, renamed when it is whole and synced, with its
 * index beside it. A sample that fails half-way is taken back.
 *
 * Threads: one caller.
 */
#ifndef PACK_OUTPUT_H
#define PACK_OUTPUT_H

#include "base/hash.h"
#include "pack/catalog.h"
#include "pack/manifest.h"
#include "shard/index.h"

#include <stdint.h>
#include <sys/uio.h>

struct output {
	const char *folder;
	int folder_fd, fd;
	char name[SHARD_NAME_BYTES], part_name[SHARD_NAME_BYTES];
	uint64_t at, sample_at; /* bytes written; where the sample in hand begins */
	XXH64_state_t hash, sample_hash;
	struct index_builder *index;
};

/* 0 or -errno, as all below. */
int output_begin(struct output *o, const char *folder, int folder_fd, const char *name, size_t number);
void output_begin_sample(struct output *o);
int output_put(struct output *o, struct iovec *pieces, int n);
int output_drop_sample(struct output *o);
/* The sample stands as its parts say, then its label. */
int output_end_sample(struct output *o, const struct catalog *c, const struct catalog_sample *s);
/* Gives the shard its name. */
int output_finish(struct output *o, uint64_t *ret_n_bytes, uint64_t *ret_hash);
/* Removes what was written, if anything. */
void output_abandon(struct output *o);

#endif
