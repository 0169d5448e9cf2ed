/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The first 128 bytes of a saved index (proto/index.md), and how its hash is made. Private to the room. */
#ifndef SHARD_SAVED_H
#define SHARD_SAVED_H

#include "shard/index.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { SAVED_VERSION = 2 };

struct saved_header {
	char magic[8];
	uint32_t version, n_header_bytes;
	uint64_t file_size, mtime_ns; /* of the shard */
	uint64_t n_samples, n_members, n_text;
	uint64_t places_hash;
	uint64_t trailing_offset, trailing_bytes;
	uint64_t n_skipped;
	uint32_t flags; /* 1: unterminated */
	uint32_t packing;
	uint64_t content_hash;
	uint64_t raw_size, n_frames;
	uint64_t header_hash; /* of the bytes in front of it */
};

/* XXH64 of the (payload offset, size) pairs in order. */
uint64_t index_places_hash(const struct index_member *members, uint64_t n_members);
uint64_t saved_mtime_ns(const struct stat *st);
/* Whether it is of this version, undamaged, of that shard (st NULL: any), and its numbers add up to
 * n_bytes. */
bool saved_header_is_good(const struct saved_header *h, uint64_t n_bytes, const struct stat *st);

#endif
