/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * By system calls of our own numbers' sake: Debian 12's headers end at the second of the ABIs.
 *
 * The core reads wherever its user may. A rule is about a folder as it was found: one that is mounted again later
 * (autofs, FUSE) would be another, and its shards lost until the next start; and a configuration read again may
 * name files anywhere. A rule for "/" holds for all of that. It writes only in the folders it names, runs
 * nothing, and opens no port.
 */
#include "sandbox/landlock.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h, as later ABIs have it */
struct ruleset {
	uint64_t files, ports, scopes;
};

enum {
	FILES_1 = (1 << 13) - 1,
	FILES_REFER = 1 << 13,	   /* 2 */
	FILES_TRUNCATE = 1 << 14,  /* 3 */
	FILES_IOCTL_DEV = 1 << 15, /* 5 */
	PORTS_TCP = 3,		   /* 4: bind, connect */
	SCOPES = 3,		   /* 6: abstract sockets, signals */
};

int landlock_probe(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? -errno : (int)abi;
}

static struct ruleset all_of(int abi)
{
	struct ruleset all = {.files = FILES_1};

	all.files |= abi >= 2 ? FILES_REFER : 0;
	all.files |= abi >= 3 ? FILES_TRUNCATE : 0;
	all.files |= abi >= 5 ? FILES_IOCTL_DEV : 0;
	all.ports = abi >= 4 ? PORTS_TCP : 0;
	all.scopes = abi >= 6 ? SCOPES : 0;
	return all;
}

/* A folder that is not there is skipped: whoever opens a file in it says so in words. */
static int allow(int ruleset, const char *folder, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	int r = 0;

	rule.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail(-errno);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = fail(-errno);
	close(rule.parent_fd);
	return r;
}

static int allow_core(int ruleset, uint64_t all, const struct sandbox_own *own)
{
	const uint64_t write = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
			       LANDLOCK_ACCESS_FS_REMOVE_FILE | FILES_TRUNCATE;
	int r = allow(ruleset, "/", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);

	for (size_t i = 0; r == 0 && i < own->n_writable; i++)
		if (own->writable[i])
			r = allow(ruleset, own->writable[i], write & all);
	return r;
}

int landlock_enter(int abi, enum sandbox_role role, const struct sandbox_own *own)
{
	struct ruleset all = all_of(abi);
	int fd, r = 0;

	/* It kills a clean parent that hangs, and tells systemd, both from inside; and the signal that its own death
	 * is to the clean parent would not get out either. */
	if (role == SANDBOX_CORE)
		all.scopes = 0;
	/* What an older kernel does not know of the struct is zero, which it accepts. */
	fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (fd < 0)
		return fail(-errno);
	if (role == SANDBOX_CORE)
		r = allow_core(fd, all.files, own);
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		r = fail(-errno);
	close(fd);
	return r;
}
