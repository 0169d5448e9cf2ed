/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What every row of every slot must hold, from the order alone, and who may write where. The bad samples
 * are the world's (a function of their number) or were made by faults that the simulator counted.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

bool oracle_is_live(const struct oracle_stream *o)
{
	return o->is_used && !o->is_detached && !o->has_hung_up && !o->has_exited && !o->has_failed;
}

static struct oracle_slot *slot_of(struct sim *s, const struct oracle_stream *o, unsigned i)
{
	return &s->slots[o->feed][o->slots[i]];
}

/* ---- streams ---- */

void oracle_void(struct sim *s, uint32_t stream)
{
	struct oracle_stream *o = &s->streams[stream];

	for (unsigned i = 0; i < o->n_slots; i++) {
		struct oracle_slot *slot = slot_of(s, o, i);

		if (slot->is_leased || slot->owner != stream)
			continue;
		slot->generation++;
		slot->n_old_writers = slot->n_writers;
		slot->has_batch = false;
	}
}

void oracle_start(struct sim *s, uint32_t stream, uint32_t batch, uint64_t epoch, uint64_t position, uint64_t bad)
{
	struct oracle_stream *o = &s->streams[stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	uint32_t world = s->groups[o->group].world;

	o->pass = (struct pass){.n_samples = feed->n_positions, .start = position, .world = world,
				.last = feed->last};
	o->pass.batch = batch ? batch : feed->batch_size ? feed->batch_size : feed->batch_global / world;
	o->epoch = epoch;
	o->step = 0;
	o->bad = bad;
	o->must_end = pass_n_batches(&o->pass) == 0;
	o->n_blemishes = 0;
	o->hungry_ns = s->now;
	o->n_hungry_events = s->n_events;
}

/* May the slot change hands? */
static void check_free(struct sim *s, const struct oracle_slot *slot)
{
	const struct oracle_stream *before;

	SIM_CHECK(s, slot->n_writers == 0, "a slot changes hands while a worker writes it");
	if (slot->owner == NOBODY)
		return;
	before = &s->streams[slot->owner];
	if (before->is_used && !(before->has_hung_up && before->has_exited))
		SIM_CHECK(s, before->is_detached && !slot->is_leased,
			  "a slot changes hands while its trainer may read it");
}

void oracle_attached(struct sim *s, uint32_t stream, uint32_t trainer, const struct core_attach *a)
{
	struct oracle_stream *o = &s->streams[stream];
	struct blemish *blemishes = o->blemishes;
	unsigned room = o->n_blemishes_room;

	SIM_CHECK(s, stream < s->world.spec.n_streams && !o->is_used, "a stream's number is taken twice");
	*o = (struct oracle_stream){.is_used = true, .trainer = trainer, .feed = a->feed,
				    .group = s->trainers[trainer].group, .rank = a->rank,
				    .generation = a->generation, .attached_ns = s->now, .blemishes = blemishes,
				    .n_blemishes_room = room};
	o->n_slots = core_stream_slots(s->core, stream, o->slots, CORE_STREAM_SLOTS_MAX);
	SIM_CHECK(s, o->n_slots >= 2 && o->n_slots <= s->world.feeds[a->feed].slots_per_rank,
		  "%u slots", o->n_slots);
	o->credit = a->credit && a->credit < o->n_slots ? a->credit : o->n_slots;
	for (unsigned i = 0; i < o->n_slots; i++) {
		struct oracle_slot *slot = slot_of(s, o, i);

		check_free(s, slot);
		slot->owner = stream;
		slot->is_leased = slot->has_batch = false;
		slot->generation++;
	}
	oracle_start(s, stream, a->batch, a->epoch, a->position, a->bad);
}

void oracle_released(struct sim *s, uint32_t stream, uint64_t lease)
{
	struct oracle_stream *o = &s->streams[stream];

	for (unsigned i = 0; i < o->n_slots; i++) {
		struct oracle_slot *slot = slot_of(s, o, i);

		if (slot->owner != stream || !slot->is_leased || slot->lease != lease)
			continue;
		slot->is_leased = slot->has_batch = false;
		slot->generation++;
		if (o->n_leased-- == o->credit) {
			o->hungry_ns = s->now;
			o->n_hungry_events = s->n_events;
		}
		return;
	}
	SIM_CHECK(s, false, "no such lease");
}

/* ---- rows ---- */

static unsigned n_bad_samples(const struct oracle_stream *o, uint64_t epoch, uint64_t position)
{
	for (unsigned i = 0; i < o->n_blemishes; i++)
		if (o->blemishes[i].epoch == epoch && o->blemishes[i].position == position)
			return o->blemishes[i].n;
	return 0;
}

/* The sample that the order names for the position, its n-th substitute for n > 0. */
static uint64_t expected_sample(const struct sim *s, uint32_t feed, uint64_t epoch, uint64_t position,
				unsigned n)
{
	struct order order;
	uint64_t sample;

	if (order_init(&order, &s->world.feeds[feed].order, &s->world.more[feed].order_shards, epoch))
		abort();
	if (n == 0 || s->world.feeds[feed].policy == CORE_BAD_MASK)
		sample = order_sample(&order, position);
	else
		sample = order_substitute(&order, position, n);
	order_deinit(&order);
	return sample;
}

/* The step of the stream's pass that holds the position in that row, or UINT64_MAX. */
static uint64_t step_of(const struct oracle_stream *o, uint64_t epoch, uint64_t position, uint32_t row)
{
	struct pass pass = o->pass;
	uint64_t step;

	if (epoch != o->epoch)
		pass.start = 0;
	if (position < pass.start)
		return UINT64_MAX;
	step = (position - pass.start) / (pass.batch * pass.world);
	if (step >= pass_n_batches(&pass) || row >= pass_batch_length(&pass, step, o->rank) ||
	    pass_position(&pass, step, o->rank, row) != position)
		return UINT64_MAX;
	return step;
}

static void take_row(struct sim *s, const struct sim_task *t, unsigned i, struct oracle_slot *slot,
		     bool is_idle)
{
	const struct task_sample *said = &t->samples[i];
	const struct oracle_stream *o = &s->streams[slot->owner];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	uint64_t step = step_of(o, t->head.epoch, said->position, said->row);
	unsigned n = n_bad_samples(o, t->head.epoch, said->position);
	bool is_masked = n > 0 && feed->policy == CORE_BAD_MASK;
	uint32_t flags = is_masked ? TASK_SAMPLE_MASK
			 : said->position < o->pass.n_samples ? TASK_SAMPLE_VALID : 0;
	struct row *row = &slot->rows[said->row];
	bool is_blamed;

	SIM_CHECK(s, step != UINT64_MAX && said->row < feed->n_rows,
		  "row %u is no place of position %llu", said->row, (unsigned long long)said->position);
	SIM_CHECK(s, t->head.epoch > o->epoch || (t->head.epoch == o->epoch && step >= o->step),
		  "a batch is made again");
	if (!slot->has_batch) {
		memset(slot->rows, 0, sizeof(slot->rows));
		slot->has_batch = true;
		slot->epoch = t->head.epoch;
		slot->step = step;
	}
	SIM_CHECK(s, slot->epoch == t->head.epoch && slot->step == step, "two batches in one slot");
	SIM_CHECK(s, !row->is_done && !row->is_in_hand, "a row is written twice");
	SIM_CHECK(s, said->sample == expected_sample(s, o->feed, t->head.epoch, said->position, n),
		  "sample %llu at position %llu (%u bad ones before)", (unsigned long long)said->sample,
		  (unsigned long long)said->position, n);
	SIM_CHECK(s, said->flags == flags, "flags %u", said->flags);
	is_blamed = row->is_blamed && row->attempt == n;
	SIM_CHECK(s, !is_blamed || (t->head.n_samples == 1 && is_idle),
		  "a sample on which a worker died is not tried alone");
	*row = (struct row){.position = said->position, .sample = said->sample, .is_masked = is_masked,
			    .is_in_hand = true, .is_bad = n > 0, .is_blamed = is_blamed, .attempt = n};
}

void oracle_task(struct sim *s, struct sim_task *t, bool is_idle)
{
	struct oracle_slot *slot;

	SIM_CHECK(s, t->head.slot < s->world.feeds[t->head.feed].n_slots, "slot %u", t->head.slot);
	SIM_CHECK(s, t->head.seed == s->world.feeds[t->head.feed].order.seed, "the seed");
	slot = &s->slots[t->head.feed][t->head.slot];
	SIM_CHECK(s, slot->owner != NOBODY && oracle_is_live(&s->streams[slot->owner]),
		  "a task for a slot that nobody waits for");
	SIM_CHECK(s, !slot->is_leased, "a worker writes a leased slot");
	SIM_CHECK(s, slot->n_old_writers == 0, "a worker still writes what was in the slot before");
	t->generation = slot->generation;
	slot->n_writers++;
	for (unsigned i = 0; i < t->head.n_samples; i++)
		take_row(s, t, i, slot, is_idle);
}

void oracle_blame(struct sim *s, const struct sim_task *t)
{
	struct oracle_slot *slot = &s->slots[t->head.feed][t->head.slot];

	for (unsigned i = 0; t->generation == slot->generation && i < t->head.n_samples; i++)
		slot->rows[t->samples[i].row].is_blamed = true;
}

void oracle_task_over(struct sim *s, const struct sim_task *t, const bool *is_done)
{
	struct oracle_slot *slot = &s->slots[t->head.feed][t->head.slot];

	slot->n_writers--;
	if (t->generation != slot->generation) {
		slot->n_old_writers--;
		return;
	}
	for (unsigned i = 0; i < t->head.n_samples; i++) {
		struct row *row = &slot->rows[t->samples[i].row];

		row->is_in_hand = false;
		row->is_done = is_done[i];
	}
}
