/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who this trainer is and where its daemon listens, from the caller's options and, where they say
 * nothing, from what the launcher put into the environment (proto/protocol.md has the rules).
 *
 * Threads: any; reads the environment, keeps nothing.
 */
#ifndef CLIENT_ENVIRONMENT_H
#define CLIENT_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "ringfeed/ringfeed.h"
#include "wire.h"

enum {
	ENVIRONMENT_E_REFUSED = 1, /* malformed or contradictory: the reason says what */
	SOCKET_MAX = 108,	   /* what a Unix socket's path may have, with its zero */
};

struct identity {
	uint32_t rank, world, local_world, generation;
	char group[sizeof(((struct wire_ATTACH *)0)->group)]; /* "": a group of its own */
	uint32_t replica;
	bool has_replica; /* named, be it as 0: there are others of this rank, or may be */
};

/* 0 or ENVIRONMENT_E_REFUSED. */
int environment_identity(const struct rf_options *options, struct identity *ret,
			 struct reason *why);
/* asked: the caller's path, or NULL. 0 or ENVIRONMENT_E_REFUSED. */
int environment_socket(const char *asked, char ret_path[SOCKET_MAX], struct reason *why);

#endif
