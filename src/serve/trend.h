/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What happened of late: counters noted once a second for the last ten, so that rates and what limits them
 * are those of now and not of the whole run. One loop thread owns it.
 */
#ifndef SERVE_TREND_H
#define SERVE_TREND_H

#include "core/core.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon;

enum { TREND_NOTES = 11 };

struct trend_counts {
	uint64_t n_samples, n_batches;
	uint64_t waits_ns[CORE_WAITS];
};

struct trend {
	uint64_t at_ns[TREND_NOTES], workers_ns[TREND_NOTES];
	struct trend_counts *feeds; /* TREND_NOTES for each feed */
	unsigned n, next;	    /* notes there are; where the next one goes */
};

/* Of one feed over the last seconds. */
struct trend_view {
	double seconds; /* looked at; 0: the daemon has just started */
	double samples_per_second, batches_per_second;
	char limit[300]; /* what sets the rate, in a sentence */
};

int trend_init(struct trend *t, unsigned n_feeds);
void trend_deinit(struct trend *t);
/* Notes the counters when a second has passed. */
void trend_time(struct daemon *d);
void trend_feed(struct daemon *d, unsigned feed, struct trend_view *ret);
/* CPU time of the workers so far, the dead ones and the clean parent included. */
uint64_t trend_workers_cpu(const struct daemon *d);

#endif
