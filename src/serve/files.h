/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Open shards: a bounded number of descriptors, the longest unused closed first. Every read is checked
 * against the file's identity (device, inode, size, mtime of the index).
 *
 * Threads: the loop's.
 */
#ifndef SERVE_FILES_H
#define SERVE_FILES_H

#include "shard/samples.h"

#include <stdbool.h>
#include <stdint.h>

enum { FILES_E_CHANGED = 1 };

struct files;

/* room: most descriptors open at once. 0 or -errno. */
int files_new(unsigned room, struct files **ret);
struct files *files_free(struct files *f);
/* A descriptor of the shard for one read. 0, FILES_E_CHANGED, or -errno (what open said). */
int files_get(struct files *f, unsigned feed, const struct samples *samples, uint32_t shard,
	      bool is_direct, int *ret_fd, bool *ret_is_remote);
/* The read with that descriptor is over. true: the file is not the one of the index any more. */
bool files_put(struct files *f, int fd, const struct samples *samples, uint32_t shard);

#endif
