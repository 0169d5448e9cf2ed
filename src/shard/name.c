/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * WebDataset splits names by ^((?:.*[/]|)[^.]+)[.]([^/]*)$ and skips __NAME__ at the top and what is
 * below it. Written out: the dot is the first one behind the last slash; in front of it stands a run
 * without dots, at least one byte long, that begins at the name's start or behind a slash ("a/.x"
 * splits: the run is "a/"). The regex dot does not match a newline, so no newline may stand in front
 * of that slash.
 */
#include "shard/tar.h"

#include <string.h>

static bool is_meta(const char *name)
{
	size_t n = strcspn(name, "/");

	if (n < 4 || name[0] != '_' || name[1] != '_')
		return false;
	if (name[n] == '\0' && name[n - 1] == '\n' && n > 4) /* $ also matches in front of it */
		n--;
	return name[n - 1] == '_' && name[n - 2] == '_';
}

/* Where the key ends, or 0. */
static size_t find_dot(const char *name)
{
	const char *base = strrchr(name, '/');
	const char *dot = strchr(base ? base + 1 : name, '.');
	const char *run = NULL, *slash;

	if (!dot || dot == name)
		return 0;
	for (const char *c = name; c < dot; c++) {
		if (*c == '.')
			run = c + 1;
	}
	if (!run)
		return (size_t)(dot - name);
	slash = memchr(run, '/', (size_t)(dot - run));
	if (!slash || slash + 1 == dot || memchr(name, '\n', (size_t)(slash - name)))
		return 0;
	return (size_t)(dot - name);
}

bool tar_split_name(const char *name, size_t *ret_n_key, char *ret_extension, size_t n_extension)
{
	size_t n_key = find_dot(name), n = 0;

	if (n_key == 0 || is_meta(name))
		return false;
	for (const char *c = name + n_key + 1; *c && n + 1 < n_extension; c++)
		ret_extension[n++] = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	ret_extension[n] = '\0';
	*ret_n_key = n_key;
	return true;
}
