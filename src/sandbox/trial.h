/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The self-test: processes that enter a role as the real ones do, and then try what it forbids. What they do
 * would harm nobody if it were let through.
 *
 * Threads: one; forks, so call it before any thread or large memory exists.
 */
#ifndef SANDBOX_TRIAL_H
#define SANDBOX_TRIAL_H

#include "base/reason.h"
#include "sandbox/sandbox.h"

#include <stdint.h>

/* What was found about one role. Reasons are "" where the wall stands. */
struct sandbox_finding {
	bool has_filter, has_no_new_privs;
	int landlock; /* ABI */
	unsigned n_tried, n_refused;
	char filter_reason[160], landlock_reason[160];
	char let_through[200]; /* names of what was not refused, with commas */
};

struct sandbox_report {
	struct sandbox_means means; /* what the real ones are to use */
	struct sandbox_finding roles[SANDBOX_ROLES];
	uint64_t took_ns;
	struct reason missing; /* in one sentence; "": nothing */
};

/* Finds out. writable as in struct sandbox_own. 0 or -errno. */
int sandbox_try(const struct sandbox_own *core, struct sandbox_report *ret);
/* A report that says that nothing is given up, and why. */
void sandbox_leave_off(const char *why, struct sandbox_report *ret);

#endif
