/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Trees of /proc and cgroup files, as machines and containers show them, made in a temporary
 * folder. */
#include "batch/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

static char root[64];

static void put(const char *path, const char *text)
{
	char whole[600];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	for (char *c = whole + strlen(root) + 1; *c; c++)
		if (*c == '/') {
			*c = 0;
			mkdir(whole, 0755);
			*c = '/';
		}
	file = fopen(whole, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int fresh(void **state)
{
	strcpy(root, "test-machine-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	put("/proc/meminfo",
	    "MemTotal:       24684016 kB\nMemFree:        1 kB\nMemAvailable:   8388608 kB\n");
	return 0;
}

static int clean(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void want_memory(uint64_t n, const char *name)
{
	struct machine_limit l;

	machine_memory(root, &l);
	assert_string_equal(l.name, name);
	assert_int_equal(l.n, n);
}

static void want_cpus(unsigned n_affinity, uint64_t n, const char *name)
{
	struct machine_limit l;

	machine_cpus(root, n_affinity, &l);
	assert_string_equal(l.name, name);
	assert_int_equal(l.n, n);
}

static void version_2(void **state)
{
	put("/proc/self/cgroup", "0::/slurm/job_7/step_0\n");
	put("/proc/self/mountinfo",
	    "23 1 0:21 / /proc rw - proc proc rw\n"
	    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
	want_memory(8192 * MIB, "MemAvailable");
	want_cpus(6, 6, "CPU affinity");
	put("/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n");
	put("/sys/fs/cgroup/slurm/job_7/memory.max", "4294967296\n");
	put("/sys/fs/cgroup/slurm/memory.max", "5368709120\n");
	put("/sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/slurm/cpu.max", "250000 100000\n");
	want_memory(4096 * MIB, "memory.max of cgroup /slurm/job_7");
	want_cpus(6, 3, "cpu.max of cgroup /slurm");
	want_cpus(2, 2, "CPU affinity");
	put("/sys/fs/cgroup/slurm/job_7/step_0/memory.high", "1073741824\n");
	want_memory(1024 * MIB, "memory.high of cgroup /slurm/job_7/step_0");
	put("/sys/fs/cgroup/slurm/memory.max", "536870912\n");
	put("/sys/fs/cgroup/slurm/job_7/cpu.max", "50000 100000\n");
	want_memory(512 * MIB, "memory.max of cgroup /slurm");
	want_cpus(6, 1, "cpu.max of cgroup /slurm/job_7");
}

static void version_1(void **state)
{
	put("/proc/self/cgroup",
	    "11:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n0::/x\n");
	put("/proc/self/mountinfo",
	    "30 29 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	    "33 29 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	    "36 29 0:33 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory\n");
	put("/sys/fs/cgroup/mem ory/docker/ab/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us", "100000\n");
	want_memory(8192 * MIB, "MemAvailable");
	want_cpus(6, 6, "CPU affinity");
	put("/sys/fs/cgroup/mem ory/docker/ab/memory.limit_in_bytes", "2147483648\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us", "400000\n");
	want_memory(2048 * MIB, "memory.limit_in_bytes of cgroup /docker/ab");
	want_cpus(6, 4, "cpu.cfs_quota_us of cgroup /docker/ab");
	put("/sys/fs/cgroup/mem ory/docker/memory.limit_in_bytes", "1073741824\n");
	want_memory(1024 * MIB, "memory.limit_in_bytes of cgroup /docker");
}

/* A container without a cgroup namespace: the mount shows its own part only. */
static void in_a_container(void **state)
{
	put("/proc/self/cgroup", "0::/kubepods/pod1/c1/app\n");
	put("/proc/self/mountinfo",
	    "29 23 0:26 /kubepods/pod1/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
	put("/sys/fs/cgroup/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/app/memory.max", "max\n");
	want_memory(1024 * MIB, "memory.max of cgroup /");
	put("/sys/fs/cgroup/app/memory.max", "1048576\n");
	want_memory(MIB, "memory.max of cgroup /app");
	put("/proc/self/cgroup", "0::/../elsewhere\n");
	want_memory(1024 * MIB, "memory.max of cgroup /");
	put("/proc/self/cgroup", "0::/kubepods/pod12\n");
	want_memory(1024 * MIB, "memory.max of cgroup /");
}

static void nonsense_is_no_limit(void **state)
{
	static const char *const lines[] = {
		"", "\n", "-5\n", "12x\n", "0x10\n", "99999999999999999999999\n", " 7\n"};

	put("/proc/self/cgroup", "garbage\n:\n0:\n0::/a\n");
	put("/proc/self/mountinfo",
	    "\n - \n1 2 3 - cgroup2\n1 2 3 / /cg rw - cgroup2 cgroup2 rw\n");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		put("/cg/a/memory.max", lines[i]);
		put("/cg/a/cpu.max", lines[i]);
		want_memory(8192 * MIB, "MemAvailable");
		want_cpus(5, 5, "CPU affinity");
	}
	put("/cg/a/cpu.max", "100 0\n");
	want_cpus(5, 5, "CPU affinity");
	put("/cg/a/cpu.max", "100000 100000\n");
	want_cpus(5, 1, "cpu.max of cgroup /a");
}

static void no_files_at_all(void **state)
{
	struct machine_limit l;

	machine_memory("no-such-folder", &l);
	assert_true(l.n == UINT64_MAX);
	machine_cpus("no-such-folder", 3, &l);
	assert_int_equal(l.n, 3);
}

static void real_machine(void **state)
{
	struct machine_limit l;

	machine_memory("", &l);
	assert_true(l.n > MIB && l.n < (uint64_t)1 << 50);
	assert_true(l.name[0] != 0);
	machine_cpus("", machine_affinity(NULL, 0), &l);
	assert_true(l.n >= 1 && l.n <= (uint64_t)sysconf(_SC_NPROCESSORS_CONF));
}

static void says_which(void **state)
{
	const struct machine_limit l = {.n = 1024 * MIB + 5, .name = "memory.max of cgroup /job"};
	struct reason why = {""};

	assert_int_equal(machine_check_memory(&l, 1024 * MIB, &why), 0);
	assert_int_equal(machine_check_memory(&l, 2048 * MIB, &why), MACHINE_E_TOO_SMALL);
	assert_string_equal(why.text,
			    "daemon.memory: the plan takes 2.0 GiB, but this machine gives 1.0 GiB "
			    "(memory.max of cgroup /job): set daemon.memory to 1024MiB or less, or "
			    "raise that limit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(version_2, fresh, clean),
		cmocka_unit_test_setup_teardown(version_1, fresh, clean),
		cmocka_unit_test_setup_teardown(in_a_container, fresh, clean),
		cmocka_unit_test_setup_teardown(nonsense_is_no_limit, fresh, clean),
		cmocka_unit_test(no_files_at_all),
		cmocka_unit_test(real_machine),
		cmocka_unit_test(says_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
