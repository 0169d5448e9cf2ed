/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Bytes that come in pieces and locks whose file is taken away meanwhile. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void look_away(int signal)
{
	(void)signal;
}

/* A signal every few ms, which ends any call that waits. */
static void disturb(bool is_on)
{
	const struct sigaction action = {.sa_handler = look_away};
	const struct itimerval often = {{0, 3000 * is_on}, {0, 3000 * is_on}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

/* 300,000 bytes through a pipe that holds 64 KiB, a few at a time, under signals on both sides. */
static void pieces(void **state)
{
	enum { N = 300000 };
	char *bytes = malloc(N), *got = malloc(N + 1);
	int ends[2], status;
	pid_t child;

	(void)state;
	for (int i = 0; i < N; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		close(ends[0]);
		disturb(true);
		for (int at = 0, n = 1; at < N; at += n, n = n * 3 % 70001 + 1) {
			n = n < N - at ? n : N - at;
			if (file_write(ends[1], bytes + at, (size_t)n))
				_exit(1);
			if (at < 1000)
				usleep(5000);
		}
		_exit(0);
	}
	close(ends[1]);
	disturb(true);
	assert_int_equal(file_read(ends[0], got, N + 1), N);
	disturb(false);
	assert_memory_equal(got, bytes, N);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(ends[0]);
	free(bytes);
	free(got);
}

static void places(void **state)
{
	char name[] = "/tmp/test-file-XXXXXX", got[8];
	int fd = mkstemp(name);

	(void)state;
	assert_int_equal(file_write(fd, "0123456789", 10), 0);
	assert_int_equal(file_read_at(fd, got, 4, 3), 4);
	assert_memory_equal(got, "3456", 4);
	assert_int_equal(file_read_at(fd, got, 8, 7), 3);
	assert_memory_equal(got, "789", 3);
	assert_int_equal(file_read_at(fd, got, 8, 11), 0);
	assert_int_equal(file_read(fd, got, 8), 0);
	close(fd);
	assert_int_equal(file_read(fd, got, 1), -EBADF);
	assert_int_equal(file_read_at(fd, got, 1, 0), -EBADF);
	assert_int_equal(file_write(fd, got, 1), -EBADF);
	unlink(name);
}

static void one_holder(void **state)
{
	char folder[] = "/tmp/test-file-XXXXXX", path[64], link[64];
	int first = -1, second = -1;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/lock", folder);
	snprintf(link, sizeof(link), "%s/link", folder);
	assert_int_equal(file_lock(path, false, &first), 0);
	assert_int_equal(file_lock(path, false, &second), -EWOULDBLOCK);
	assert_int_equal(second, -1);
	close(first);
	assert_int_equal(file_lock(path, false, &second), 0);
	close(second);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(file_lock(link, false, &second), -ELOOP);
	unlink(link);
	unlink(path);
	rmdir(folder);
}

/* Who waited for a lock whose holder removes the file must not think that it holds the path. */
static void removed_while_waiting(void **state)
{
	char folder[] = "/tmp/test-file-XXXXXX", path[64];
	int first, status, fd = -1;
	struct stat ours, theirs;
	pid_t child;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/lock", folder);
	assert_int_equal(file_lock(path, true, &first), 0);
	child = fork();
	if (child == 0) {
		close(first);
		_exit(file_lock(path, true, &fd) || fstat(fd, &ours) || stat(path, &theirs) ||
		      ours.st_ino != theirs.st_ino);
	}
	usleep(100000); /* for it to wait */
	unlink(path);
	close(first);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces), cmocka_unit_test(places), cmocka_unit_test(one_holder),
		cmocka_unit_test(removed_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
