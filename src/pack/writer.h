/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Takes samples in their order, piece by piece, and makes shards and manifest of them; begins and finishes
 * shards where the plan says so.
 *
 * Threads: one caller.
 */
#ifndef PACK_WRITER_H
#define PACK_WRITER_H

#include "pack/fill.h"
#include "pack/output.h"

struct writer {
	const struct fill_job *job;
	struct pack_result *result;
	struct output output;
	char fault[300]; /* why the sample in hand is left out; "" if it is not */
	size_t shard, sample;
	size_t n_left_out, n_written; /* of the shard in hand */
};

struct writer_piece {
	const char *extension;
	uint64_t size, at; /* of the member, and where in it the piece lies */
	const uint8_t *bytes;
	uint32_t n;
	bool is_sample_end;
};

/* Counts in *ret what is there, in *progress what has to be done. */
void writer_init(struct writer *w, const struct fill_job *job, struct pack_result *ret,
		 struct pack_progress *progress);
/* Removes a shard that is not finished. r is how the work ended, and comes back: -errno of a shard that
 * could not be written as PACK_E_REFUSED with the reason. */
int writer_deinit(struct writer *w, int r, struct reason *why);
/* 0 or -errno, as below. */
int writer_begin_sample(struct writer *w, size_t shard, size_t sample);
/* fault: why the piece cannot be had, and so the sample is left out; else NULL. */
int writer_put(struct writer *w, const struct writer_piece *p, const char *fault);

#endif
