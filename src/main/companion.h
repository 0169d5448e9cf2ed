/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A daemon that belongs to no command and no trainer: started by the first trainer that needs it, found by
 * the others under a name made of uid, configuration and job, and over ten seconds after its last client. It
 * runs in a session of its own, inherits no descriptors and logs to a file beside its socket.
 */
#ifndef MAIN_COMPANION_H
#define MAIN_COMPANION_H

#include "config/config.h"

struct companion {
	char socket[108];
	char log[112];
};

/* Finds it or starts it, and waits until it is ready. An exit status; what went wrong is on stderr. */
int companion_ensure(const struct config *config, struct companion *ret);

#endif
