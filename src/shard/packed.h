/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The scan of a compressed shard: all its bytes from front to back in, members out as tar_scan_feed gives them,
 * by their places in the inflated shard. At the end everything has been inflated once and found whole.
 *
 *	r = packed_scan_new(path, packing, st.st_size, &s);
 *	while (r == 0 && at < st.st_size)
 *		r = packed_scan_feed(s, bytes, n, on_member, context, &why);	// the next n bytes
 *	if (r == 0)
 *		r = packed_scan_end(s, on_member, context, builder, &why);
 *
 * Threads: one caller at a time per scan.
 */
#ifndef SHARD_PACKED_H
#define SHARD_PACKED_H

#include "shard/index.h"
#include "shard/tar.h"
#include "shard/unpack.h"

struct packed_scan;

int packed_scan_new(const char *path, enum packing packing, uint64_t file_size, struct packed_scan **ret);
struct packed_scan *packed_scan_free(struct packed_scan *s);
/* 0, TAR_E_REFUSED with the reason, -errno, or what on_member returned, if not 0. */
int packed_scan_feed(struct packed_scan *s, const void *bytes, size_t n_bytes,
		     int (*on_member)(void *context, const struct tar_member *m), void *context, struct reason *why);
/* After the last byte: what the scan has to say goes to the builder, frames included. 0 or as above. */
int packed_scan_end(struct packed_scan *s, int (*on_member)(void *context, const struct tar_member *m),
		    void *context, struct index_builder *builder, struct reason *why);

#endif
