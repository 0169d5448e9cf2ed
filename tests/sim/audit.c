/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The oracle's verdicts on the state between two events. The invariants by name, and where each is judged:
 *
 * slots conserved: judge_feed, judge_end; the core's own tables: core_check.
 * every sample once, or in the ledger: judge_rows and judge_token (judge.c), judge_bad (blemishes.c), judge_sums,
 * team_made (teams.c).
 * a slot that somebody may read is not written: begin_batch and take_row (oracle.c), make (courses.c), judge_lend.
 * charges within quota: take_lease (judge.c), disk_read, crew_take.
 * progress: judge_hungry, judge_calm; nothing under way at the end: judge_end.
 * a token resumes to the same future: oracle_start takes what the trainer kept, and judge_token and judge_rows go by it.
 * no wait unaccounted for: judge_waits, judge_cause, judge_times (judge.c).
 */
#include "sim.h"

/* ---- streams ---- */

static void judge_sums(struct sim *s, uint32_t stream, const struct core_stream_view *v)
{
	struct oracle_stream *o = &s->streams[stream];

	SIM_CHECK(s, v->n_bad >= o->n_bad && v->n_bad <= o->n_bad + o->n_unsure, "the bad rows of stream %u", stream);
	o->n_bad = v->n_bad;
	o->n_unsure = 0;
	SIM_CHECK(s, v->n_due == o->n_due && v->n_padded == o->n_padded && v->n_good + v->n_bad == v->n_due,
		  "the sums of stream %u", stream);
	SIM_CHECK(s, v->n_lent == o->n_leased, "stream %u holds %u", stream, o->n_leased);
	SIM_CHECK(s, v->is_shared == o->is_shared && v->replica == o->replica && v->rank == o->rank,
		  "who stream %u is", stream);
}

static void judge_waits(struct sim *s, const struct oracle_stream *o, const struct core_stream_view *v)
{
	uint64_t waits = 0;

	for (unsigned i = 0; i < CORE_WAITS; i++)
		waits += v->waits_ns[i];
	SIM_CHECK(s, waits == s->told_ns - o->attached_ns, "waits of %llu ns in %llu ns",
		  (unsigned long long)waits, (unsigned long long)(s->told_ns - o->attached_ns));
}

static void judge_lag(struct sim *s, const struct oracle_stream *o, const struct core_stream_view *v)
{
	const struct course *c = &s->courses[o->course];
	struct point most;
	uint64_t n;

	most = oracle_point(o);
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (team_has(s, o, &s->streams[i]) && point_compare(oracle_point(&s->streams[i]), most) > 0)
			most = oracle_point(&s->streams[i]);
	n = course_distance(s, c, oracle_point(o), most);
	SIM_CHECK(s, v->lag <= n && (team_is_company(s, c) || v->lag <= c->n_slots), "a lag of %llu, not %llu", (unsigned long long)v->lag,
		  (unsigned long long)n);
	if (c->n_disturbances == 0 && !c->has_jumped && !team_is_company(s, c))
		SIM_CHECK(s, v->lag == n, "a lag of %llu, not %llu", (unsigned long long)v->lag, (unsigned long long)n);
}

/* Its next batch lies there whole, and nobody must be waited for. */
static bool is_served_late(struct sim *s, const struct oracle_stream *o)
{
	const struct course *c = &s->courses[o->course];
	const uint64_t n_rows = pass_batch_length(&o->pass, o->step, o->rank);
	const uint32_t window = s->world.feeds[o->feed].window;
	struct point least;

	course_least(s, c, NOBODY, &least);
	if (n_rows == 0 || (window && course_distance(s, c, least, oracle_point(o)) >= window))
		return false;
	for (struct oracle_slot *slot = NULL; (slot = course_find(s, c, oracle_point(o), slot));) {
		uint64_t n_done = 0;

		for (uint64_t i = 0; i < n_rows; i++)
			n_done += slot->rows[i].is_done;
		if (slot->stamp == c->n_disturbances && n_done == n_rows)
			return true;
	}
	return false;
}

static bool is_alone(const struct sim *s, const struct oracle_stream *o)
{
	struct point other;

	return !team_is_company(s, &s->courses[o->course]) &&
	       !course_least(s, &s->courses[o->course], (uint32_t)(o - s->streams), &other);
}

/* Slots of its course that anybody holds. */
static uint32_t count_held(const struct sim *s, const struct oracle_stream *o)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < o->n_slots; i++)
		n += holders_of(s, o->feed, o->slots[i]).n > 0;
	return n;
}

/* Has one who shares its pass, has batches and does nothing, kept it waiting for too long? */
static bool is_kept_waiting(const struct sim *s, const struct oracle_stream *o)
{
	const uint64_t allowed = s->world.feeds[o->feed].evict_ns;

	if (!allowed || o->n_leased > 0 || s->told_ns - o->moved_ns <= allowed || s->told_ns - s->busy_ns <= allowed)
		return false;
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *slow = &s->streams[i];

		if (slow != o && team_has(s, o, slow) &&
		    (slow->n_leased > 1 || slow->n_leased >= slow->credit) &&
		    point_compare(oracle_point(slow), oracle_point(o)) <= 0 && s->told_ns - slow->moved_ns > allowed)
			return true;
	}
	return false;
}

/* Has a worker a row of its next batch in hand? */
static bool is_being_made(struct sim *s, const struct oracle_stream *o)
{
	const struct course *c = &s->courses[o->course];
	const uint64_t n_rows = pass_batch_length(&o->pass, o->step, o->rank);

	for (struct oracle_slot *slot = NULL; (slot = course_find(s, c, oracle_point(o), slot));)
		for (uint64_t i = 0; slot->stamp == c->n_disturbances && i < n_rows; i++)
			if (slot->rows[i].is_in_hand && slot->rows[i].stamp == c->n_disturbances)
				return true;
	return false;
}

static void judge_hungry(struct sim *s, struct oracle_stream *o, bool is_quiet)
{
	unsigned long stream = (unsigned long)(o - s->streams);

	if (s->world.feeds[o->feed].evict_ns && is_being_made(s, o))
		o->made_ns = s->told_ns;
	SIM_CHECK(s, !is_served_late(s, o), "stream %lu is not lent what lies there", stream);
	if (is_quiet) {
		SIM_CHECK(s, !team_moves(s, o), "stream %lu waits, and nothing is under way", stream);
		SIM_CHECK(s, !s->world.feeds[o->feed].window || !is_kept_waiting(s, o) ||
			  core_deadline(s->core) <= s->told_ns, /* about to be: it waits for that only now */
			  "stream %lu is kept waiting by one that should have been dropped", stream);
	}
	if (!is_alone(s, o) || count_held(s, o) > o->n_leased) { /* it may be others that it waits for */
		o->hungry_ns = s->now;
		o->n_hungry_events = s->n_events;
	}
	SIM_CHECK(s, !s->world.is_healthy || s->now - o->hungry_ns < s->world.wait_ns_max,
		  "stream %lu has waited for %.3f s", stream, (double)(s->now - o->hungry_ns) / 1e9);
	if (s->now - o->hungry_ns > s->worst_wait_ns)
		s->worst_wait_ns = s->now - o->hungry_ns;
	if (s->n_events - o->n_hungry_events > s->worst_wait_events)
		s->worst_wait_events = s->n_events - o->n_hungry_events;
}

static bool is_inflated_for(const struct sim *s, uint32_t base)
{
	for (uint32_t i = 0; i < s->world.spec.n_workers; i++)
		for (unsigned k = 0; k < s->workers[i].n_tasks; k++)
			if (s->workers[i].tasks[k].head.kind == TASK_INFLATE && s->workers[i].tasks[k].head.feed == base)
				return true;
	return false;
}

/* It is said to wait for workers when it does, and for reads when nothing else is done for it. */
static void judge_cause(struct sim *s, const struct oracle_stream *o, int wait)
{
	SIM_CHECK(s, (wait == CORE_WAIT_TRAINER) == (o->n_leased > 1 || o->n_leased >= o->credit),
		  "it holds %u of %u and waits for %d", o->n_leased, o->credit, wait);
	SIM_CHECK(s, wait == CORE_WAIT_DECODE || wait == CORE_WAIT_TRAINER || !is_being_made(s, o),
		  "its batch is being made and it waits for %d", wait);
	SIM_CHECK(s, wait != CORE_WAIT_READ || !is_inflated_for(s, world_base(s, o->feed)), "its units are being inflated");
	SIM_CHECK(s, wait != CORE_WAIT_DECODE || !crew_is_idle(s), "it waits for idle workers");
}

static void judge_stream(struct sim *s, uint32_t stream, bool is_quiet)
{
	struct oracle_stream *o = &s->streams[stream];
	struct core_stream_view v;
	uint64_t before;

	core_view_stream(s->core, stream, &v);
	SIM_CHECK(s, v.is_used == o->is_used, "stream %u", stream);
	if (!o->is_used)
		return;
	judge_sums(s, stream, &v);
	SIM_CHECK(s, !holders_is_gone(o), "stream %u is dead and not gone", stream);
	SIM_CHECK(s, v.has_failed == o->has_failed && !o->is_replaced, "the failure of stream %u", stream);
	if (!oracle_is_live(o))
		return;
	SIM_CHECK(s, !o->must_end, "the end of the epoch is not told");
	SIM_CHECK(s, o->n_peers == 0, "stream %u is not told of a death", stream);
	before = o->pass.start / (o->pass.batch * o->pass.world);
	SIM_CHECK(s, v.epoch == o->epoch && v.position == oracle_point(o).position && v.step == before + o->step,
		  "where stream %u is", stream);
	SIM_CHECK(s, v.n_batches == pass_n_batches(&o->pass) && v.n_steps == before + v.n_batches,
		  "the passes of stream %u", stream);
	judge_waits(s, o, &v);
	judge_cause(s, o, v.wait);
	judge_lag(s, o, &v);
	if (o->n_leased < o->credit)
		judge_hungry(s, o, is_quiet);
}

/* ---- courses, feeds ---- */

static void judge_course(struct sim *s, const struct course *c)
{
	const struct core_feed *feed = &s->world.feeds[c->feed];

	for (unsigned i = 0; i < c->blemishes.n; i++) {
		const struct blemish *b = &c->blemishes.all[i];

		SIM_CHECK(s, feed->policy != CORE_BAD_FAIL &&
			  (b->stamp < c->n_disturbances || b->counts < 2U << ORDER_ATTEMPTS ||
			   b->counts & ((2U << ORDER_ATTEMPTS) - 1)), "it should have failed");
	}
}

/* One that is not wanted any more goes when it is idle: with nothing in hand, and no frame half inflated. */
static void judge_worker(struct sim *s, uint32_t worker)
{
	const struct sim_worker *w = &s->workers[worker];
	bool is_idle = core_worker_is_idle(s->core, worker);

	SIM_CHECK(s, !is_idle || (w->is_up && w->n_tasks == 0), "worker %u is not idle", worker);
	SIM_CHECK(s, is_idle || !w->is_up || w->n_tasks > 0 || w->inflation.is_active, "worker %u is idle", worker);
}

static void judge_feed(struct sim *s, uint32_t feed)
{
	struct core_feed_view v;
	uint32_t n_leased = 0, n_quarantined = 0, n_slots = s->world.feeds[feed].n_slots;
	uint64_t n_by_cause = 0;

	core_view_feed(s->core, feed, &v);
	SIM_CHECK(s, v.slots.all == n_slots && v.slots.free + v.slots.filling + v.slots.ready +
		  v.slots.leased + v.slots.quarantined == n_slots, "slots of feed %u", feed);
	for (uint32_t i = 0; i < n_slots; i++) {
		struct holders h = holders_of(s, feed, i);

		n_leased += h.n > h.n_quarantined;
		n_quarantined += h.n > 0 && h.n == h.n_quarantined;
	}
	SIM_CHECK(s, v.slots.leased == n_leased && v.slots.quarantined == n_quarantined,
		  "%u leased, not %u; %u quarantined, not %u", v.slots.leased, n_leased, v.slots.quarantined,
		  n_quarantined);
	SIM_CHECK(s, v.n_batches == s->n_batches[feed] && v.n_due == s->n_due[feed] && v.n_padded == s->n_padded[feed] &&
		  v.n_good + v.n_bad == v.n_due, "the sums of feed %u", feed);
	SIM_CHECK(s, v.n_warnings == s->n_warnings[feed], "the warnings of feed %u", feed);
	for (unsigned i = 0; i < CAUSE_COUNT; i++) {
		n_by_cause += v.causes[i];
		SIM_CHECK(s, v.causes[i] == 0 || s->n_told[world_base(s, feed)][i] > 0, "%s was never told", cause_name(i));
	}
	SIM_CHECK(s, n_by_cause == v.n_bad, "%llu bad, by cause", (unsigned long long)n_by_cause);
	SIM_CHECK(s, v.n_made <= s->n_made[feed] && (s->is_disturbed[feed] || v.n_made == s->n_made[feed]),
		  "%llu rows made of %llu", (unsigned long long)v.n_made, (unsigned long long)s->n_made[feed]);
}

void judge_state(struct sim *s)
{
	bool is_quiet = s->n_flying == 0 && crew_is_idle(s);

	if (!is_quiet || s->was_busy) /* it was so until this event */
		s->busy_ns = s->told_ns;
	s->was_busy = !is_quiet;
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		judge_stream(s, i, is_quiet);
		if (s->courses[i].is_used)
			judge_course(s, &s->courses[i]);
	}
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++)
		judge_feed(s, i);
	for (uint32_t i = 0; i < s->world.spec.n_workers; i++)
		judge_worker(s, i);
	disk_judge(s);
	clock_judge(s);
	if (s->n_events % s->world.check_every == 0)
		core_check(s->core);
}

bool judge_calm(const struct sim *s)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];
		bool has_moved = !oracle_is_live(o) || !o->was_there || o->has_moved;

		for (uint32_t k = 0; k < s->world.spec.n_streams && !has_moved; k++)
			has_moved = team_has(s, o, &s->streams[k]) && s->streams[k].has_moved;
		if (!has_moved)
			return false;
	}
	return true;
}

void judge_end(struct sim *s)
{
	struct core_totals totals;

	core_check(s->core);
	core_view_totals(s->core, &totals);
	SIM_CHECK(s, totals.staging_used == 0, "%llu bytes of staging are still in use",
		  (unsigned long long)totals.staging_used);
	SIM_CHECK(s, totals.n_mended == s->n_mended && s->n_mended >= s->n_mends_least, "%llu are mended, of %llu told and %llu at least",
		  (unsigned long long)totals.n_mended, (unsigned long long)s->n_mended, (unsigned long long)s->n_mends_least);
	SIM_CHECK(s, totals.n_retries >= totals.n_mended && totals.n_retries <= (s->n_reads + s->n_tasks) * CORE_REQUESTS_MAX,
		  "%llu tried again", (unsigned long long)totals.n_retries);
	SIM_CHECK(s, totals.n_reads == s->n_reads && totals.read_bytes == s->read_bytes, "%llu reads of %llu bytes",
		  (unsigned long long)totals.n_reads, (unsigned long long)totals.read_bytes);
	/* One may come to its end when it is to be begun anew already. */
	SIM_CHECK(s, totals.n_units <= s->n_inflated && totals.inflated_bytes <= s->inflated_bytes &&
		  (totals.n_units < s->n_inflated || totals.inflated_bytes == s->inflated_bytes), "%llu units of %llu bytes",
		  (unsigned long long)totals.n_units, (unsigned long long)totals.inflated_bytes);
	SIM_CHECK(s, totals.n_tasks == s->n_tasks && totals.n_samples == s->n_task_samples, "%llu tasks of %llu samples",
		  (unsigned long long)totals.n_tasks, (unsigned long long)totals.n_samples);
	SIM_CHECK(s, s->n_flying == 0 && crew_is_idle(s), "something is still under way");
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		SIM_CHECK(s, !s->streams[i].is_used, "stream %u is not gone", i);
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++) {
		struct core_feed_view v;

		core_view_feed(s->core, i, &v);
		SIM_CHECK(s, v.slots.free == v.slots.all, "slots of feed %u are not free", i);
	}
}
