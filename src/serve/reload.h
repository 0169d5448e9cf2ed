/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * SIGHUP: the configuration is read again; what a running daemon can take is taken, all of it or nothing.
 * One loop thread owns it.
 */
#ifndef SERVE_RELOAD_H
#define SERVE_RELOAD_H

#include "base/reason.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct config;

struct reload {
	struct config *current; /* what was last taken; NULL: still that of the start */
	uint64_t at_ns;		/* of the last one; 0: there was none */
	uint64_t n_applied, n_refused;
	struct reason said; /* what became of the last one */
	bool was_refused;
};

void reload_take(struct daemon *d);
void reload_deinit(struct reload *r);

#endif
