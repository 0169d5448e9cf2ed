/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * From config and datasets to numbers: workers, staging, slots, and the memory plan that has a line for
 * each. What `plan` prints and what `serve` then does are the same call.
 *
 * Threads: any. Looks at the machine, changes nothing.
 */
#ifndef SERVE_PLANNING_H
#define SERVE_PLANNING_H

#include "base/reason.h"
#include "batch/layout.h"
#include "batch/plan.h"
#include "config/config.h"
#include "core/core.h"
#include "serve/dataset.h"
#include "serve/inflating.h"

enum {
	STREAMS_MAX = 64,	/* sessions attached at once */
	AHEAD_MAX = 16384,	/* samples read ahead of their slot */
	READS_IN_FLIGHT = 32,
	SCRATCH_BYTES = 8 << 20, /* of each worker */
	PLANNING_E_REFUSED = 1,
};

struct planning {
	struct plan plan;
	unsigned n_workers;
	uint64_t staging_bytes;
	struct inflating *inflating; /* of each feed */
	uint64_t read_bytes, inflated_bytes; /* the two parts of the area */
	struct core_feed *core_feeds;	 /* as the core wants them, pools included */
	struct slot_layout *layouts;
	struct core_spec spec;
	char workers_text[500]; /* where the number of workers comes from */
};

/* datasets: of each feed; a view's place is not looked at. 0; PLANNING_E_REFUSED with the one sentence (the plan's lines then show the least); or -errno. */
int planning_make(const struct config *config, const struct dataset *datasets, struct planning *ret,
		  struct reason *why);
void planning_deinit(struct planning *p);

#endif
