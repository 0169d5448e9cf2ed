/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A daemon measured from outside: CPU seconds, and memory as the README defines it (private memory
 * of core, clean parent and workers, and what is resident of every memfd, each once).
 */
#ifndef MAIN_MEASURE_H
#define MAIN_MEASURE_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

enum { MEASURE_PIDS = 1024 };

struct measure {
	pid_t core, parent;
	pid_t workers[MEASURE_PIDS];
	unsigned n_workers;
	uint64_t peak_bytes;
	double last; /* when memory was last sampled, s */
};

struct measure_cpu {
	double core, workers; /* s; workers: the clean parent and the dead ones included */
};

/* status: what the daemon says of itself. */
void measure_init(struct measure *m, const json_t *status);
/* Samples memory, at most every 50 ms. */
void measure_memory(struct measure *m, double now_s);
struct measure_cpu measure_cpu(const struct measure *m);

#endif
