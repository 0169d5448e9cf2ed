/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Which rank of which world the launcher made this process, by the environment that it left. What is read and in
 * which order stands in proto/protocol.md, "Who a trainer is".
 *
 * Threads: any; reads the environment, keeps nothing.
 */
#ifndef CLIENT_LAUNCHER_H
#define CLIENT_LAUNCHER_H

#include <stdint.h>

#include "base/reason.h"

enum {
	LAUNCHER_E_REFUSED = 1, /* half-set, malformed or contradictory: the reason names the variables */
};

struct launched {
	uint32_t rank, world;
	uint32_t local_world;	     /* ranks on this machine; 0: no variable says */
	const char *rank_from, *world_from, *local_from; /* the variables, for messages; NULL: none */
};

/* The variable's text, or NULL when it is unset or empty. */
const char *launcher_text(const char *name);
/* Leaves *ret alone when the variable is unset; takes decimal digits and nothing else, 0 … INT_MAX. */
int launcher_number(const char *name, uint32_t *ret, struct reason *why);

/* A process that no launcher started is rank 0 of 1. */
int launcher_read(struct launched *ret, struct reason *why);
/* Only how many ranks are on this machine (0: nobody says): for a caller who names rank and world itself. */
int launcher_read_local(uint32_t *ret, struct reason *why);

#endif
