/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A plan carried out on rows as a decoder hands them out: each operation is a stage that takes rows
 * from the top, keeps no more than it needs, and pushes rows into the next; the last one writes the
 * tensor. Only an EXIF orientation other than upright or mirrored, and a vertical flip that is not the
 * last thing, holds a picture, the part that is needed.
 *
 * All memory comes from the arena at chain_start(); pushing rows allocates nothing.
 *
 * Threads: one caller per chain.
 */
#ifndef TRANSFORM_CHAIN_H
#define TRANSFORM_CHAIN_H

#include "base/arena.h"
#include "transform/kernels.h"
#include "transform/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct chain;

/* What does not change from sample to sample. */
struct chain_setup {
	const struct field *field;
	const struct kernels *kernels;
	const struct value_table *table;
};

/* Makes the stages for the plan, which is borrowed; the tensor goes to row. NULL: the arena is too small. */
struct chain *chain_start(const struct chain_setup *setup, const struct plan *plan, struct arena *arena,
			  void *row);
/* The next row of plan->source, its pixels alone. */
void chain_push(struct chain *c, const uint8_t *rgb);

#endif
