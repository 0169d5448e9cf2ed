/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Limits are files of a cgroup and of each of its ancestors: any of them can be the one that kills.
 * What cannot be read or parsed is no limit; version 1 writes "unlimited" as a number near 2^63.
 */
#include "batch/machine.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch/cgroup.h"
#include "batch/plan.h"

enum { LINE = 128 };

#define UNLIMITED_FROM ((uint64_t)1 << 60)

static bool parse(const char *text, char **end, uint64_t *ret)
{
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, end, 10);
	return errno == 0;
}

static void tighten(struct machine_limit *l, uint64_t n, const char *file, const struct cgroup *g)
{
	if (n >= l->n)
		return;
	l->n = n;
	snprintf(l->name, sizeof(l->name), "%s of cgroup %.300s", file, g->path[0] ? g->path : "/");
}

static void look_memory(const struct cgroup *g, struct machine_limit *l)
{
	static const char *const files[2][2] = {{"memory.limit_in_bytes", NULL},
						{"memory.max", "memory.high"}};
	char line[LINE], *end;
	uint64_t n;

	for (int i = 0; i < 2; i++) {
		const char *file = files[g->version - 1][i];

		if (file && cgroup_read(g, file, line, sizeof(line)) && parse(line, &end, &n) &&
		    *end == 0 && n < UNLIMITED_FROM)
			tighten(l, n, file, g);
	}
}

static void look_available(const char *root, struct machine_limit *l)
{
	char path[PATH_MAX], line[LINE];
	unsigned long long kib;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1 &&
		    kib < UNLIMITED_FROM / 1024 && kib * 1024 < l->n) {
			l->n = kib * 1024;
			snprintf(l->name, sizeof(l->name), "MemAvailable");
		}
	if (file)
		fclose(file);
}

void machine_memory(const char *root, struct machine_limit *ret)
{
	struct cgroup g;

	*ret = (struct machine_limit){.n = UINT64_MAX};
	if (cgroup_find(root, "memory", &g))
		do {
			look_memory(&g, ret);
		} while (cgroup_up(&g));
	look_available(root, ret);
}

/* "150000 100000" or "max 100000"; version 1 has two files and -1 for no quota. */
static void look_cpus(const struct cgroup *g, struct machine_limit *l)
{
	const char *file = g->version == 2 ? "cpu.max" : "cpu.cfs_quota_us";
	char line[LINE], *end;
	uint64_t quota, period;

	if (!cgroup_read(g, file, line, sizeof(line)) || !parse(line, &end, &quota))
		return;
	if (g->version == 1) {
		if (*end != 0 || !cgroup_read(g, "cpu.cfs_period_us", line, sizeof(line)))
			return;
		end = line;
	} else if (*end++ != ' ') {
		return;
	}
	if (!parse(end, &end, &period) || *end != 0 || quota == 0 || period == 0)
		return;
	tighten(l, quota / period + (quota % period != 0), file, g);
}

void machine_cpus(const char *root, unsigned n_affinity, struct machine_limit *ret)
{
	struct cgroup g;

	*ret = (struct machine_limit){.n = n_affinity, .name = "CPU affinity"};
	if (cgroup_find(root, "cpu", &g))
		do {
			look_cpus(&g, ret);
		} while (cgroup_up(&g));
}

static bool is_wanted(const uint64_t *wanted, size_t n_words, unsigned cpu)
{
	bool is_any = true;

	for (size_t i = 0; i < n_words; i++)
		is_any = is_any && wanted[i] == 0;
	return is_any || (cpu / 64 < n_words && wanted[cpu / 64] >> cpu % 64 & 1);
}

/* Takes from the set what is not wanted; how many are left. */
static unsigned narrow(cpu_set_t *set, unsigned n_cpus, const uint64_t *wanted, size_t n_words)
{
	const size_t n_bytes = CPU_ALLOC_SIZE(n_cpus);

	for (unsigned i = 0; i < n_cpus; i++)
		if (!is_wanted(wanted, n_words, i))
			CPU_CLR_S(i, n_bytes, set);
	return (unsigned)CPU_COUNT_S(n_bytes, set);
}

/* A fixed set holds 1024 CPUs; larger machines answer EINVAL until the set is large enough. */
static unsigned affinity(const uint64_t *wanted, size_t n_words, bool is_set)
{
	for (unsigned n_cpus = CPU_SETSIZE; n_cpus <= 1u << 20; n_cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(n_cpus);
		const size_t n_bytes = CPU_ALLOC_SIZE(n_cpus);
		const bool is_known = set && sched_getaffinity(0, n_bytes, set) == 0;
		unsigned n = is_known ? narrow(set, n_cpus, wanted, n_words) : 0;

		if (is_set && n > 0 && sched_setaffinity(0, n_bytes, set) < 0)
			n = 0;
		CPU_FREE(set);
		if (is_known)
			return n;
	}
	return 0;
}

unsigned machine_affinity(const uint64_t *wanted, size_t n_words)
{
	return affinity(wanted, n_words, false);
}

bool machine_stay_on(const uint64_t *wanted, size_t n_words)
{
	return affinity(wanted, n_words, true) > 0;
}

int machine_check_memory(const struct machine_limit *limit, uint64_t n_bytes, struct reason *why)
{
	char need[32], have[32];

	if (n_bytes <= limit->n)
		return 0;
	plan_bytes_print(n_bytes, need, sizeof(need));
	plan_bytes_print(limit->n, have, sizeof(have));
	reason_set(why,
		   "daemon.memory: the plan takes %s, but this machine gives %s (%s): set "
		   "daemon.memory to "
		   "%lluMiB or less, or raise that limit",
		   need, have, limit->name, (unsigned long long)(limit->n >> 20));
	return MACHINE_E_TOO_SMALL;
}
