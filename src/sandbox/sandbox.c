/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Which wall stands where, and in which order they are built. */
#include "sandbox/sandbox.h"

#include "base/fault.h"
#include "sandbox/capabilities.h"
#include "sandbox/filter.h"
#include "sandbox/landlock.h"

#include <errno.h>
#include <sys/prctl.h>

const char *sandbox_role_name(enum sandbox_role role)
{
	static const char *const names[] = {"core", "parent", "worker"};

	return names[role];
}

/* Both walls want no_new_privs: without it, a process could run a program that gets more than it had. */
static int give_up_privileges(enum sandbox_role role)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(-errno);
	return capabilities_give_up(role);
}

int sandbox_files(const struct sandbox_means *means, enum sandbox_role role, const struct sandbox_own *own)
{
	int r = means->is_on ? give_up_privileges(role) : 0;

	if (r < 0 || !means->landlock || role == SANDBOX_PARENT)
		return r;
	return landlock_enter(means->landlock, role, own);
}

int sandbox_calls(const struct sandbox_means *means, enum sandbox_role role, const struct sandbox_own *own)
{
	return means->has_filter ? filter_enter(role, own) : 0;
}
