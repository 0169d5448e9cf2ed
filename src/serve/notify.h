/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What systemd is told: that the daemon is ready, ends, and is alive.
 *
 * Threads: the loop's.
 */
#ifndef SERVE_NOTIFY_H
#define SERVE_NOTIFY_H

#include <stdint.h>

/* Sends the state to NOTIFY_SOCKET, if there is one. */
void notify_systemd(const char *state);

struct watchdog {
	uint64_t every_ns; /* 0: nobody waits to hear that we are alive */
	uint64_t fed_ns;
};

/* Takes WATCHDOG_USEC, unless WATCHDOG_PID is somebody else. */
void watchdog_init(struct watchdog *w);
/* When it is to be fed next, or UINT64_MAX. */
uint64_t watchdog_deadline(const struct watchdog *w);
/* A step of the loop is finished: feeds it if it is time. */
void watchdog_step(struct watchdog *w, uint64_t now_ns);

#endif
