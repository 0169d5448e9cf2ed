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

bool oracle_is_member(const struct sim *s, const struct oracle_stream *o, uint32_t group)
{
	return oracle_is_live(o) && o->group == group && s->groups[group].name[0];
}

struct point oracle_point(const struct oracle_stream *o)
{
	if (o->must_end)
		return (struct point){o->epoch + 1, 0};
	return (struct point){o->epoch, o->pass.start + o->step * o->pass.batch * o->pass.world};
}

/* ---- streams ---- */

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
	o->hungry_ns = o->moved_ns = o->made_ns = s->now;
	o->n_hungry_events = s->n_events;
}

/* Groups are numbered as they come, the refused ones too. One that all have left is another when somebody comes again. */
static void judge_number(struct sim *s, uint32_t stream)
{
	struct sim_group *g = &s->groups[s->streams[stream].group];
	struct core_stream_view v;
	bool is_known = false;

	core_view_stream(s->core, stream, &v);
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		is_known = is_known || (i != stream && s->streams[i].is_used && s->streams[i].group == s->streams[stream].group);
	SIM_CHECK(s, strcmp(v.group, g->name) == 0 && (is_known && g->name[0] ? v.group_number == g->number
									      : v.group_number >= s->n_numbers),
		  "group %s has number %u", v.group, v.group_number);
	g->number = v.group_number;
	s->n_numbers = s->n_numbers > g->number ? s->n_numbers : g->number + 1;
}

void oracle_attached(struct sim *s, uint32_t stream, uint32_t trainer, const struct core_attach *a)
{
	struct oracle_stream *o = &s->streams[stream];

	SIM_CHECK(s, stream < s->world.spec.n_streams && !o->is_used, "a stream's number is taken twice");
	*o = (struct oracle_stream){.is_used = true, .trainer = trainer, .feed = a->feed,
				    .group = s->trainers[trainer].group, .rank = a->rank, .replica = a->replica,
				    .generation = a->generation, .attached_ns = s->now, .lent_ns = s->now};
	for (unsigned i = 0; i < CORE_STREAM_SLOTS_MAX; i++)
		o->slots[i] = NOBODY;
	o->n_slots = core_stream_slots(s->core, stream, o->slots, CORE_STREAM_SLOTS_MAX);
	SIM_CHECK(s, o->n_slots >= 2 && o->n_slots <= s->world.feeds[a->feed].slots_per_rank &&
		  (o->n_slots == CORE_STREAM_SLOTS_MAX || o->slots[o->n_slots] == NOBODY), "%u slots", o->n_slots);
	o->credit = o->n_slots;
	if (s->world.feeds[a->feed].window && s->world.feeds[a->feed].evict_ns)
		o->credit /= 2; /* what one that is dropped holds must not be all there is */
	o->credit = a->credit && a->credit < o->credit ? a->credit : o->credit;
	oracle_start(s, stream, a->batch, a->epoch, a->position, a->bad);
	course_join(s, stream, a);
	judge_number(s, stream);
}

void oracle_released(struct sim *s, uint32_t stream, uint64_t lease)
{
	struct oracle_stream *o = &s->streams[stream];

	for (unsigned i = 0; i < o->n_leased; i++) {
		if (o->leases[i].lease != lease)
			continue;
		if (o->n_leased == o->credit) {
			o->hungry_ns = s->now;
			o->n_hungry_events = s->n_events;
		}
		o->leases[i] = o->leases[--o->n_leased];
		o->moved_ns = s->now;
		return;
	}
	SIM_CHECK(s, false, "no such lease");
}

/* ---- rows ---- */

/* The batch, still to come, that brings the stream the position in that row. */
static bool find_batch(const struct oracle_stream *o, struct point row_at, uint32_t row, struct point *ret)
{
	struct pass pass = o->pass;
	struct point next = oracle_point(o);
	uint64_t step;

	if (row_at.epoch != next.epoch || o->must_end)
		pass.start = 0;
	if (row_at.position < pass.start)
		return false;
	step = (row_at.position - pass.start) / (pass.batch * pass.world);
	*ret = (struct point){row_at.epoch, pass.start + step * pass.batch * pass.world};
	return point_compare(*ret, next) >= 0 && step < pass_n_batches(&pass) &&
	       row < pass_batch_length(&pass, step, o->rank) &&
	       pass_position(&pass, step, o->rank, row) == row_at.position;
}

static struct point batch_of(struct sim *s, const struct course *c, struct point at, uint32_t row)
{
	struct point ret;

	for (uint32_t k = 0; k < s->world.spec.n_streams; k++)
		if (course_is_followed(s, c, &s->streams[k]) && find_batch(&s->streams[k], at, row, &ret))
			return ret;
	sim_fail(s, "oracle.c: batch_of", "row %u of epoch %llu is no place of position %llu, or nobody needs it",
		 row, (unsigned long long)at.epoch, (unsigned long long)at.position);
}

/* The slot takes another batch than what is in it. */
static void begin_batch(struct sim *s, const struct course *c, uint32_t number, struct point at)
{
	struct oracle_slot *slot = &s->slots[c->feed][number];
	struct point least;

	SIM_CHECK(s, holders_writers(s, c->feed, number, UINT64_MAX) == 0,
		  "a worker still writes what was in the slot before");
	if (slot->has_batch && slot->stamp == c->n_disturbances && course_least(s, c, NOBODY, &least))
		SIM_CHECK(s, point_compare(slot->point, least) < 0, "a batch is dropped that somebody needs");
	for (const struct oracle_slot *other = NULL; (other = course_find(s, c, at, other));)
		SIM_CHECK(s, other == slot || other->stamp < c->n_disturbances, "a batch is made twice");
	memset(slot->rows, 0, sizeof(slot->rows));
	slot->landed_ns = slot->done_ns = 0;
	slot->has_batch = true;
	slot->point = at;
	slot->batch = c->batch;
	slot->stamp = c->n_disturbances;
}

static uint32_t flags_for(const struct sim *s, const struct course *c, uint64_t position, unsigned n)
{
	if (n > 0 && s->world.feeds[c->feed].policy == CORE_BAD_MASK)
		return TASK_SAMPLE_MASK;
	return position < s->world.feeds[c->feed].n_positions ? TASK_SAMPLE_VALID : 0;
}

/* How many of the position's samples were bad, of what it may have been: those for which the task is right. */
static unsigned narrow(struct sim *s, struct course *c, const struct task_sample *said, struct point at)
{
	unsigned counts = blemish_counts(s, c, at), left = 0;

	if (s->world.feeds[c->feed].policy == CORE_BAD_FAIL)
		counts &= 1; /* others have failed by it */
	for (unsigned n = 0; n <= ORDER_ATTEMPTS; n++)
		if (counts & 1U << n && said->sample == expected_sample(s, c->feed, at, n) &&
		    said->flags == flags_for(s, c, at.position, n))
			left |= 1U << n;
	SIM_CHECK(s, left, "sample %llu, flags %u at position %llu (bad ones before: set %x)",
		  (unsigned long long)said->sample, said->flags, (unsigned long long)at.position, counts);
	blemish_settle(s, c, at, left);
	return left;
}

/* Has the task a row in that slot already? */
static bool is_begun(const struct sim_task *t, const struct sim_write *w)
{
	for (const struct sim_write *other = t->writes; other < w; other++)
		if (other->feed == w->feed && other->slot == w->slot)
			return true;
	return false;
}

static void take_row(struct sim *s, const struct sim_task *t, const struct sim_write *w, struct course *c, bool is_idle)
{
	const struct task_sample *said = &t->samples[w->sample];
	const struct point row_at = {t->head.epoch, said->position};
	struct oracle_slot *slot = &s->slots[w->feed][w->slot];
	struct point at = batch_of(s, c, row_at, w->row);
	struct row *row = &slot->rows[w->row];
	unsigned counts;
	bool is_same, is_blamed;

	if (!slot->has_batch || slot->batch != c->batch || point_compare(slot->point, at) != 0) {
		SIM_CHECK(s, !is_begun(t, w), "two batches in one task");
		begin_batch(s, c, w->slot, at);
	}
	if (row->is_done || row->is_in_hand)
		SIM_CHECK(s, row->stamp < c->n_disturbances &&
			  holders_writers(s, c->feed, w->slot, row->stamp) == 0, "a row is written twice");
	slot->taken_ns = s->now;
	counts = narrow(s, c, said, row_at);
	/* Where it is known for sure how many were bad: a substitute may be the same sample again. */
	is_same = row->counts == counts && (counts & (counts - 1)) == 0 && row->stamp == c->n_disturbances;
	is_blamed = row->is_blamed && is_same;
	SIM_CHECK(s, !row->is_over || !is_same, "a sample that is bad is made again");
	SIM_CHECK(s, !is_blamed || (t->head.n_samples == 1 && is_idle),
		  "a sample on which a worker died is not tried alone");
	*row = (struct row){.position = said->position, .sample = said->sample, .task = t->head.id,
			    .stamp = c->n_disturbances, .is_masked = said->flags & TASK_SAMPLE_MASK,
			    .is_in_hand = true, .may_be_good = counts & 1, .may_be_bad = counts > 1,
			    .is_blamed = is_blamed, .counts = counts,
			    .n_doubts = is_same ? row->n_doubts : 0};
}

static void take_write(struct sim *s, const struct sim_task *t, struct sim_write *w, bool is_idle)
{
	struct course *c;

	SIM_CHECK(s, w->feed < s->world.spec.n_feeds && w->slot < s->world.feeds[w->feed].n_slots &&
		  w->row < s->world.feeds[w->feed].n_rows, "row %u of slot %u of feed %u", w->row, w->slot, w->feed);
	SIM_CHECK(s, w->feed == t->head.feed || world_base(s, w->feed) == world_base(s, t->head.feed),
		  "a target with other samples");
	SIM_CHECK(s, w == t->writes || t->writes[w - t->writes - 1].sample != w->sample ||
		  s->world.feeds[w->feed].window, "a target of a feed that is not shared");
	SIM_CHECK(s, s->slots[w->feed][w->slot].course != NOBODY, "a task for a slot that nobody waits for");
	SIM_CHECK(s, holders_of(s, w->feed, w->slot).n == 0, "a worker writes a slot that a trainer may read");
	c = &s->courses[s->slots[w->feed][w->slot].course];
	w->stamp = c->n_disturbances;
	take_row(s, t, w, c, is_idle);
}

void oracle_task(struct sim *s, struct sim_task *t, bool is_idle)
{
	SIM_CHECK(s, t->head.seed == s->world.feeds[t->head.feed].order.seed, "the seed");
	for (unsigned i = 0; i < t->n_writes; i++)
		take_write(s, t, &t->writes[i], is_idle);
}

void oracle_blame(struct sim *s, const struct sim_task *t)
{
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct sim_write *w = &t->writes[i];
		struct row *row = &s->slots[w->feed][w->slot].rows[w->row];

		row->is_blamed = row->is_blamed || row->task == t->head.id;
	}
}

void oracle_doubt(struct sim *s, const struct sim_task *t, uint32_t sample, bool is_final)
{
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct sim_write *w = &t->writes[i];
		struct row *row = &s->slots[w->feed][w->slot].rows[w->row];

		if (w->sample == sample && row->task == t->head.id && row->is_in_hand)
			row->is_over = ++row->n_doubts >= 2 || is_final;
	}
}

/* The row is out of the worker's hand; true: it is one that somebody waits for. */
static bool write_over(struct sim *s, const struct sim_task *t, const struct sim_write *w, bool is_done)
{
	struct oracle_slot *slot = &s->slots[w->feed][w->slot];
	struct row *row = &slot->rows[w->row];

	if (row->task != t->head.id || !row->is_in_hand)
		return false;
	row->is_in_hand = false;
	row->is_done = is_done;
	slot->done_ns = is_done ? s->now : slot->done_ns;
	return slot->has_batch && slot->course != NOBODY && w->stamp == s->courses[slot->course].n_disturbances;
}

void oracle_task_over(struct sim *s, const struct sim_task *t, const bool *is_done)
{
	bool is_wanted[TASK_SAMPLES_MAX] = {false}, is_mended[TASK_SAMPLES_MAX] = {false};

	s->n_mends_least += s->n_mends_due;
	s->n_mends_due = 0;
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct sim_write *w = &t->writes[i];
		bool is_doubted = s->slots[w->feed][w->slot].rows[w->row].n_doubts > 0;

		if (write_over(s, t, w, is_done[w->sample])) {
			is_wanted[w->sample] = true;
			/* Where rows are made along with others it may begin anew, and nobody knows of the damage then. */
			is_mended[w->sample] |= is_doubted && is_done[w->sample] && !s->world.feeds[w->feed].window;
		}
	}
	for (unsigned i = 0; i < t->head.n_samples; i++) {
		s->n_made[world_base(s, t->head.feed)] += is_done[i];
		s->n_mends_due += is_mended[i];
		if (is_done[i] && is_wanted[i])
			team_made(s, t->head.feed, (struct point){t->head.epoch, t->samples[i].position});
	}
}
