/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One shard on its way to disk: written under NAME.tar.part, renamed when it is whole and synced, with its
 * index beside it, unless it is compressed. A sample that fails half-way is taken back.
 *
 * Threads: one caller.
 */
#ifndef PACK_OUTPUT_H
#define PACK_OUTPUT_H

#include "base/hash.h"
#include "pack/manifest.h"
#include "pack/squeeze.h"
#include "pack/ustar.h"
#include "shard/index.h"

#include <stdint.h>
#include <sys/uio.h>

struct output {
	const char *folder;
	int folder_fd, fd;
	char name[SHARD_NAME_BYTES], part_name[SHARD_NAME_BYTES];
	uint64_t at, sample_at;	     /* in the tar; where the sample in hand begins */
	uint64_t file_at, sample_file_at; /* in the file: the same, unless it is compressed */
	XXH64_state_t hash, sample_hash;  /* of the file */
	bool is_squeezed;
	struct squeeze squeeze;
	struct index_builder *index;
	struct output_member *members; /* of the sample in hand */
	size_t n_members, members_room;
};

struct output_place {
	const char *folder, *name;
	int folder_fd;
	size_t number;
	bool is_squeezed; /* .tar.zst */
};

/* 0 or -errno, as all below. */
int output_begin(struct output *o, const struct output_place *place);
/* n_bytes: what it will have, headers and all. */
int output_begin_sample(struct output *o, uint64_t n_bytes);
/* Makes the header of the sample's next member, which must be put, and the payload behind it. */
int output_member(struct output *o, const char *name, uint64_t size, uint8_t header[USTAR_BLOCK]);
int output_put(struct output *o, struct iovec *pieces, int n);
int output_drop_sample(struct output *o);
int output_end_sample(struct output *o);
/* Gives the shard its name. */
int output_finish(struct output *o, uint64_t *ret_n_bytes, uint64_t *ret_hash);
/* Removes what was written, if anything. */
void output_abandon(struct output *o);

#endif
