/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Cursors: where in the order of an epoch a track opens its batches, and where it reads ahead. */
#include "core/state.h"

void cursor_set(struct core *c, uint32_t track, struct cursor *cur, struct place at)
{
	const struct track *t = &c->tracks[track];
	const struct core_feed *feed = &c->feeds[t->feed].feed;

	*cur = (struct cursor){.epoch = at.epoch};
	cur->pass = (struct pass){.n_samples = feed->n_positions, .start = at.position, .world = t->world,
				  .batch = t->batch, .last = feed->last};
}

void cursor_next_batch(struct cursor *cur)
{
	cur->row = 0;
	if (++cur->step < pass_n_batches(&cur->pass))
		return;
	cur->step = 0;
	cur->epoch++;
	cur->pass.start = 0;
}

struct place cursor_place(const struct cursor *cur)
{
	return (struct place){cur->epoch, cur->pass.start + cur->step * cur->pass.batch * cur->pass.world};
}

uint64_t step_at(const struct pass *pass, uint64_t position)
{
	const uint64_t all = pass->batch * pass->world;

	return pass->start / all + (position - pass->start) / all;
}
