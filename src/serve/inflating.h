/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * How much memory a feed's inflated units need, and what can be done where that is too much.
 *
 * Small units (up to 4 MiB) are inflated when they are due, as staging is read. Large ones, whole shards mostly,
 * must stay until the order has done with them: as many as a window of each part can touch.
 *
 * Threads: any; nothing here has state.
 */
#ifndef SERVE_INFLATING_H
#define SERVE_INFLATING_H

#include "base/reason.h"
#include "config/config.h"
#include "core/core.h"

enum { INFLATING_E_REFUSED = 1 };

/* Does the order suit the units? 0, or INFLATING_E_REFUSED with the reason and the cure. */
int inflating_check(const struct config_feed *feed, const struct samples *samples, struct reason *why);

struct inflating {
	uint64_t least, wished; /* bytes, whole pages; 0: no shard is compressed */
	uint64_t n_units;	/* large ones at once in the least; 0: they are small */
};
/* 0 or -errno. */
int inflating_room(const struct config *config, const struct config_feed *feed, const struct samples *samples,
		   struct inflating *ret);
/* Adds to a refusal of too little memory what would need less. */
void inflating_advise(const struct config_feed *feed, const struct inflating *room, struct reason *why);

/* Raw bytes inflated for a sample of which nothing is there yet, on average. */
double inflating_per_sample(const struct samples *samples);

#endif
