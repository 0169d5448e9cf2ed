/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One resize, fed row by row: two passes over a ring of rows, or a pick of pixels for nearest.
 *
 * Threads: one caller per object.
 */
#ifndef TRANSFORM_RESIZE_H
#define TRANSFORM_RESIZE_H

#include "base/arena.h"
#include "transform/kernels.h"
#include "transform/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct resize;

/* NULL: the arena is too small. The op is borrowed. */
struct resize *resize_start(const struct kernels *kernels, const struct op *op, enum pass_order order,
			    struct arena *arena);
/* The next row of op->in. */
void resize_take(struct resize *r, struct row in);
/* The next row of op->out, valid until the next call. false: another input row is needed first. */
bool resize_give(struct resize *r, struct row *ret);

#endif
