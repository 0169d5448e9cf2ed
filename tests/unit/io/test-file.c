/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Opening: direct where the file system has it, buffered where not, never a hang. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Both ways to ask say what fstat said, and what has changed since. */
static void looks(struct io_file *f, off_t size)
{
	for (int i = 0; i < 2; i++) {
		struct stat st;

		f->is_remote = i > 0;
		assert_int_equal(io_file_look(f, &st), 0);
		assert_int_equal(st.st_dev, f->st.st_dev);
		assert_int_equal(st.st_ino, f->st.st_ino);
		assert_int_equal(st.st_size, size);
		assert_int_equal(st.st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
				 st.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec, size == f->st.st_size);
	}
}

/* Reads the first aligned block as the file was opened; what it is aligned to must be enough. */
static void read_head(const char *path, bool direct)
{
	struct io_file f;
	void *block = NULL;

	assert_int_equal(io_file_open(path, direct, &f), 0);
	if (!direct)
		assert_false(f.is_direct);
	assert_int_equal(f.alignment & (f.alignment - 1), 0);
	assert_int_equal(f.st.st_size, 9000);
	assert_int_equal(!!(fcntl(f.fd, F_GETFL) & O_DIRECT), f.is_direct);
	assert_int_equal(fcntl(f.fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(f.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(posix_memalign(&block, f.alignment, f.alignment), 0);
	assert_int_equal(pread(f.fd, block, f.alignment, f.alignment), f.alignment);
	free(block);
	assert_false(f.is_remote);
	looks(&f, 9000);
	assert_int_equal(truncate(path, 9001), 0);
	looks(&f, 9001);
	assert_int_equal(truncate(path, 9000), 0);
	io_file_close(&f);
	io_file_close(&f);
	assert_int_equal(f.fd, -1);
}

static void opens_in(const char *folder)
{
	char path[64], bytes[9000] = {0};
	int fd;

	snprintf(path, sizeof(path), "%s/test-file-XXXXXX", folder);
	fd = mkstemp(path);
	if (fd < 0) {
		print_message("cannot write to %s\n", folder);
		return;
	}
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	read_head(path, true);
	read_head(path, false);
	unlink(path);
}

static void opens_everywhere(void **state)
{
	opens_in(".");
	opens_in("/dev/shm");
}

static void refuses(void **state)
{
	struct io_file f;

	assert_int_equal(io_file_open("no-such-file", true, &f), -ENOENT);
	assert_int_equal(io_file_open(".", true, &f), -EISDIR);
	assert_int_equal(io_file_open(".", false, &f), -EISDIR);
	unlink("test-file-fifo");
	assert_int_equal(mkfifo("test-file-fifo", 0600), 0);
	assert_int_equal(io_file_open("test-file-fifo", true, &f), -EOPNOTSUPP);
	unlink("test-file-fifo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_everywhere),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
