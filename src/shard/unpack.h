/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A compressed shard read from front to back: its bytes in, raw bytes out, its frames noted on the way. Every
 * checksum is looked at: of zstd frames, of gzip members, and of a seek table at the end (zstd's seekable
 * format), which must also name the very frames that were found. What is neither a frame, nor a skippable one, nor
 * zeros behind gzip members is refused.
 *
 * Memory: the window that a frame asks for, at most 128 MiB (zstd) or 32 KiB (gzip), and 40 bytes a frame.
 *
 * Threads: one caller at a time per unpack.
 */
#ifndef SHARD_UNPACK_H
#define SHARD_UNPACK_H

#include "base/reason.h"
#include "shard/index.h"

#include <stddef.h>
#include <stdint.h>

enum { UNPACK_E_REFUSED = 1 };

enum { PACKING_MAGIC = 4 };
/* How a file is compressed, by its first PACKING_MAGIC bytes. */
enum packing packing_of(const void *bytes, size_t n);

struct unpack;

/* What is still to be taken and to be filled; unpack_run moves both on. */
struct unpack_io {
	const uint8_t *in;
	uint8_t *out;
	size_t n_in, n_out;
};

/* The path is for reasons. 0 or -errno. */
int unpack_new(const char *path, enum packing packing, uint64_t file_size, struct unpack **ret);
struct unpack *unpack_free(struct unpack *u);
/* Goes on until in is used up, and there is room left (all of it has come out), or there is no room left (call again
 * with some). 0, UNPACK_E_REFUSED with the reason ("PATH, offset N: …", of the file), or -errno. */
int unpack_run(struct unpack *u, struct unpack_io *io, struct reason *why);
/* After the file's last byte: does it end where it may? 0 or UNPACK_E_REFUSED. */
int unpack_end(struct unpack *u, struct reason *why);
/* Raw bytes so far. */
uint64_t unpack_raw_size(const struct unpack *u);
/* After unpack_end: hands the frames that hold any byte over, to be freed. *ret may be NULL for none. */
void unpack_take_frames(struct unpack *u, struct shard_frame **ret, uint64_t *ret_n);

#endif
