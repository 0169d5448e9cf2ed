/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * `decode: {image: fast}`: where the first resize makes the image at least half as large, the decoder can
 * do a part of it, by a smaller inverse DCT, and the resize does the rest.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TRANSFORM_SHRINK_H
#define TRANSFORM_SHRINK_H

#include "transform/plan.h"

/* Rewrites the operations, which follow each other in full size, for the largest shrink that the decoder
 * can do and that leaves the first resize something to make smaller; sets plan->shrink. */
void shrink_plan(struct plan *plan, const struct plan_at *at);

#endif
