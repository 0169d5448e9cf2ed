/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Why io_uring is refused. The errno alone does not say: EPERM comes from the sysctl or from a
 * container's seccomp filter, ENOSYS from a kernel without io_uring or from a filter. The sysctl's
 * file (Linux 6.6) proves that the kernel has io_uring; /proc/self/status tells of a filter.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "io/backend.h"

static int read_sysctl(void)
{
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static bool has_filter(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	int mode = 0;

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	fclose(file);
	return mode == 2;
}

void refusal_look(const char *step, int error, struct refusal *ret)
{
	*ret = (struct refusal){
		.step = step, .error = error, .sysctl = read_sysctl(), .is_filtered = has_filter()};
}

static void tell_seccomp(const struct refusal *r, struct reason *why)
{
	reason_set(
		why,
		"io_uring is refused by a seccomp filter (%s: %s): run under a profile that allows "
		"io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt "
		"seccomp=FILE, Kubernetes: securityContext.seccompProfile)",
		r->step, strerror(r->error));
}

static void tell_sysctl(const struct refusal *r, struct reason *why)
{
	reason_set(why,
		   "io_uring is refused by sysctl kernel.io_uring_disabled = %d (%s): set it to 0 "
		   "(sysctl -w kernel.io_uring_disabled=0)%s",
		   r->sysctl, r->sysctl == 1 ? "privileged processes only" : "off for everyone",
		   r->sysctl == 1 ? " or join the group of kernel.io_uring_group" : "");
}

static void tell_memlock(const struct refusal *r, struct reason *why)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_MEMLOCK, &limit);
	reason_set(why,
		   "io_uring is refused by the memlock limit of %llu KiB (%s: %s): raise it "
		   "(ulimit -l "
		   "unlimited, systemd: LimitMEMLOCK=infinity, Docker: --ulimit memlock=-1)",
		   (unsigned long long)limit.rlim_cur / 1024, r->step, strerror(r->error));
}

static void tell_kernel(const struct refusal *r, struct reason *why)
{
	struct utsname system = {.release = "of unknown version"};

	uname(&system);
	reason_set(
		why,
		"io_uring is refused by the kernel %s (%s: %s): it takes Linux 5.6 or newer, built "
		"with CONFIG_IO_URING",
		system.release, r->step, strerror(r->error));
}

void refusal_tell(const struct refusal *r, struct reason *why)
{
	switch (r->error) {
	case EPERM:
	case EACCES:
		if (r->sysctl > 0)
			tell_sysctl(r, why);
		else
			tell_seccomp(r, why);
		return;
	case ENOSYS:
		if (r->is_filtered || r->sysctl >= 0)
			tell_seccomp(r, why);
		else
			tell_kernel(r, why);
		return;
	case ENOMEM:
		tell_memlock(r, why);
		return;
	case EMFILE:
	case ENFILE:
		reason_set(why,
			   "io_uring is refused for want of file descriptors (%s: %s): raise the "
			   "limit (ulimit -n, systemd: LimitNOFILE)",
			   r->step, strerror(r->error));
		return;
	default:
		tell_kernel(r, why);
	}
}
