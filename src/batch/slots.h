/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A feed's slot pool: n slots of one size, each a memfd of its own, made and touched at start, so
 * that giving a slot to a group is sending an fd. Who holds which slot is the core's business.
 *
 * Threads: one caller.
 */
#ifndef BATCH_SLOTS_H
#define BATCH_SLOTS_H

#include "base/memory.h"

#include <stdint.h>

struct slots {
	struct memory *list; /* n of them */
	uint32_t n;
	uint64_t slot_bytes;
};

/* 0 or -errno (EMFILE: every slot is one file descriptor); *ret is empty on failure. */
int slots_init(uint32_t n, uint64_t slot_bytes, struct slots *ret);
void slots_deinit(struct slots *s);
/* Bytes of the pool that are in memory now. */
uint64_t slots_resident(const struct slots *s);
/* How many lie on 2 MiB pages. */
uint32_t slots_huge(const struct slots *s);

#endif
