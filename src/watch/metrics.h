/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The counters in Prometheus' text format 0.0.4, from the table metrics.def. */
#ifndef WATCH_METRICS_H
#define WATCH_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct snapshot;
struct text;

/* The whole page. Threads: any. */
void metrics_write(const struct snapshot *s, struct text *to);

/* The i-th row of the table, for the documentation; false past the last. Threads: any. */
struct metric_text {
	const char *type, *name, *labels, *help; /* labels: "feed, cause", or "" */
};
bool metric_text(size_t i, struct metric_text *ret);

#endif
