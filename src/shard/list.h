/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Shard lists: brace ranges ({000000..001281}, {a,b}, several and nested ones, as in bash), globs,
 * plain paths, several joined by "::" -> paths. Globs are sorted by the bytes of the whole path (and
 * pass over saved indexes); the list keeps its written order. A backslash takes a special byte as it
 * is. URLs and pipes are refused by name; at most 10 million paths.
 *
 * Threads: any; no state. Only globs touch the file system.
 */
#ifndef SHARD_LIST_H
#define SHARD_LIST_H

#include "base/reason.h"

#include <stddef.h>

enum {
	SHARD_E_LIST = 1, /* a pattern is malformed, matches nothing, or a path stands twice */
};

struct shard_list {
	char **paths;
	size_t n_paths;
};

/* 0, SHARD_E_LIST with the reason (naming the pattern), or -errno. */
int shard_list_expand(const char *const *patterns, size_t n_patterns, struct shard_list *ret,
		      struct reason *why);
void shard_list_deinit(struct shard_list *list);

#endif
