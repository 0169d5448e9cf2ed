/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The bytes of a field's member, read by a command for itself: from plain shards by place, from compressed ones by
 * inflating the unit, which is kept for the next.
 *
 * Threads: one caller.
 */
#ifndef MAIN_MEMBER_H
#define MAIN_MEMBER_H

#include "base/reason.h"
#include "shard/inflate.h"
#include "shard/tar.h"

struct members {
	const struct samples *samples; /* borrowed */
	int fd;			       /* of the open shard, or -1 */
	uint32_t shard, unit;	       /* unit: what lies in raw; UINT32_MAX: nothing */
	char *bytes, *raw;
	size_t n_bytes, n_raw; /* their room */
	struct inflate *inflate;
	struct tar_header header;
};

enum { MEMBER_E_ABSENT = 1, MEMBER_E_UNREADABLE };

void members_init(struct members *m, const struct samples *samples);
void members_deinit(struct members *m);
/* Points to the payload, valid until the next call. 0; MEMBER_E_ABSENT: the sample has no such field;
 * MEMBER_E_UNREADABLE with the reason; or -errno. */
int members_read(struct members *m, uint32_t shard, uint64_t sample, unsigned field, const char **ret, size_t *ret_n,
		 struct reason *why);

#endif
