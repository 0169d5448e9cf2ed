/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Writes a tar archive (ustar) member by member, the way WebDataset wants its shards. Equal members
 * give equal bytes: owner, mode and time are fixed.
 *
 * Threads: one per archive.
 */
#ifndef DEMO_PICTURES_TAR_H
#define DEMO_PICTURES_TAR_H

#include <stddef.h>

struct tar;

/* All return 0 or -errno. name: at most 99 bytes. */
int tar_open(const char *path, struct tar **ret);
int tar_add(struct tar *t, const char *name, const void *data, size_t n);
/* Ends the archive; it is whole on disk only if this returned 0. */
int tar_finish(struct tar *t);
struct tar *tar_free(struct tar *t);

#endif
