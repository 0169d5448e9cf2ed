/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A shard as zstd frames of whole samples, with a seek table in a skippable frame at the end: any zstd
 * reads it as one stream, and who knows the table reads any place of it. Samples too large for a frame
 * begin one, and fill several.
 *
 * Threads: one caller.
 */
#ifndef PACK_SQUEEZE_H
#define PACK_SQUEEZE_H

#include "shard/index.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	SQUEEZE_FRAME = 256 << 10, /* bytes after which a frame ends with its sample */
	SQUEEZE_MOST = 4 << 20,	   /* of a frame, before compression, but for what one call brings */
};

struct squeeze_entry;

struct squeeze {
	void *context;	/* libzstd's */
	uint8_t *raw;	/* the frame in hand */
	uint8_t *packed;
	size_t n_raw, raw_room, packed_room;
	size_t n_raw_before, n_frames_before; /* when the sample in hand began */
	struct squeeze_entry *frames;
	size_t n_frames, frames_room;
};

/* 0 or -errno, as all below. */
int squeeze_init(struct squeeze *s);
void squeeze_deinit(struct squeeze *s);
int squeeze_put(struct squeeze *s, const struct iovec *pieces, int n);
/* Ends the frame in hand; *ret are its compressed bytes (none if it is empty), valid until the next call. */
int squeeze_end_frame(struct squeeze *s, struct iovec *ret);
/* The seek table. */
int squeeze_table(struct squeeze *s, struct iovec *ret);

/* The frames so far, as an index has them, to be freed. */
int squeeze_frames(const struct squeeze *s, struct shard_frame **ret, uint64_t *ret_n);

/* libzstd's, as other versions may give other bytes. */
unsigned squeeze_version(void);

#endif
