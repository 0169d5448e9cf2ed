/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The clean parent: a process forked from the daemon before any thread or ring exists, from which
 * all workers are forked. It does nothing else than fork, kill and reap, as told over one socket.
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

enum parent_news_kind { PARENT_STARTED, PARENT_ENDED, PARENT_NO_FORK };

struct parent_news {
	uint32_t kind, worker;
	int32_t pid, status; /* status: wait status (ENDED), errno (NO_FORK) */
};

/* Forks it. setup is inherited. 0 or -errno. */
int parent_start(const struct worker_setup *setup, unsigned n_workers, struct parent *ret);
/* Asks for worker number `worker`; the core's end of its channel comes back. 0 or -errno. */
int parent_spawn(const struct parent *p, unsigned worker, int *ret_channel);
/* Asks for its SIGKILL. 0 or -errno. */
int parent_kill(const struct parent *p, unsigned worker);
/* Takes one piece of news without waiting: 0, -EAGAIN, or -ECONNRESET when the clean parent is dead. */
int parent_listen(const struct parent *p, struct parent_news *ret);
/* Hangs up and waits: workers and parent are gone afterwards. */
void parent_end(struct parent *p);

#endif
