/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A daemon of the command's own, for run, bench and preview: a child process with a socket in a fresh folder
 * (mode 0700), ended and cleaned up after by the command.
 */
#ifndef MAIN_PRIVATE_H
#define MAIN_PRIVATE_H

#include "config/config.h"

#include <sys/types.h>

struct private_daemon {
	pid_t pid;
	char folder[64];
	char socket[96];
};

/* For a daemon that only serves the command: no metrics (the address may be a running daemon's), and of what is told
 * at info, its life, nothing. */
void private_hush(struct config *config);
/* Starts it and waits until it is ready. 0, or the exit status to end with: the daemon said on stderr why. */
int private_start(const struct config *config, struct private_daemon *ret);
/* SIGTERM, wait, remove the folder. */
void private_end(struct private_daemon *d);

#endif
