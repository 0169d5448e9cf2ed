/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Each pattern is split at "::" as WebDataset does, its braces are expanded, and what then has an
 * unescaped * ? or [ is a glob. Other paths are taken as they are: whether they exist shows when they
 * are opened. The number of paths is known, and limited, before the first is made.
 */
#include "shard/list.h"

#include "base/fault.h"
#include "shard/brace.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PATHS_MAX = 10000000 };

struct listing {
	struct shard_list list;
	size_t n_allocated;
	struct reason *why;
};

static int add_path(struct listing *l, const char *path)
{
	if (l->list.n_paths == PATHS_MAX) {
		reason_set(l->why, "more than %d shards", PATHS_MAX);
		return SHARD_E_LIST;
	}
	if (l->list.n_paths == l->n_allocated) {
		size_t n_allocated = l->n_allocated * 2 + 64;
		char **grown = reallocarray(l->list.paths, n_allocated, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		l->list.paths = grown;
		l->n_allocated = n_allocated;
	}
	l->list.paths[l->list.n_paths] = strdup(path);
	if (!l->list.paths[l->list.n_paths])
		return fail(-ENOMEM);
	l->list.n_paths++;
	return 0;
}

static bool is_glob(const char *path)
{
	for (; *path; path++) {
		if (*path == '\\' && path[1])
			path++;
		else if (strchr("*?[", *path))
			return true;
	}
	return false;
}

/* pipe:CMD, SCHEME://… and the schemes of object stores. */
static bool is_url(const char *path)
{
	static const char *const schemes[] = {"pipe", "http", "https", "s3", "gs", "file"};
	size_t n = 0;

	while (isalnum((unsigned char)path[n]) || (n && path[n] && strchr("+-.", path[n])))
		n++;
	if (n == 0 || path[n] != ':')
		return false;
	if (path[n + 1] == '/' && path[n + 2] == '/')
		return true;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (strlen(schemes[i]) == n && strncmp(schemes[i], path, n) == 0)
			return true;
	}
	return false;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Saved indexes lie beside shards; "shards/" and a star must not find them. */
static bool is_saved_index(const char *path)
{
	const char *found = strstr(path, ".rfidx");

	while (found && strchr(found, '/'))
		found = strstr(found + 1, ".rfidx");
	return found && (found[6] == '\0' || found[6] == '.');
}

static int add_glob(struct listing *l, const char *pattern)
{
	glob_t found = {0};
	size_t n = 0;
	int r = glob(pattern, GLOB_NOSORT, NULL, &found);

	if (r == GLOB_NOSPACE) {
		globfree(&found);
		return fail(-ENOMEM);
	}
	if (r == 0)
		qsort(found.gl_pathv, found.gl_pathc, sizeof(*found.gl_pathv), compare_paths);
	for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
		if (is_saved_index(found.gl_pathv[i]))
			continue;
		r = add_path(l, found.gl_pathv[i]);
		n++;
	}
	globfree(&found);
	if (n == 0) {
		reason_set(l->why, "no file matches \"%.300s\"", pattern);
		return SHARD_E_LIST;
	}
	return r;
}

static int add_string(void *context, const char *string)
{
	struct listing *l = context;
	char path[2 * BRACE_LENGTH_MAX];
	size_t n = 0;

	if (*string == '\0') {
		reason_set(l->why, "an empty path");
		return SHARD_E_LIST;
	}
	if (is_url(string)) {
		reason_set(l->why,
			   "\"%.300s\" is a URL or a pipe; shards are read from files: give their paths",
			   string);
		return SHARD_E_LIST;
	}
	if (is_glob(string))
		return add_glob(l, string);
	for (; *string; string++) {
		if (*string == '\\' && string[1])
			string++;
		path[n++] = *string;
	}
	path[n] = '\0';
	return add_path(l, path);
}

/* Runs work on each piece between "::". */
static int each_piece(struct listing *l, const char *pattern,
		      int (*work)(struct listing *l, const char *piece, void *context),
		      void *context)
{
	char *copy = strdup(pattern), *at = copy;
	int r = 0;

	if (!copy)
		return fail(-ENOMEM);
	while (r == 0 && at) {
		char *end = strstr(at, "::");

		if (end)
			*end = '\0';
		r = work(l, at, context);
		at = end ? end + 2 : NULL;
	}
	free(copy);
	return r;
}

static int count_piece(struct listing *l, const char *piece, void *context)
{
	uint64_t *n_all = context, n;
	int r = brace_count(piece, &n, l->why);

	if (r != 0)
		return r;
	if (n > PATHS_MAX || *n_all + n > PATHS_MAX) {
		reason_set(l->why, "\"%.300s\" stands for more than %d shards", piece, PATHS_MAX);
		return SHARD_E_LIST;
	}
	*n_all += n;
	return 0;
}

static int expand_piece(struct listing *l, const char *piece, void *context)
{
	return brace_expand(piece, add_string, l);
}

static int refuse_repeated(const struct listing *l)
{
	size_t n = l->list.n_paths;
	char **sorted = reallocarray(NULL, n, sizeof(*sorted));
	int r = 0;

	if (!sorted)
		return fail(-ENOMEM);
	memcpy(sorted, l->list.paths, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_paths);
	for (size_t i = 1; r == 0 && i < n; i++) {
		if (strcmp(sorted[i - 1], sorted[i]) == 0) {
			reason_set(l->why, "\"%.300s\" stands in the list twice", sorted[i]);
			r = SHARD_E_LIST;
		}
	}
	free(sorted);
	return r;
}

int shard_list_expand(const char *const *patterns, size_t n_patterns, struct shard_list *ret,
		      struct reason *why)
{
	struct listing l = {.why = why};
	uint64_t n_all = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_patterns; i++)
		r = each_piece(&l, patterns[i], count_piece, &n_all);
	for (size_t i = 0; r == 0 && i < n_patterns; i++)
		r = each_piece(&l, patterns[i], expand_piece, NULL);
	if (r == 0 && l.list.n_paths == 0) {
		reason_set(why, "the list of shards is empty");
		r = SHARD_E_LIST;
	}
	if (r == 0)
		r = refuse_repeated(&l);
	if (r != 0) {
		shard_list_deinit(&l.list);
		return r < 0 ? pass(r) : r;
	}
	*ret = l.list;
	return 0;
}

void shard_list_deinit(struct shard_list *list)
{
	for (size_t i = 0; i < list->n_paths; i++)
		free(list->paths[i]);
	free(list->paths);
	*list = (struct shard_list){0};
}
