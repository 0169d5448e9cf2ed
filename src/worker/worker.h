/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A worker: one single-threaded process that takes tasks from its channel, makes the rows and answers.
 * Of the area it sees what was read read-only, and writes where units are inflated; it writes the slots of all
 * feeds; it has no other file than its channel and stderr, and once it is up it may make no
 * call but those of a task. It trusts the core's tasks and distrusts every byte of a sample.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/memory.h"
#include "base/pipeline.h"
#include "batch/layout.h"
#include "sandbox/sandbox.h"
#include "shard/samples.h"

#include <stddef.h>
#include <stdint.h>

struct worker_feed {
	const char *name;
	uint32_t base; /* the feed it is a view of, which comes before it; else its own number */
	const struct pipeline *pipeline;
	const struct samples *samples; /* for the paths of its shards */
	struct slot_layout layout;
	const struct memory *slots; /* of the feed's pool */
	uint32_t n_slots;
};

/* All a worker needs; inherited through fork, so plain pointers serve. */
struct worker_setup {
	const struct worker_feed *feeds;
	unsigned n_feeds;
	struct memory area;
	size_t read_bytes; /* of the area: the front part, that is read into; whole pages */
	size_t scratch_bytes;
	int nice; /* 0 … 19 */
	struct sandbox_means sandbox; /* what workers and their parent give up */
};

/* The packets of a channel are never longer. */
enum { WORKER_PACKET_MAX = 64 << 10 };

/* Runs until the channel hangs up; never returns. The first packet it sends says it is up. */
void worker_main(const struct worker_setup *setup, unsigned number, int channel)
	__attribute__((noreturn));

#endif
