/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* How the world stands, for whoever looks into a failure: --verbose shows it behind the events. */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>

static void show_plan(const struct sim *s)
{
	const struct core_spec *p = &s->world.spec;

	printf("\nplan: %u workers, %u reads in flight, %u requests, %u samples ahead, staging of %" PRIu64 " bytes (%" PRIu64 " at least)\n",
	       p->n_workers, p->reads_in_flight, p->n_requests, p->n_ahead, p->staging_bytes,
	       core_staging_least(s->world.feeds, p->n_feeds));
}

static void show_feed(const struct sim *s, uint32_t feed)
{
	const struct core_feed *f = &s->world.feeds[feed];

	printf("feed %u, samples of feed %u: %" PRIu64 " positions, %" PRIu64 " units, %u slots of %u rows, window %u, policy %d\n",
	       feed, world_base(s, feed), f->n_positions, f->samples->n_units, f->n_slots, f->n_rows, f->window, f->policy);
	for (uint32_t i = 0; i < f->n_slots; i++) {
		const struct oracle_slot *slot = &s->slots[feed][i];
		uint32_t n_done = 0, n_in_hand = 0;

		for (uint32_t r = 0; slot->has_batch && r < f->n_rows; r++) {
			n_done += slot->rows[r].is_done;
			n_in_hand += slot->rows[r].is_in_hand;
		}
		if (slot->course != NOBODY)
			printf("  slot %u of course %u: epoch %" PRIu64 " position %" PRIu64 ", %u rows done, %u in hand\n", i,
			       slot->course, slot->point.epoch, slot->point.position, n_done, n_in_hand);
	}
}

static void show_stream(const struct sim *s, uint32_t stream)
{
	const struct oracle_stream *o = &s->streams[stream];
	struct core_stream_view v;

	if (!o->is_used)
		return;
	core_view_stream(s->core, stream, &v);
	printf("stream %u of course %u: feed %u, rank %u of %u in group %u, epoch %" PRIu64 " step %" PRIu64 " of %" PRIu64
	       " (position %" PRIu64 ", %" PRIu64 " a batch), holds %u of %u, waits for %d since %.6f s\n", stream, o->course, o->feed,
	       o->rank, v.world, o->group, v.epoch, v.step, v.n_steps, v.position, o->pass.batch, o->n_leased, o->credit, v.wait,
	       (double)o->hungry_ns / 1e9);
}

void sim_show(const struct sim *s)
{
	show_plan(s);
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++)
		show_feed(s, i);
	for (uint32_t i = 0; s->core && i < s->world.spec.n_streams; i++)
		show_stream(s, i);
}
