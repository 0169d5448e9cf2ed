/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who keeps a quarantined slot: a process that outlived its trainer and still maps the slot's memfd (a
 * forked child, mostly). Found by inode in /proc/PID/maps of our uid's processes, once a second
 * while anything is quarantined.
 */
#include "serve/daemon.h"

#include "base/log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

static bool maps_inode(pid_t pid, unsigned long long inode)
{
	char path[64], line[512];
	bool is_found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && !is_found && fgets(line, sizeof(line), f)) {
		unsigned long long found;

		is_found = strstr(line, "ringfeed-slot") &&
			   sscanf(line, "%*s %*s %*s %*s %llu", &found) == 1 && found == inode;
	}
	if (f)
		fclose(f);
	return is_found;
}

static bool is_ours(const struct daemon *d, pid_t pid)
{
	if (pid == getpid() || pid == d->parent.pid)
		return true;
	for (unsigned i = 0; i < d->n_workers; i++)
		if (pid == d->helpers[i].pid)
			return true;
	return false;
}

static void find_holders(struct daemon *d, struct session *s, unsigned long long inode)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;

	s->n_holders = 0;
	while (proc && (e = readdir(proc)) && s->n_holders < CHILDREN_SHOWN) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && !is_ours(d, pid) && maps_inode(pid, inode))
			s->holders[s->n_holders++] = pid;
	}
	if (proc)
		closedir(proc);
}

void holders_look(struct daemon *d)
{
	if (d->now_ns < d->holders_ns)
		return;
	d->holders_ns = d->now_ns + SECOND_NS;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &d->sessions[i];
		struct core_stream_view v;
		uint32_t slot;
		struct stat st;

		if (s->state == SESSION_NONE || !s->has_stream)
			continue;
		core_view_stream(d->core, s->stream, &v);
		if (!v.n_quarantined || !core_stream_slots(d->core, s->stream, &slot, 1) ||
		    fstat(d->feeds[s->feed].pool.list[slot].fd, &st) < 0)
			continue;
		find_holders(d, s, st.st_ino);
		/* A process that is just ending is here for a moment; it is not worth a line. */
		if (s->n_looks++ == 1)
			log_warn("sessions", "%u slots of pid %d are quarantined: it is gone, but %d still maps them",
				 v.n_quarantined, s->pid, s->n_holders ? s->holders[0] : -1);
	}
}
