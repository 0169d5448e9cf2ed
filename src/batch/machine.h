/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the machine lets this process have: memory (the limits of its cgroup and every ancestor, and
 * MemAvailable) and CPUs (its affinity, and the quotas of the same cgroups). The tightest counts,
 * and has a name.
 *
 * Threads: any. Reads files, changes nothing.
 */
#ifndef BATCH_MACHINE_H
#define BATCH_MACHINE_H

#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MACHINE_E_TOO_SMALL = 1 };

struct machine_limit {
	uint64_t n;	/* bytes or CPUs; UINT64_MAX: no limit was found */
	char name[400]; /* "memory.max of cgroup /system.slice/job", "MemAvailable", "CPU affinity"
			 */
};

/* The tightest limit of memory. root: put before every path, "" but in tests. */
void machine_memory(const char *root, struct machine_limit *ret);
/* How many CPUs may be used, quotas rounded up; n_affinity: how many the process may run on
 * (machine_affinity). */
void machine_cpus(const char *root, unsigned n_affinity, struct machine_limit *ret);
/* How many CPUs the process may run on, of those that are wanted: a bit each, no bit: all. */
unsigned machine_affinity(const uint64_t *wanted, size_t n_words);
/* From now on the process, its threads to come and its children run on these alone. false: there are none. */
bool machine_stay_on(const uint64_t *wanted, size_t n_words);

/* Does n_bytes fit into the limit? 0, or MACHINE_E_TOO_SMALL with the sentence. */
int machine_check_memory(const struct machine_limit *limit, uint64_t n_bytes, struct reason *why);

#endif
