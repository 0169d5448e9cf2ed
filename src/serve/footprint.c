/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* DESIGN's measure of memory: private memory of core, clean parent and workers, and what is resident of
 * every memfd, each once: these are touched at the start. The loop samples the cheap form ten times a second. */
#include "serve/footprint.h"

#include "serve/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_proc(pid_t pid, const char *file, char *text, size_t n_text)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, n_text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

uint64_t footprint_anonymous(pid_t pid)
{
	unsigned long long size, resident = 0, shared = 0;
	char text[128];

	if (!read_proc(pid, "statm", text, sizeof(text)) ||
	    sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3 || shared > resident)
		return 0;
	return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t kib_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

uint64_t footprint_private(pid_t pid)
{
	char text[4096];

	if (!read_proc(pid, "smaps_rollup", text, sizeof(text)))
		return 0;
	return kib_of(text, "\nPss_Anon:") + kib_of(text, "\nPss_File:");
}

/* Fields 14 and 15 of /proc/PID/stat, 16 and 17 with its reaped children's. */
static bool read_cpu(pid_t pid, unsigned long long ret_ticks[4])
{
	const char *behind;
	char text[1024];

	read_proc(pid, "stat", text, sizeof(text));
	behind = strrchr(text, ')');
	return behind && sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
				&ret_ticks[0], &ret_ticks[1], &ret_ticks[2], &ret_ticks[3]) == 4;
}

static uint64_t ns_of(unsigned long long ticks)
{
	return (uint64_t)ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

uint64_t footprint_cpu(pid_t pid)
{
	unsigned long long ticks[4];

	return read_cpu(pid, ticks) ? ns_of(ticks[0] + ticks[1]) : 0;
}

uint64_t footprint_cpu_with_reaped(pid_t pid)
{
	unsigned long long ticks[4];

	return read_cpu(pid, ticks) ? ns_of(ticks[0] + ticks[1] + ticks[2] + ticks[3]) : 0;
}

void footprint_sample(struct daemon *d)
{
	uint64_t n = footprint_anonymous(getpid()) + footprint_anonymous(d->parent.pid) + d->shared_bytes;

	for (unsigned i = 0; i < d->n_workers; i++)
		if (d->helpers[i].pid)
			n += footprint_anonymous(d->helpers[i].pid);
	d->resident_bytes = n;
	if (n > d->peak_bytes)
		d->peak_bytes = n;
}
