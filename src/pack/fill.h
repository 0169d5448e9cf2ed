/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reads all that the shards to be made consist of, many files at once through a reader engine, and writes
 * it in order. Memory: FILL_WINDOW pieces of at most 1 MiB, however large files are.
 *
 * Threads: the caller's; the engine lives only as long as the call.
 */
#ifndef PACK_FILL_H
#define PACK_FILL_H

#include "pack/manifest.h"
#include "pack/pack.h"

enum { FILL_WINDOW = 32, FILL_PIECE = 1 << 20 };

struct fill_job {
	const struct pack_options *how;
	const struct catalog *catalog;
	const struct shard_plans *plans;
	struct manifest *manifest;
	int folder_fd;
};

/* 0, PACK_E_STOPPED, PACK_E_REFUSED with the reason (the disk is full, say), or -errno. */
int fill_shards(const struct fill_job *job, struct pack_result *ret, struct reason *why);
/* The same with images made smaller, by how->n_processes processes. */
int fill_shards_shrunk(const struct fill_job *job, struct pack_result *ret, struct reason *why);

#endif
