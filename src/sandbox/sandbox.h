/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What each of the daemon's processes gives up before it meets anything from outside. Three things, each alone
 * a wall: a list of the system calls it needs (seccomp, calls.def), the files it may touch (Landlock), and
 * privileges (no_new_privs; of root's capabilities what it does not need). What the kernel does not have is left
 * out, and said.
 *
 * A worker that calls what is not on its list is killed, which costs the sample it is on and nothing else. The
 * core and the clean parent get EPERM: they read no bytes of samples, and their death would be everybody's.
 *
 * Threads: sandbox_calls() binds all threads of the process, sandbox_files() the caller and those started after.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum sandbox_role { SANDBOX_CORE, SANDBOX_PARENT, SANDBOX_WORKER, SANDBOX_ROLES };

/* "core", "parent", "worker". */
const char *sandbox_role_name(enum sandbox_role role);

/* What this machine has; all zeros: nothing is given up. */
struct sandbox_means {
	bool is_on;	 /* no_new_privs at least */
	bool has_filter; /* seccomp */
	int landlock;	 /* its ABI; 0: it is not there */
};

/* What a process keeps for itself. */
struct sandbox_own {
	int channel;		     /* WORKER: the one socket that it uses */
	pid_t child;		     /* CORE: the clean parent, whom it may kill */
	const char *const *writable; /* CORE: folders in which it makes and removes files; NULLs are skipped */
	size_t n_writable;
};

/* Gives up privileges, files and network of its own. The clean parent keeps reading: it finds in /proc who maps a slot,
 * which Landlock forbids even with a rule for /proc. 0 or -errno. */
int sandbox_files(const struct sandbox_means *means, enum sandbox_role role, const struct sandbox_own *own);
/* Gives up all calls but those of the role; last of all, after sandbox_files(). 0 or -errno. */
int sandbox_calls(const struct sandbox_means *means, enum sandbox_role role, const struct sandbox_own *own);

#endif
