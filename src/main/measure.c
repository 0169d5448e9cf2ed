/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Everything is read from /proc. */
#include "main/measure.h"

#include "serve/footprint.h"
#include "watch/at.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLE_S 0.05

void measure_init(struct measure *m, const json_t *status)
{
	const json_t *worker;
	size_t i;

	m->core = (pid_t)at_number(status, "pid");
	m->parent = (pid_t)at_number(status, "clean_parent_pid");
	json_array_foreach(at(status, "workers"), i, worker)
		if (m->n_workers < MEASURE_PIDS)
			m->workers[m->n_workers++] = (pid_t)at_number(worker, "pid");
}

static uint64_t memfds(pid_t pid)
{
	char folder[32], path[320], target[64];
	const struct dirent *e;
	uint64_t n = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)pid);
	dir = opendir(folder);
	while (dir && (e = readdir(dir))) {
		struct stat st;
		ssize_t got;

		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		got = readlink(path, target, sizeof(target) - 1);
		if (got <= 0)
			continue;
		target[got] = 0;
		if (strncmp(target, "/memfd:ringfeed-", 16) == 0 && stat(path, &st) == 0)
			n += (uint64_t)st.st_blocks * 512;
	}
	if (dir)
		closedir(dir);
	return n;
}

void measure_memory(struct measure *m, double now_s)
{
	uint64_t n;

	if (now_s - m->last < SAMPLE_S)
		return;
	m->last = now_s;
	n = memfds(m->core) + footprint_private(m->core) + footprint_private(m->parent);
	for (unsigned i = 0; i < m->n_workers; i++)
		n += footprint_private(m->workers[i]);
	if (n > m->peak_bytes)
		m->peak_bytes = n;
}

struct measure_cpu measure_cpu(const struct measure *m)
{
	struct measure_cpu cpu = {.core = (double)footprint_cpu(m->core) / 1e9,
				  .workers = (double)footprint_cpu_with_reaped(m->parent) / 1e9};

	for (unsigned i = 0; i < m->n_workers; i++)
		cpu.workers += (double)footprint_cpu(m->workers[i]) / 1e9;
	return cpu;
}
