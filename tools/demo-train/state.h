/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a daemon says of itself and of one of our groups, taken from the JSON of rf_status(). Pure.
 */
#ifndef DEMO_TRAIN_STATE_H
#define DEMO_TRAIN_STATE_H

#include <stdbool.h>

enum { STATE_WAITS = 4 };

struct state {
	double budget_bytes, peak_bytes;
	double waits_s[STATE_WAITS];
	bool has_memory, has_waits;
};

/* What is not there, or malformed, is left out. The waits are those of the group's first rank. */
void state_read(const char *json, const char *feed, const char *group, struct state *ret);
/* "read", "decode", "slots", "trainer" */
const char *state_wait_name(int i);

#endif
