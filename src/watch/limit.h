/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What sets the rate of a feed, and what would change it, in one sentence: the same one in `bench`, `status`,
 * `top` and on the status page.
 *
 * Threads: any; nothing here has state.
 */
#ifndef WATCH_LIMIT_H
#define WATCH_LIMIT_H

#include "watch/snapshot.h"

#include <stddef.h>

struct limit_view {
	const char *feed;
	double waits[SNAPSHOT_WAITS]; /* s that its trainers' next batches spent in each, over the time looked at */
	double busy;		  /* share of that time that a worker was on a CPU, 0 … 1 */
	unsigned n_workers, n_cpus;
};

/* Writes the sentence, without a full stop. Returns its length, as snprintf. */
int limit_sentence(const struct limit_view *v, char *text, size_t n_text);

#endif
