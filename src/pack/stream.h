/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A compressed file read from front to end, as one stream of raw bytes, whatever its frames are; every
 * checksum is looked at on the way.
 *
 * Threads: one caller.
 */
#ifndef PACK_STREAM_H
#define PACK_STREAM_H

#include "base/reason.h"

#include "shard/unpack.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
	int fd;
	struct unpack *unpack;
	uint8_t *packed;
	size_t n_packed, packed_at; /* in the buffer: filled, and used */
	uint64_t file_at;
	bool is_file_over, has_more; /* has_more: raw bytes that found no room */
	uint8_t *bytes; /* raw, from base on */
	size_t n_bytes, room;
	uint64_t base;
};

/* fd is borrowed. 0 or -errno. */
int stream_init(struct stream *s, int fd, enum packing packing);
void stream_deinit(struct stream *s);
/* Points to the n bytes at that place, fewer only at the end; offsets must not go back. 0,
 * PACK_E_REFUSED with the reason (damaged, cut short), or -errno. */
int stream_view(struct stream *s, uint64_t offset, size_t n, const uint8_t **ret_bytes, size_t *ret_n,
		struct reason *why);

#endif
