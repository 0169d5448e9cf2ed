/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The clean parent: a process forked from the daemon before any thread or ring exists, from which
 * all workers are forked. It does nothing else than fork, kill and reap, as told over one socket,
 * and look up in /proc who maps a slot, which the core's own sandbox forbids.
 * It and its workers die with the daemon, however that dies.
 */
#ifndef WORKER_PARENT_H
#define WORKER_PARENT_H

#include "worker/worker.h"

#include <sys/types.h>

struct parent {
	pid_t pid;
	int fd; /* SEQPACKET; readable when a struct parent_news waits */
};

enum parent_news_kind { PARENT_STARTED, PARENT_ENDED, PARENT_NO_FORK, PARENT_HOLDERS };
enum { PARENT_HOLDERS_MAX = 8 };

struct parent_news {
	uint32_t kind, worker;
	int32_t pid, status; /* status: wait status (ENDED), errno (NO_FORK) */
	/* HOLDERS: the answer to parent_look() */
	uint64_t inode;
	uint32_t number, n_holders;
	int32_t holders[PARENT_HOLDERS_MAX];
};

/* Forks it. setup is inherited. 0 or -errno. */
int parent_start(const struct worker_setup *setup, unsigned n_workers, struct parent *ret);
/* Asks for worker number `worker`; the core's end of its channel comes back. 0 or -errno. */
int parent_spawn(const struct parent *p, unsigned worker, int *ret_channel);
/* Asks for its SIGKILL. 0 or -errno. */
int parent_kill(const struct parent *p, unsigned worker);
/* Asks who maps the slot of that inode, other than the daemon's own; PARENT_HOLDERS comes back with the number.
 * 0 or -errno. */
int parent_look(const struct parent *p, uint32_t number, uint64_t inode);
/* Takes one piece of news without waiting: 0, -EAGAIN, or -ECONNRESET when the clean parent is dead. */
int parent_listen(const struct parent *p, struct parent_news *ret);
/* Hangs up and waits: workers and parent are gone afterwards. */
void parent_end(struct parent *p);

#endif
