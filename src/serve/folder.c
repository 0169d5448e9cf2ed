/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "serve/folder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_make(const char *path, bool is_own, struct reason *why)
{
	char folder[PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = 0;
	if (mkdir(folder, 0700) == 0)
		return 0;
	if (errno != EEXIST || stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
		reason_set(why, "the folder %s of the socket cannot be made: %s", folder, strerror(errno));
		return 1;
	}
	if (is_own && (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
		       (st.st_mode & 022))) {
		reason_set(why, "%s is not a folder that only uid %u can write: set daemon.socket", folder,
			   geteuid());
		return 1;
	}
	return 0;
}
