/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A lock on a file that was removed meanwhile guards nothing, so it is taken again on the new one. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* offset NULL: from where the descriptor stands. */
static int64_t read_on(int fd, char *into, size_t n, const uint64_t *offset)
{
	size_t n_got = 0;

	while (n_got < n) {
		ssize_t got = offset ? pread(fd, into + n_got, n - n_got, (off_t)(*offset + n_got))
				     : read(fd, into + n_got, n - n_got);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n_got += (size_t)got;
	}
	return (int64_t)n_got;
}

int64_t file_read(int fd, void *into, size_t n)
{
	return read_on(fd, into, n, NULL);
}

int64_t file_read_at(int fd, void *into, size_t n, uint64_t offset)
{
	return read_on(fd, into, n, &offset);
}

int file_write(int fd, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n > 0) {
		ssize_t put = write(fd, at, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

static bool is_current(int fd, const char *path)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

int file_lock(const char *path, bool waits, int *ret_fd)
{
	for (;;) {
		const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return -errno;
		if (flock(fd, waits ? LOCK_EX : LOCK_EX | LOCK_NB) < 0) {
			const int error = errno;

			close(fd);
			return -error;
		}
		if (is_current(fd, path)) {
			*ret_fd = fd;
			return 0;
		}
		close(fd);
	}
}
