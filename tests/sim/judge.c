/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The oracle's verdicts on what the core tells trainers: batches, ends of epochs, deaths of others, their own. */
#include "sim.h"

/* ---- batches ---- */

/* n_least of the batch's rows were bad, and n_most at most: the token says how many, but for an epoch's last. */
static void judge_token(struct sim *s, struct oracle_stream *o, const struct core_action *a, uint64_t n_least,
			uint64_t n_most)
{
	bool is_last = o->step + 1 == pass_n_batches(&o->pass);
	uint64_t epoch = o->epoch + is_last;
	uint64_t position = is_last ? 0 : o->pass.start + (o->step + 1) * o->pass.batch * o->pass.world;
	uint64_t n_bad = is_last ? n_least : a->lend.bad - o->bad;

	SIM_CHECK(s, a->lend.epoch_after == epoch && a->lend.position_after == position,
		  "token (%llu, %llu)", (unsigned long long)a->lend.epoch_after,
		  (unsigned long long)a->lend.position_after);
	SIM_CHECK(s, is_last ? a->lend.bad == 0 : n_bad >= n_least && n_bad <= n_most,
		  "token says %llu bad, not %llu to %llu more than %llu", (unsigned long long)a->lend.bad,
		  (unsigned long long)n_least, (unsigned long long)n_most, (unsigned long long)o->bad);
	o->bad += n_bad;
	o->n_bad += n_bad;
	o->n_unsure += is_last ? n_most - n_least : 0;
	o->step++;
	o->must_end = is_last;
}

static void judge_rows(struct sim *s, struct oracle_stream *o, const struct oracle_slot *slot, uint64_t n)
{
	SIM_CHECK(s, n == 0 || (slot->has_batch && slot->batch == o->pass.batch &&
				point_compare(slot->point, oracle_point(o)) == 0), "another batch's slot");
	for (uint64_t i = 0; i < n; i++) {
		const struct row *row = &slot->rows[i];

		SIM_CHECK(s, row->is_done && row->position == pass_position(&o->pass, o->step, o->rank, i),
			  "row %llu of %llu is not there", (unsigned long long)i, (unsigned long long)n);
		o->n_padded += row->position >= o->pass.n_samples;
		s->n_padded[o->feed] += row->position >= o->pass.n_samples;
	}
}

/* May it be so far ahead of the last of those who share the pass? */
static void judge_window(struct sim *s, const struct oracle_stream *o)
{
	const struct course *c = &s->courses[o->course];
	const uint32_t window = s->world.feeds[o->feed].window;
	struct point least;

	course_least(s, c, NOBODY, &least);
	SIM_CHECK(s, !window || course_distance(s, c, least, oracle_point(o)) < window,
		  "%llu batches ahead of the last", (unsigned long long)course_distance(s, c, least, oracle_point(o)));
}

static void take_lease(struct sim *s, struct oracle_stream *o, const struct core_action *a)
{
	SIM_CHECK(s, o->n_leased < o->credit, "over the credit");
	for (unsigned i = 0; i < o->n_leased; i++) /* shared ones again after a seek back */
		SIM_CHECK(s, (o->is_shared || o->leases[i].slot != a->lend.slot) && o->leases[i].lease < a->lend.lease,
			  "lent twice");
	o->leases[o->n_leased++] = (struct oracle_lease){.lease = a->lend.lease, .slot = a->lend.slot};
	o->hungry_ns = o->moved_ns = s->now;
	o->has_moved = true;
	o->n_hungry_events = s->n_events;
}

/* When the batch was opened, staged, ready; and what its trainer has waited for since its last one. */
static void judge_times(struct sim *s, struct oracle_stream *o, const struct oracle_slot *slot, const struct core_action *a)
{
	uint64_t waits = 0;

	for (unsigned i = 0; i < CORE_WAITS; i++)
		waits += a->lend.waits_ns[i];
	SIM_CHECK(s, waits == s->told_ns - o->lent_ns, "waits of %llu ns in %llu", (unsigned long long)waits,
		  (unsigned long long)(s->told_ns - o->lent_ns));
	o->lent_ns = s->told_ns;
	SIM_CHECK(s, a->lend.opened_ns <= a->lend.staged_ns && a->lend.staged_ns <= a->lend.ready_ns &&
		  a->lend.ready_ns <= s->told_ns, "ready before it was staged, or staged before it was opened");
	if (a->lend.n_rows)
		SIM_CHECK(s, a->lend.ready_ns == slot->done_ns && a->lend.staged_ns >= slot->landed_ns &&
			  a->lend.staged_ns <= slot->taken_ns, "staged at %llu, ready at %llu, and not from %llu to %llu and at %llu",
			  (unsigned long long)a->lend.staged_ns, (unsigned long long)a->lend.ready_ns,
			  (unsigned long long)slot->landed_ns, (unsigned long long)slot->taken_ns,
			  (unsigned long long)slot->done_ns);
}

/* What is ready goes out before anything else is planned: but for what an empty batch, made on the spot, lets through. */
static void judge_haste(struct sim *s, uint32_t n_rows)
{
	struct core_totals totals;

	core_view_totals(s->core, &totals);
	s->is_late_lending = s->is_late_lending || n_rows == 0;
	SIM_CHECK(s, s->is_late_lending || totals.n_reads + totals.n_tasks == s->n_begun, "a batch waits for what is planned");
}

static void judge_lend(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	uint64_t n, n_least = 0, n_most = 0, allowed, number = o->pass.start / (o->pass.batch * o->pass.world) + o->step;
	const struct oracle_slot *slot;

	SIM_CHECK(s, oracle_is_live(o) && a->lend.serial == o->serial, "a batch for nobody");
	SIM_CHECK(s, !o->must_end, "the end of the epoch was not told");
	SIM_CHECK(s, a->lend.slot < s->world.feeds[o->feed].n_slots, "slot %u", a->lend.slot);
	slot = &s->slots[o->feed][a->lend.slot];
	n = pass_batch_length(&o->pass, o->step, o->rank);
	SIM_CHECK(s, slot->course == o->course && holders_writers(s, o->feed, a->lend.slot, UINT64_MAX) == 0,
		  "the slot is not to be lent");
	SIM_CHECK(s, a->lend.epoch == o->epoch && a->lend.step == number && a->lend.n_rows == n,
		  "epoch %llu step %llu instead of %llu, %llu", (unsigned long long)a->lend.epoch,
		  (unsigned long long)a->lend.step, (unsigned long long)o->epoch,
		  (unsigned long long)number);
	judge_haste(s, a->lend.n_rows);
	judge_window(s, o);
	judge_times(s, o, slot, a);
	judge_rows(s, o, slot, n);
	if (n)
		slot_bad(slot, n, &n_least, &n_most);
	SIM_CHECK(s, n_least == 0 || limit_least(s, o, n_least, &allowed) <= allowed, "over the limit");
	SIM_CHECK(s, n_least == 0 || s->world.feeds[o->feed].policy != CORE_BAD_FAIL, "a bad sample is lent");
	judge_token(s, o, a, n_least, n_most);
	o->n_due += n;
	s->n_due[o->feed] += n;
	s->n_batches[o->feed]++;
	take_lease(s, o, a);
	blemishes_forget(s, &s->courses[o->course]);
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
	SIM_CHECK(s, a->lend.epoch_after == o->epoch && a->lend.n_batches == pass_n_batches(&o->pass),
		  "the next epoch has %llu batches", (unsigned long long)a->lend.n_batches);
}

/* ---- deaths ---- */

static void judge_peer_gone(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	unsigned i = 0;

	SIM_CHECK(s, oracle_is_live(o), "a death told to nobody");
	while (i < o->n_peers && (o->peers[i].rank != a->peer.rank || o->peers[i].replica != a->peer.replica))
		i++;
	SIM_CHECK(s, i < o->n_peers, "rank %u, replica %u has not died", a->peer.rank, a->peer.replica);
	o->peers[i] = o->peers[--o->n_peers];
	s->n_peers++;
}

static void judge_gone(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];

	SIM_CHECK(s, o->is_used && o->has_hung_up, "gone before it hung up");
	SIM_CHECK(s, holders_is_gone(o), "gone while it may read");
	o->is_used = false;
	o->n_leased = 0;
	s->n_gone++;
}

static void judge_mended(struct sim *s, const struct core_action *a)
{
	const struct world_feed *w = &s->world.more[a->mended.feed];
	bool is_unit = a->mended.sample == UINT64_MAX, is_real = false;

	SIM_CHECK(s, world_base(s, a->mended.feed) == a->mended.feed, "a view");
	s->n_mended++;
	sim_fault(s, is_unit ? FAULT_unit_mended : FAULT_sample_mended);
	if (!is_unit) {
		SIM_CHECK(s, packing_is_plain(s, a->mended.feed, a->mended.sample) && w->n_doubts[a->mended.sample],
			  "sample %llu was never damaged", (unsigned long long)a->mended.sample);
		SIM_CHECK(s, a->mended.offset == 512 * (uint64_t)samples_place(&w->samples, a->mended.sample, 0)->header_block,
			  "it does not lie at %llu", (unsigned long long)a->mended.offset);
		return;
	}
	for (uint64_t i = 0; i < w->samples.n_units; i++)
		is_real = is_real || (w->samples.units[i].offset == a->mended.offset && w->unit_damage[i] &&
				      w->unit_damage[i] < DAMAGED);
	SIM_CHECK(s, is_real, "no unit was damaged there");
}

void judge_action(struct sim *s, const struct core_action *a)
{
	SIM_CHECK(s, a->kind == CORE_READ || a->kind == CORE_TASK || a->kind == CORE_KILL_WORKER || a->kind == CORE_MENDED ||
		  a->stream < s->world.spec.n_streams, "stream %u", a->stream);
	s->n_begun += a->kind == CORE_READ || a->kind == CORE_TASK;
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
		judge_peer_gone(s, a);
		break;
	case CORE_MENDED:
		judge_mended(s, a);
		break;
	}
}
