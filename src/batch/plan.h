/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The memory plan: how daemon.memory is spent, line by line. Pure arithmetic on numbers that others
 * measured; the slot pool gets what the other lines leave, in whole slots.
 *
 * Threads: any; nothing here has state.
 */
#ifndef BATCH_PLAN_H
#define BATCH_PLAN_H

#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

enum {
	PLAN_E_TOO_SMALL = 1, /* plan->needed is what works */

	PLAN_SLOTS_MIN = 2, /* of a feed: one is read while the next is filled */
};

struct plan_feed {
	const char *name;    /* borrowed for the call */
	uint64_t slot_bytes; /* > 0 */
	uint32_t slots;	     /* the config's batches per rank: the feed's weight in the pool, > 0 */
	uint32_t slots_max;  /* most slots it may get (each is a file descriptor); 0: no limit */
	uint64_t index_bytes; /* samples x fields x 8, and the shards' table */
	uint64_t order_bytes;
	uint64_t inflated_bytes; /* room for inflated units; 0: no shard is compressed */
};

struct plan_input {
	uint64_t memory; /* daemon.memory */
	uint64_t core_base, parent_base,
		worker_base;  /* private memory before any work; worker_base each */
	uint64_t core_tables; /* core: slots, leases, tasks, sessions */
	uint64_t staging;
	uint64_t web; /* daemon.metrics; 0: off */
	uint64_t trace;
	uint64_t scratch;	/* of each worker */
	uint64_t large_scratch; /* the largest decode_memory; 0 when no field is an image */
	uint32_t n_workers;
	const struct plan_feed *feeds;
	size_t n_feeds;
};

struct plan_line {
	char name[80];
	uint64_t n_each, each; /* n_each x each bytes */
	uint64_t n_bytes;
	const char *text; /* what it is for; static */
};

struct plan {
	uint64_t memory;
	uint64_t
		needed; /* smallest daemon.memory that works, in whole MiB; UINT64_MAX: none does */
	uint64_t total; /* sum of the lines, at most memory */
	struct plan_line *lines;
	size_t n_lines;
	uint32_t *n_slots; /* of each feed */
	size_t n_feeds;
};

/* 0, PLAN_E_TOO_SMALL (then *why is the sentence, and the lines show the least that is needed, with
 * PLAN_SLOTS_MIN slots a feed), or -ENOMEM. plan_deinit after the first two. */
int plan_lay_out(const struct plan_input *in, struct plan *ret, struct reason *why);
void plan_deinit(struct plan *p);

/* `workers: auto`: the most workers up to n_max (> 0) with which the plan works; 1 when none does.
 */
uint32_t plan_workers(const struct plan_input *in, uint32_t n_max);

/* "slots train     4 x 19.3 MiB = 77.2 MiB  finished and half-filled batches"; name_width pads the
 * name. Returns the length, as snprintf. */
int plan_line_print(const struct plan_line *line, int name_width, char *text, size_t n_text);
/* The longest name, for name_width. */
int plan_name_width(const struct plan *p);
/* "512 B", "19.3 MiB". Returns the length, as snprintf. */
int plan_bytes_print(uint64_t n_bytes, char *text, size_t n_text);

#endif
