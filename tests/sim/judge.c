/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The oracle's verdicts: on each thing the core tells trainers and the ledger, and on the state between two
 * events: nothing lost, nobody starved, every wait accounted for.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- bad samples ---- */

static struct blemish *blemish_at(struct sim *s, struct oracle_stream *o, uint64_t epoch, uint64_t position)
{
	for (unsigned i = 0; i < o->n_blemishes; i++)
		if (o->blemishes[i].epoch == epoch && o->blemishes[i].position == position)
			return &o->blemishes[i];
	if (o->n_blemishes == o->n_blemishes_room) {
		o->n_blemishes_room = o->n_blemishes_room * 2 + 64;
		o->blemishes = realloc(o->blemishes, o->n_blemishes_room * sizeof(*o->blemishes));
		if (!o->blemishes)
			abort();
	}
	o->blemishes[o->n_blemishes] = (struct blemish){.epoch = epoch, .position = position};
	return &o->blemishes[o->n_blemishes++];
}

static bool is_cause_real(const struct sim *s, uint32_t feed, uint64_t sample, enum cause cause)
{
	const struct world_feed *w = &s->world.more[feed];

	switch (cause) {
	case CAUSE_worker_died:
		return w->n_deaths[sample] >= 2 || packing_has(s, feed, sample, w->unit_deaths, 2);
	case CAUSE_overrun:
		return w->n_overruns[sample] >= 2 || packing_has(s, feed, sample, w->unit_overruns, 2);
	case CAUSE_read_error:
		return w->n_errors[sample] >= 3 || packing_has(s, feed, sample, w->unit_errors, 3);
	case CAUSE_read_late:
		return w->n_late[sample] >= 2 || packing_has(s, feed, sample, w->unit_late, 2);
	case CAUSE_damaged_unit:
		return packing_has(s, feed, sample, w->unit_damage, 2);
	default:
		return cause != CAUSE_none && cause == world_cause(s, feed, sample);
	}
}

static bool is_transient(enum cause cause)
{
	return cause == CAUSE_overrun || cause == CAUSE_read_error || cause == CAUSE_read_late;
}

static void judge_bad(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	struct order order;
	struct blemish *b;
	uint64_t sample;

	SIM_CHECK(s, oracle_is_live(o) && a->bad.feed == o->feed, "a bad sample of nobody");
	SIM_CHECK(s, is_cause_real(s, o->feed, a->bad.sample, a->bad.cause), "sample %llu is not bad by %s",
		  (unsigned long long)a->bad.sample, cause_name(a->bad.cause));
	if (is_transient(a->bad.cause))
		SIM_CHECK(s, feed->is_transient_bad, "a fault of the machine counts as a bad sample");
	b = blemish_at(s, o, a->bad.epoch, a->bad.position);
	if (order_init(&order, &feed->order, &s->world.more[o->feed].order_shards, a->bad.epoch))
		abort();
	sample = b->n == 0 ? order_sample(&order, a->bad.position)
			   : order_substitute(&order, a->bad.position, b->n);
	order_deinit(&order);
	SIM_CHECK(s, a->bad.sample == sample, "not the sample of that position");
	SIM_CHECK(s, feed->policy != CORE_BAD_MASK || b->n == 0, "a masked row is bad again");
	b->n++;
	s->n_bads++;
}

/* ---- failures ---- */

/* What the group's live trainers of this epoch have had, and this batch. */
static uint64_t count_limit(const struct sim *s, const struct oracle_stream *o, uint64_t bad_here,
			    uint64_t *ret_allowed)
{
	const struct core_feed *feed = &s->world.feeds[o->feed];
	double share = feed->bad_limit * (double)feed->n_positions;
	uint64_t n = bad_here;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *other = &s->streams[i];

		if (oracle_is_live(other) && other->group == o->group && other->epoch == o->epoch)
			n += other->bad;
	}
	*ret_allowed = share < 1 ? 1 : (uint64_t)share;
	return n;
}

static uint64_t count_bad(const struct oracle_slot *slot, uint64_t n_rows)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < n_rows; i++)
		n += slot->rows[i].is_bad;
	return n;
}

static void judge_limit(struct sim *s, struct oracle_stream *o, const struct core_action *a)
{
	uint64_t n_rows = pass_batch_length(&o->pass, o->step, o->rank), allowed, n;

	for (unsigned i = 0; i < o->n_slots; i++) {
		const struct oracle_slot *slot = &s->slots[o->feed][o->slots[i]];

		if (slot->is_leased || !slot->has_batch || slot->epoch != o->epoch || slot->step != o->step)
			continue;
		n = count_limit(s, o, count_bad(slot, n_rows), &allowed);
		SIM_CHECK(s, n > allowed && n == a->bad.count && allowed == a->bad.allowed,
			  "%llu of %llu bad, said %llu of %llu", (unsigned long long)n,
			  (unsigned long long)allowed, (unsigned long long)a->bad.count,
			  (unsigned long long)a->bad.allowed);
		return;
	}
	SIM_CHECK(s, false, "too many bad samples, but of which batch?");
}

static void judge_fail(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	unsigned n = 0;

	SIM_CHECK(s, oracle_is_live(o), "a failure for nobody");
	for (unsigned i = 0; i < o->n_blemishes; i++)
		if (o->blemishes[i].epoch == a->bad.epoch && o->blemishes[i].position == a->bad.position)
			n = o->blemishes[i].n;
	switch (a->bad.failure) {
	case CORE_FAIL_BAD_SAMPLE:
		SIM_CHECK(s, feed->policy == CORE_BAD_FAIL && n == 1, "policy");
		break;
	case CORE_FAIL_NO_SUBSTITUTE:
		SIM_CHECK(s, feed->policy == CORE_BAD_SUBSTITUTE && n == ORDER_ATTEMPTS + 1,
			  "%u were bad", n);
		break;
	case CORE_FAIL_TOO_MANY_BAD:
		judge_limit(s, o, a);
		break;
	case CORE_FAIL_STORAGE:
		SIM_CHECK(s, !feed->is_transient_bad && is_transient(a->bad.cause) &&
			  is_cause_real(s, o->feed, a->bad.sample, a->bad.cause), "storage is fine");
		break;
	case CORE_FAIL_CHANGED:
		SIM_CHECK(s, s->world.more[o->feed].n_changes > 0, "nothing has changed");
		break;
	case CORE_FAIL_EVICTED:
		SIM_CHECK(s, false, "nobody shares a pass");
		break;
	case CORE_FAIL_REPLACED:
		SIM_CHECK(s, s->coming == o->group && o->generation < s->groups[o->group].generation,
			  "nobody came instead");
		break;
	}
	s->n_fails++;
	oracle_void(s, a->stream);
	o->has_failed = true;
}

/* ---- batches ---- */

static void judge_token(struct sim *s, struct oracle_stream *o, const struct core_action *a)
{
	bool is_last = o->step + 1 == pass_n_batches(&o->pass);
	uint64_t epoch = o->epoch + is_last;
	uint64_t position = is_last ? 0 : o->pass.start + (o->step + 1) * o->pass.batch * o->pass.world;

	SIM_CHECK(s, a->lend.epoch_after == epoch && a->lend.position_after == position,
		  "token (%llu, %llu)", (unsigned long long)a->lend.epoch_after,
		  (unsigned long long)a->lend.position_after);
	SIM_CHECK(s, a->lend.bad == (is_last ? 0 : o->bad), "token says %llu bad, not %llu",
		  (unsigned long long)a->lend.bad, (unsigned long long)o->bad);
	o->step++;
	if (is_last)
		o->must_end = true;
}

static void judge_rows(struct sim *s, struct oracle_stream *o, const struct oracle_slot *slot, uint64_t n)
{
	SIM_CHECK(s, n == 0 || slot->has_batch, "an empty slot is lent");
	for (uint64_t i = 0; i < n; i++) {
		const struct row *row = &slot->rows[i];
		unsigned k = 0;

		SIM_CHECK(s, row->is_done && row->position == pass_position(&o->pass, o->step, o->rank, i),
			  "row %llu of %llu is not there", (unsigned long long)i, (unsigned long long)n);
		while (k < o->n_blemishes && (o->blemishes[k].epoch != o->epoch ||
					      o->blemishes[k].position != row->position))
			k++;
		SIM_CHECK(s, (k < o->n_blemishes) == row->is_bad, "bad or not?");
		o->n_padded += row->position >= o->pass.n_samples;
		if (k < o->n_blemishes)
			o->blemishes[k] = o->blemishes[--o->n_blemishes];
	}
}

static void judge_lend(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	uint64_t n, n_bad, allowed, number = o->pass.start / (o->pass.batch * o->pass.world) + o->step;
	struct oracle_slot *slot;

	SIM_CHECK(s, oracle_is_live(o) && a->lend.serial == o->serial, "a batch for nobody");
	SIM_CHECK(s, !o->must_end, "the end of the epoch was not told");
	SIM_CHECK(s, a->lend.slot < s->world.feeds[o->feed].n_slots, "slot %u", a->lend.slot);
	slot = &s->slots[o->feed][a->lend.slot];
	n = pass_batch_length(&o->pass, o->step, o->rank);
	SIM_CHECK(s, slot->owner == a->stream && !slot->is_leased && slot->n_writers == 0,
		  "the slot is not to be lent");
	SIM_CHECK(s, a->lend.epoch == o->epoch && a->lend.step == number && a->lend.n_rows == n,
		  "epoch %llu step %llu instead of %llu, %llu", (unsigned long long)a->lend.epoch,
		  (unsigned long long)a->lend.step, (unsigned long long)o->epoch,
		  (unsigned long long)number);
	SIM_CHECK(s, n == 0 || (slot->epoch == o->epoch && slot->step == o->step), "another batch's slot");
	n_bad = n ? count_bad(slot, n) : 0;
	SIM_CHECK(s, n_bad == 0 || count_limit(s, o, n_bad, &allowed) <= allowed, "over the limit");
	SIM_CHECK(s, n_bad == 0 || s->world.feeds[o->feed].policy != CORE_BAD_FAIL, "a bad sample is lent");
	judge_rows(s, o, slot, n);
	o->bad += n_bad;
	o->n_bad += n_bad;
	o->n_due += n;
	judge_token(s, o, a);
	slot->is_leased = true;
	slot->lease = a->lend.lease;
	SIM_CHECK(s, ++o->n_leased <= o->credit, "over the credit");
	o->hungry_ns = s->now;
	o->n_hungry_events = s->n_events;
	s->n_lent++;
	s->n_rows += n;
	trainer_lent(s, o->trainer, a);
}

static void judge_epoch_end(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];

	SIM_CHECK(s, oracle_is_live(o) && o->must_end && a->lend.epoch == o->epoch &&
		  a->lend.serial == o->serial, "an epoch ends that does not");
	o->must_end = false;
	o->epoch++;
	o->step = o->bad = 0;
	o->pass.start = 0;
}

static void judge_gone(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];

	SIM_CHECK(s, o->is_used && o->has_hung_up, "gone before it hung up");
	SIM_CHECK(s, o->has_exited || (o->is_detached && o->n_leased == 0), "gone while it may read");
	for (unsigned i = 0; i < o->n_slots; i++) {
		struct oracle_slot *slot = &s->slots[o->feed][o->slots[i]];

		if (slot->owner != a->stream)
			continue;
		slot->owner = NOBODY;
		slot->is_leased = slot->has_batch = false;
	}
	o->is_used = false;
	s->n_gone++;
}

void judge_action(struct sim *s, const struct core_action *a)
{
	SIM_CHECK(s, a->kind == CORE_READ || a->kind == CORE_TASK || a->kind == CORE_KILL_WORKER ||
		  a->stream < s->world.spec.n_streams, "stream %u", a->stream);
	switch (a->kind) {
	case CORE_READ:
		disk_read(s, a);
		break;
	case CORE_TASK:
		crew_take(s, a);
		break;
	case CORE_KILL_WORKER:
		crew_kill(s, a->task.worker);
		break;
	case CORE_LEND:
		judge_lend(s, a);
		break;
	case CORE_EPOCH_END:
		judge_epoch_end(s, a);
		break;
	case CORE_FAIL:
		judge_fail(s, a);
		break;
	case CORE_BAD:
		judge_bad(s, a);
		break;
	case CORE_GONE:
		judge_gone(s, a);
		break;
	case CORE_PEER_GONE:
		SIM_CHECK(s, false, "nobody shares a pass");
		break;
	}
}

/* ---- between two events ---- */

static void judge_stream(struct sim *s, uint32_t stream, bool is_quiet)
{
	struct oracle_stream *o = &s->streams[stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	struct core_stream_view v;
	uint64_t waits = 0;

	core_view_stream(s->core, stream, &v);
	SIM_CHECK(s, v.is_used == o->is_used, "stream %u", stream);
	if (!o->is_used)
		return;
	SIM_CHECK(s, v.n_due == o->n_due && v.n_bad == o->n_bad && v.n_padded == o->n_padded &&
		  v.n_good + v.n_bad == v.n_due, "the sums of stream %u", stream);
	SIM_CHECK(s, v.n_lent == o->n_leased || !oracle_is_live(o), "stream %u holds %u", stream,
		  o->n_leased);
	if (!oracle_is_live(o))
		return;
	SIM_CHECK(s, !o->must_end, "the end of the epoch is not told");
	for (unsigned i = 0; i < CORE_WAITS; i++)
		waits += v.waits_ns[i];
	SIM_CHECK(s, waits == s->told_ns - o->attached_ns, "waits of %llu ns in %llu ns",
		  (unsigned long long)waits, (unsigned long long)(s->told_ns - o->attached_ns));
	for (unsigned i = 0; i < o->n_blemishes; i++)
		SIM_CHECK(s, feed->policy != CORE_BAD_FAIL && o->blemishes[i].n <= ORDER_ATTEMPTS,
			  "it should have failed");
	if (o->n_leased >= o->credit)
		return;
	SIM_CHECK(s, !is_quiet, "stream %u waits, and nothing is under way", stream);
	SIM_CHECK(s, !s->world.is_healthy || s->now - o->hungry_ns < s->world.wait_ns_max,
		  "stream %u has waited for %.3f s", stream, (double)(s->now - o->hungry_ns) / 1e9);
	if (s->now - o->hungry_ns > s->worst_wait_ns)
		s->worst_wait_ns = s->now - o->hungry_ns;
	if (s->n_events - o->n_hungry_events > s->worst_wait_events)
		s->worst_wait_events = s->n_events - o->n_hungry_events;
}

static void judge_feed(struct sim *s, uint32_t feed)
{
	struct core_feed_view v;
	uint32_t n_leased = 0, n_slots = s->world.feeds[feed].n_slots;

	core_view_feed(s->core, feed, &v);
	SIM_CHECK(s, v.slots.all == n_slots && v.slots.free + v.slots.filling + v.slots.ready +
		  v.slots.leased + v.slots.quarantined == n_slots, "slots of feed %u", feed);
	for (uint32_t i = 0; i < n_slots; i++) {
		const struct oracle_slot *slot = &s->slots[feed][i];

		if (slot->owner == NOBODY || !slot->is_leased)
			continue;
		n_leased += !s->streams[slot->owner].has_hung_up && !s->streams[slot->owner].has_exited;
	}
	SIM_CHECK(s, v.slots.leased == n_leased, "%u leased, not %u", v.slots.leased, n_leased);
}

/* Both signals are in and no worker writes: then nothing is kept. */
static void judge_dead(struct sim *s, uint32_t stream)
{
	const struct oracle_stream *o = &s->streams[stream];
	uint32_t n_writers = 0;

	if (!o->is_used || !o->has_hung_up || !(o->has_exited || (o->is_detached && o->n_leased == 0)))
		return;
	for (unsigned i = 0; i < o->n_slots; i++)
		if (s->slots[o->feed][o->slots[i]].owner == stream)
			n_writers += s->slots[o->feed][o->slots[i]].n_writers;
	SIM_CHECK(s, n_writers > 0, "stream %u is dead and not gone", stream);
}

void judge_state(struct sim *s)
{
	bool is_quiet = s->n_flying == 0 && crew_is_idle(s);

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		judge_stream(s, i, is_quiet);
		judge_dead(s, i);
	}
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++)
		judge_feed(s, i);
	disk_judge(s);
	if (s->n_events % s->world.check_every == 0)
		core_check(s->core);
}

void judge_end(struct sim *s)
{
	struct core_totals totals;

	core_check(s->core);
	core_view_totals(s->core, &totals);
	SIM_CHECK(s, totals.staging_used == 0, "%llu bytes of staging are still in use",
		  (unsigned long long)totals.staging_used);
	SIM_CHECK(s, s->n_flying == 0 && crew_is_idle(s), "something is still under way");
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		SIM_CHECK(s, !s->streams[i].is_used, "stream %u is not gone", i);
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++) {
		struct core_feed_view v;

		core_view_feed(s->core, i, &v);
		SIM_CHECK(s, v.slots.free == v.slots.all, "slots of feed %u are not free", i);
	}
}
