/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * An EXIF orientation that changes the order of rows (3 … 8): the picture, as far as it is needed, is held
 * and handed out turned upright.
 *
 * Threads: one caller per object.
 */
#ifndef TRANSFORM_ORIENT_H
#define TRANSFORM_ORIENT_H

#include "base/arena.h"
#include "transform/kernels.h"
#include "transform/plan.h"

#include <stdbool.h>

struct orient;

/* NULL: the arena is too small. The op is borrowed. */
struct orient *orient_start(const struct kernels *kernels, const struct op *op, struct arena *arena);
/* The next row of op->in. */
void orient_take(struct orient *o, struct row in);
/* The next row of op->out, valid until the next call. false: there is none, or rows of op->in are missing. */
bool orient_give(struct orient *o, struct row *ret);

#endif
