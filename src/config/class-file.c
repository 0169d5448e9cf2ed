/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The size is bounded by what is read, not by what stat says. */
#include "config/class-file.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20, PIECE = 64 << 10 };

/* All of the file, in memory that the caller frees, or a negative errno. */
static int read_whole(int fd, char **ret, size_t *ret_n)
{
	char *text = NULL;
	size_t n = 0;
	ssize_t got;

	for (;;) {
		if (n % PIECE == 0) {
			char *grown = realloc(text, n + PIECE);

			if (!grown) {
				free(text);
				return -ENOMEM;
			}
			text = grown;
		}
		got = read(fd, text + n, PIECE - n % PIECE);
		if (got > 0)
			n += (size_t)got;
		if (got == 0 || n > FILE_MAX)
			break;
		if (got < 0 && errno != EINTR) {
			got = -errno;
			free(text);
			return (int)got;
		}
	}
	*ret = text;
	*ret_n = n;
	return 0;
}

int class_file_read(const char *path, struct classes **ret, struct reason *why)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *text = NULL;
	size_t n = 0;
	int r = fd < 0 ? -errno : read_whole(fd, &text, &n);

	if (fd >= 0)
		close(fd);
	if (r == -ENOMEM)
		return fail(r);
	if (r < 0 || n > FILE_MAX) {
		reason_set(why, "%s", r < 0 ? strerror(-r) : "more than 64 MiB");
		r = CLASSES_E_REFUSED;
	} else {
		r = classes_new(text, n, ret, why);
	}
	free(text);
	return r < 0 ? pass(r) : r;
}
