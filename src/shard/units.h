/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Which frames of a compressed shard are inflated together (samples.h: struct sample_unit). Private to the room.
 *
 * Threads: those of the samples.
 */
#ifndef SHARD_UNITS_H
#define SHARD_UNITS_H

#include "base/reason.h"
#include "shard/samples.h"

enum { UNIT_BYTES = 1 << 20 }; /* frames are not joined beyond it, where a cut leaves every extent whole somewhere */

/* Takes the frames of the shard that samples_add() has in hand (its places and its entry are there, its numbers not
 * counted yet). 0, INDEX_E_REFUSED with the reason, or -errno. */
int units_add(struct samples *s, const struct shard_index *index, struct reason *why);
/* Gives back what was reserved too much. */
void units_finish(struct samples *s);

#endif
