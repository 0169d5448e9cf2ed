/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One frame (a zstd frame, a gzip member) at a time, inflated piece by piece with its checks. Two forms: into
 * the frame's whole place, without a window of its own and without allocating after decoder_init; or, to read
 * a file of unknown frames from front to back, into any room, with whatever window the frame wants (zstd: up to
 * 128 MiB). Private to the room; inflate.h and unpack.h are the ways in.
 *
 * Threads: one caller at a time per decoder.
 */
#ifndef SHARD_FRAME_H
#define SHARD_FRAME_H

#include "base/hash.h"
#include "base/reason.h"
#include "shard/index.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

enum {
	DECODER_E_DAMAGED = 1,
	DECODER_GZIP_ROOM = 48 << 10, /* what zlib takes to inflate: its state and 32 KiB */
};

struct decoder {
	enum packing packing; /* of the frame in hand */
	void *zstd;	      /* libzstd's context, in workspace where that is not NULL */
	void *workspace;
	z_stream gzip;
	bool has_gzip;
	uint64_t *gzip_room; /* zlib allocates from here */
	size_t n_gzip_room;

	uint64_t n_in, n_raw; /* of the frame in hand so far */
	uint8_t *into;	      /* its whole place, or NULL */
	uint64_t room;
	bool is_hashed;
	uint8_t descriptor; /* of a zstd frame: bit 2 says that its checksum follows */
	uint8_t tail[4];    /* the last bytes taken */
	XXH64_state_t hash;
};

/* What is still to be taken and to be filled; decoder_run moves both on. */
struct decoder_io {
	const uint8_t *in;
	uint8_t *out; /* unused where the frame has its place */
	size_t n_in, n_out;
};

/* For zstd and gzip both. 0 or -errno. */
int decoder_init(struct decoder *d, bool is_whole);
void decoder_deinit(struct decoder *d);
/* A frame begins. Whole form: its n_raw bytes go into that place; else NULL and 0. is_hashed: its XXH64 is wanted
 * (decoder_hash) also where the frame itself has none. */
void decoder_begin(struct decoder *d, enum packing packing, void *into, uint64_t n_raw, bool is_hashed);
/* Goes on as far as there are bytes and room. *ret_is_over: the frame has ended, its own checksum is right.
 * 0, or DECODER_E_DAMAGED with what is wrong. */
int decoder_run(struct decoder *d, struct decoder_io *io, bool *ret_is_over, struct reason *why);
/* The low half of the XXH64 of the raw bytes of a frame that is over. */
uint32_t decoder_hash(const struct decoder *d);

#endif
