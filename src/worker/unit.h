/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Tasks that inflate: the pieces of one unit after the other, straight into its place in the area. Private to the
 * room.
 *
 * Threads: the worker's.
 */
#ifndef WORKER_UNIT_H
#define WORKER_UNIT_H

#include "core/task.h"
#include "shard/inflate.h"
#include "worker/worker.h"

/* Does the piece, and fills the answer: DONE, or BAD with cause and place in the file. */
void unit_run(struct inflate *x, const struct worker_setup *setup, const struct task *t, struct answer_sample *ret);

#endif
