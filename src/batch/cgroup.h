/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where this process's cgroup and its ancestors lie, version 1 and 2, seen from inside a container
 * or not: /proc/self/cgroup says which, /proc/self/mountinfo where.
 *
 * Threads: any.
 */
#ifndef BATCH_CGROUP_H
#define BATCH_CGROUP_H

#include <limits.h>
#include <stdbool.h>

struct cgroup {
	char mount[PATH_MAX]; /* of the hierarchy, with the root in front */
	char path[PATH_MAX];  /* below the mount: "/a/b", or "" at its top */
	int version;	      /* 1 or 2 */
};

/* The cgroup that a controller ("memory", "cpu") puts this process in: of version 1 where the
 * controller is mounted so, else of version 2. root: put before every path, "" but in tests. False:
 * there is none. */
bool cgroup_find(const char *root, const char *controller, struct cgroup *ret);
/* Moves to the parent; false at the top. */
bool cgroup_up(struct cgroup *g);
/* Reads the first line of one of its files, without the newline; false: no such file. */
bool cgroup_read(const struct cgroup *g, const char *file, char *line, int n_line);

#endif
