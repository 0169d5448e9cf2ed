/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The daemon, as the commands see it. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include "base/reason.h"
#include "config/config.h"

#include <stdint.h>

enum {
	SERVE_E_REFUSED = 1, /* the reason says why it cannot start, and what would be right */
	SERVE_E_FAILED,	     /* it ran, and had to end */
};

struct serve_options {
	const char *socket; /* over the config's; NULL: the config's, else the default */
	int ready_fd;	    /* a byte is written and it is closed when the daemon is ready; -1: none */
	/* Reads the configuration again, for SIGHUP: 0, or not and the sentence. NULL: it cannot be. */
	int (*reread)(void *context, struct config **ret, struct reason *why);
	void *reread_context;
	uint64_t idle_ns;   /* ends after so long without a client, 0: never */
};

/* Starts, says READY, runs until SIGTERM or SIGINT. Call before any thread exists. 0, SERVE_E_…, or -errno. */
int serve_run(const struct config *config, const struct serve_options *options, struct reason *why);

#endif
