/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Brace expansion as bash does it, bounded. Private to the room. */
#ifndef SHARD_BRACE_H
#define SHARD_BRACE_H

#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

enum {
	BRACE_GROUPS_MAX = 64, /* open at once, or one behind the other in one path */
	BRACE_LENGTH_MAX = 4096,
};

/* How many strings the pattern stands for, without making them; UINT64_MAX: more than that. 0 or
 * SHARD_E_LIST with the reason. */
int brace_count(const char *pattern, uint64_t *ret_n, struct reason *why);
/* Gives each string in bash's order to on_string, whose non-zero answer ends it. The pattern must have
 * been counted. A backslash keeps the byte behind it as it is, and stays. */
int brace_expand(const char *pattern, int (*on_string)(void *context, const char *string),
		 void *context);

#endif
