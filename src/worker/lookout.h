/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who maps a slot. Private to the room.
 *
 * Threads: the clean parent's.
 */
#ifndef WORKER_LOOKOUT_H
#define WORKER_LOOKOUT_H

#include <stdbool.h>
#include <sys/types.h>

/* Processes that map the memory of that inode under a slot's name, but for those that is_ours names: as many as
 * there are, n at most. Reads /proc, as far as our uid may. */
unsigned lookout_find(unsigned long long inode, bool (*is_ours)(void *context, pid_t pid), void *context, pid_t *pids,
		      unsigned n);

#endif
