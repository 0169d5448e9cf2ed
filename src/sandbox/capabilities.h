/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Capabilities: what a process that root started may do that others may not. Private to the room. */
#ifndef SANDBOX_CAPABILITIES_H
#define SANDBOX_CAPABILITIES_H

#include "sandbox/sandbox.h"

/* Gives up, for good, all that the role does not need; threads that run already keep theirs. 0 or -errno. */
int capabilities_give_up(enum sandbox_role role);

#endif
