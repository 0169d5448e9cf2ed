/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What happened of late: counters noted once a second for the last ten, so that rates and what limits them
 * are those of now and not of the whole run. One loop thread owns it.
 */
#ifndef WATCH_TREND_H
#define WATCH_TREND_H

#include "watch/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

enum { TREND_NOTES = 11 };

struct trend_counts {
	uint64_t n_samples, n_batches;
	uint64_t waits_ns[SNAPSHOT_WAITS];
};

struct trend {
	uint64_t at_ns[TREND_NOTES], workers_ns[TREND_NOTES];
	struct trend_counts *feeds; /* TREND_NOTES for each feed */
	unsigned n, next;	    /* notes there are; where the next one goes */
};

int trend_init(struct trend *t, unsigned n_feeds);
void trend_deinit(struct trend *t);
/* A second has passed since the last note. */
bool trend_is_due(const struct trend *t, uint64_t now_ns);
/* Takes the time, the workers' CPU time, and the feeds' batches and lent. */
void trend_note(struct trend *t, const struct snapshot *s);
/* Fills in each feed's trend from what else the snapshot holds. */
void trend_tell(const struct trend *t, struct snapshot *s);

#endif
