/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* How long something took, counted in buckets of growing width. Threads: one. */
#ifndef WATCH_LATENCY_H
#define WATCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_BUCKETS = 16 }; /* the last one has no end */

struct latency {
	uint64_t counts[LATENCY_BUCKETS], sum_ns;
};

void latency_add(struct latency *l, uint64_t ns);
/* The end of bucket i as it is written, in seconds: "0.0005", "+Inf". */
const char *latency_end(unsigned i);

#endif
