/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A filter sees numbers alone, never what a pointer points at: paths are Landlock's. Calls of another
 * architecture (32-bit, x32) kill every role: no part of ringfeed makes one.
 */
#include "sandbox/filter.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { C = 1 << SANDBOX_CORE, P = 1 << SANDBOX_PARENT, W = 1 << SANDBOX_WORKER };

/* How many arguments of a call one rule compares. */
enum { COMPARES_MAX = 2 };

struct rule {
	unsigned roles;
	int call, n;
	struct scmp_arg_cmp compare[COMPARES_MAX];
};

static const struct rule plain[] = {
#define CALL(roles_, name_) {.roles = (roles_), .call = SCMP_SYS(name_)},
#include "sandbox/calls.def"
#undef CALL
};

/* No memory is ever made code: libraries are loaded before the filter is. */
#define WITHOUT(argument_, bits_) SCMP_CMP64(argument_, SCMP_CMP_MASKED_EQ, (uint64_t)(bits_), 0)
#define WITH(argument_, bits_) SCMP_CMP64(argument_, SCMP_CMP_MASKED_EQ, (uint64_t)(bits_), (uint64_t)(bits_))
#define EQUALS(argument_, value_) SCMP_CMP64(argument_, SCMP_CMP_EQ, (uint64_t)(value_))

static const struct rule with_arguments[] = {
	{C | P, SCMP_SYS(mmap), 1, {WITHOUT(2, PROT_EXEC)}},
	{C | P, SCMP_SYS(mprotect), 1, {WITHOUT(2, PROT_EXEC)}},
	/* A worker that could protect anew would write what was read for the others. */
	{W, SCMP_SYS(mmap), 2, {WITHOUT(2, PROT_EXEC), WITH(3, MAP_PRIVATE | MAP_ANONYMOUS)}},
	{C, SCMP_SYS(socket), 1, {EQUALS(0, AF_UNIX)}},
	{C, SCMP_SYS(socketpair), 1, {EQUALS(0, AF_UNIX)}},
	{C, SCMP_SYS(prlimit64), 1, {EQUALS(2, 0)}}, /* reads them */
	{C, SCMP_SYS(clone), 1, {WITH(0, CLONE_THREAD)}},
	{P, SCMP_SYS(openat), 1, {WITHOUT(2, O_ACCMODE | O_CREAT | O_TRUNC)}},
	{P, SCMP_SYS(clone), 1, {WITHOUT(0, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC |
					    CLONE_NEWUTS | CLONE_NEWCGROUP)}},
	{P, SCMP_SYS(kill), 1, {EQUALS(1, SIGKILL)}},
	{W, SCMP_SYS(write), 1, {EQUALS(0, STDERR_FILENO)}},
	{P | W, SCMP_SYS(writev), 1, {EQUALS(0, STDERR_FILENO)}},
};

static int add(scmp_filter_ctx f, uint32_t action, const struct rule *r)
{
	return seccomp_rule_add_array(f, action, r->call, (unsigned)r->n, r->compare);
}

static int add_all(scmp_filter_ctx f, enum sandbox_role role, const struct rule *rules, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (rules[i].roles & 1u << role)
			r = add(f, SCMP_ACT_ALLOW, &rules[i]);
	return r;
}

/* What depends on numbers of this very process. */
static int add_own(scmp_filter_ctx f, enum sandbox_role role, const struct sandbox_own *own)
{
	const struct rule aborts = {0, SCMP_SYS(tgkill), 1, {EQUALS(0, getpid())}};
	const struct rule hears = {0, SCMP_SYS(recvfrom), 1, {EQUALS(0, own->channel)}};
	const struct rule says = {0, SCMP_SYS(sendto), 2, {EQUALS(0, own->channel), EQUALS(4, 0)}};
	const struct rule ends = {0, SCMP_SYS(kill), 2, {EQUALS(0, own->child), EQUALS(1, SIGKILL)}};
	/* libc takes clone, whose flags can be seen, where clone3 is not there. */
	const struct rule clone3 = {0, SCMP_SYS(clone3), 0, {{0}}};
	int r = role == SANDBOX_PARENT ? 0 : add(f, SCMP_ACT_ALLOW, &aborts);

	if (r == 0 && role == SANDBOX_WORKER) {
		r = add(f, SCMP_ACT_ALLOW, &hears);
		return r ? r : add(f, SCMP_ACT_ALLOW, &says);
	}
	if (r == 0 && role == SANDBOX_CORE && own->child > 0)
		r = add(f, SCMP_ACT_ALLOW, &ends);
	return r ? r : add(f, SCMP_ACT_ERRNO(ENOSYS), &clone3);
}

/* The parent's filter also holds for workers, which may abort as well; who it is they cannot choose. */
static int add_abort_of_workers(scmp_filter_ctx f)
{
	const struct rule aborts = {0, SCMP_SYS(tgkill), 1, {EQUALS(2, SIGABRT)}};

	return add(f, SCMP_ACT_ALLOW, &aborts);
}

static int set_attributes(scmp_filter_ctx f)
{
	int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	/* Else kernels before 5.16 take speculation past stores from the process, which decoding is slower without
	 * and which guards secrets of other code in the same process: there is none. */
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	return r ? r : seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

int filter_probe(void)
{
	const uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}

int filter_enter(enum sandbox_role role, const struct sandbox_own *own)
{
	scmp_filter_ctx f = seccomp_init(role == SANDBOX_WORKER ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!f)
		return fail(-ENOMEM);
	r = set_attributes(f);
	if (r == 0)
		r = add_all(f, role, plain, sizeof(plain) / sizeof(plain[0]));
	if (r == 0)
		r = add_all(f, role, with_arguments, sizeof(with_arguments) / sizeof(with_arguments[0]));
	if (r == 0)
		r = add_own(f, role, own);
	if (r == 0 && role == SANDBOX_PARENT)
		r = add_abort_of_workers(f);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r < 0 ? fail(r) : 0;
}
