/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The size is bounded by what is read, not by what stat says. */
#include "config/class-file.h"

#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20, PIECE = 64 << 10 };

/* All of the file, in memory that the caller frees, or a negative errno. */
static int read_whole(int fd, char **ret, size_t *ret_n)
{
	char *text = NULL, *grown;
	int64_t got = PIECE;
	size_t n = 0;

	while (got == PIECE && n <= FILE_MAX) {
		grown = realloc(text, n + PIECE);
		got = grown ? file_read(fd, grown + n, PIECE) : -ENOMEM;
		text = grown ? grown : text;
		if (got < 0) {
			free(text);
			return (int)got;
		}
		n += (size_t)got;
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
