/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * verify: reads every byte of shards and says what is wrong with them. Headers and their checksums by the
 * same scanner that feeds use; images decoded whole, cls members read as integers, json members parsed; the
 * hash of the whole shard where a manifest of pack beside it has one, as a tar itself has no checksum of
 * what its members hold.
 *
 * Threads: one caller, who must have no other threads: processes are forked. An image that kills its
 * process is a fault like any other, and costs nothing else.
 */
#ifndef PACK_VERIFY_H
#define PACK_VERIFY_H

#include "base/pipeline.h"
#include "base/reason.h"
#include "pack/catalog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERIFY_SHARD UINT64_MAX /* in the place of a sample: the shard itself */

struct verify_fault {
	uint64_t shard;	 /* its place in the list */
	uint64_t sample; /* its place in the shard, or VERIFY_SHARD */
	uint64_t offset; /* of the member's header, or where the shard's trouble begins */
	bool is_warning; /* it decodes, but libjpeg had something to say */
	char key[256], extension[EXTENSION_MAX], cause[32], detail[300];
};

struct verify_progress {
	uint64_t n_samples, n_samples_all, n_bytes, n_bytes_all;
};

struct verify_options {
	char *const *paths;
	size_t n_paths;
	unsigned n_processes;
	struct limits limits;
	void *context;
	void (*on_progress)(void *context, const struct verify_progress *now);
	bool (*is_stopped)(void *context);
};

struct verify_result {
	uint64_t n_shards, n_samples, n_members, n_bytes;
	uint64_t n_bad_shards, n_bad_samples, n_warned;
	uint64_t n_hashed; /* shards whose whole hash was compared */
	struct verify_fault *faults; /* in order of shard, sample, offset */
	size_t n_faults;
};

/* 0, PACK_E_STOPPED (what was found so far is in *ret), or -errno. */
int verify_run(const struct verify_options *options, struct verify_result *ret);
void verify_result_deinit(struct verify_result *r);

#endif
