/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "batch/slots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

static unsigned count_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	while (fgets(line, sizeof(line), file))
		n += strstr(line, "memfd:ringfeed-slot") != NULL;
	fclose(file);
	return n;
}

static void made_and_gone(void **state)
{
	const unsigned n_fds = count_fds();
	struct slots s;

	assert_int_equal(slots_init(5, 3 << 20, &s), 0);
	assert_int_equal(s.n, 5);
	assert_int_equal(slots_resident(&s), 5 * (3 << 20)); /* touched */
	assert_int_equal(count_fds(), n_fds + 5);
	assert_true(count_maps() >= 5);
	assert_true(slots_huge(&s) <= 5);
	for (uint32_t i = 0; i < s.n; i++) {
		memset(s.list[i].base, (int)i + 1, 3 << 20);
		assert_int_equal(ftruncate(s.list[i].fd, 0), -1); /* sealed */
	}
	for (uint32_t i = 0; i < s.n; i++) {
		char byte = 0;

		assert_int_equal(pread(s.list[i].fd, &byte, 1, (3 << 20) - 1), 1);
		assert_int_equal(byte, i + 1); /* each a memory of its own */
	}
	slots_deinit(&s);
	slots_deinit(&s);
	assert_int_equal(count_fds(), n_fds);
	assert_int_equal(count_maps(), 0);
}

static void too_many(void **state)
{
	const unsigned n_fds = count_fds();
	struct rlimit before, few;
	struct slots s;

	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = n_fds + 10;
	setrlimit(RLIMIT_NOFILE, &few);
	assert_int_equal(slots_init(100, 4096, &s), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(s.n, 0);
	assert_int_equal(count_fds(), n_fds);
	assert_int_equal(count_maps(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_and_gone),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
