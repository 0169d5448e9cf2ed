/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Verdicts on failures: each has a reason that the simulator knows of. */
#include "sim.h"

#include <errno.h>

/* ---- the limit of bad samples ---- */

void slot_bad(const struct oracle_slot *slot, uint64_t n_rows, uint64_t *ret_least, uint64_t *ret_most)
{
	*ret_least = *ret_most = 0;
	for (uint64_t i = 0; i < n_rows; i++) {
		*ret_least += slot->rows[i].may_be_bad && !slot->rows[i].may_be_good;
		*ret_most += slot->rows[i].may_be_bad;
	}
}

/* What a rank's live trainers have had of this epoch: replicas may be apart, and any one of them counts. */
static void count_rank(const struct sim *s, const struct oracle_stream *o, uint32_t rank, uint64_t *ret_least,
		       uint64_t *ret_most)
{
	bool is_found = false;

	*ret_least = *ret_most = 0;
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *other = &s->streams[i];
		uint64_t n;

		if (!oracle_is_live(other) || other->group != o->group || other->rank != rank)
			continue;
		n = other->epoch == o->epoch ? other->bad : 0;
		*ret_least = !is_found || n < *ret_least ? n : *ret_least;
		*ret_most = n > *ret_most ? n : *ret_most;
		is_found = true;
	}
}

static void count_limit(const struct sim *s, const struct oracle_stream *o, uint64_t *ret_least, uint64_t *ret_most)
{
	*ret_least = *ret_most = o->bad;
	for (uint32_t rank = 0; rank < s->groups[o->group].world; rank++) {
		uint64_t least, most;

		if (rank == o->rank)
			continue;
		count_rank(s, o, rank, &least, &most);
		*ret_least += least;
		*ret_most += most;
	}
}

static uint64_t count_allowed(const struct sim *s, const struct oracle_stream *o)
{
	const struct core_feed *feed = &s->world.feeds[o->feed];
	double share = feed->bad_limit * (double)feed->n_positions;

	return share < 1 ? 1 : (uint64_t)share;
}

uint64_t limit_least(const struct sim *s, const struct oracle_stream *o, uint64_t bad_here, uint64_t *ret_allowed)
{
	uint64_t least, most;

	count_limit(s, o, &least, &most);
	*ret_allowed = count_allowed(s, o);
	return least + bad_here;
}

/* Some slot has the batch that is due, with so many bad rows. */
static void judge_limit(struct sim *s, const struct oracle_stream *o, const struct core_action *a)
{
	uint64_t n_rows = pass_batch_length(&o->pass, o->step, o->rank), least, most, allowed = count_allowed(s, o);
	bool is_right = false;

	count_limit(s, o, &least, &most);
	for (const struct oracle_slot *slot = NULL;
	     (slot = course_find(s, &s->courses[o->course], oracle_point(o), slot));) {
		uint64_t n_least, n_most;

		slot_bad(slot, n_rows, &n_least, &n_most);
		is_right = is_right || (a->bad.count >= least + n_least && a->bad.count <= most + n_most);
	}
	SIM_CHECK(s, is_right && a->bad.count > a->bad.allowed && a->bad.allowed == allowed,
		  "said %llu of %llu bad", (unsigned long long)a->bad.count, (unsigned long long)a->bad.allowed);
}

/* ---- slow ones ---- */

/* Somebody who had nothing to do, not ahead of it in vain, has not moved for as long, and did not wait for a worker. */
static bool keeps_waiting(const struct sim *s, const struct oracle_stream *slow, uint64_t evict_ns)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];

		if (o != slow && oracle_is_live(o) && team_has(s, slow, o) && o->n_leased < o->credit &&
		    point_compare(oracle_point(slow), oracle_point(o)) <= 0 && s->now - o->moved_ns >= evict_ns &&
		    s->now - o->made_ns >= evict_ns)
			return true;
	}
	return false;
}

static void judge_evicted(struct sim *s, const struct oracle_stream *o, const struct core_action *a)
{
	const struct core_feed *feed = &s->world.feeds[o->feed];

	SIM_CHECK(s, feed->window && feed->evict_ns, "nobody is dropped where slow is wait");
	SIM_CHECK(s, o->n_leased > 0, "dropped, but it had nothing to let go of");
	SIM_CHECK(s, s->now - o->moved_ns >= feed->evict_ns && a->bad.allowed == feed->evict_ns / MS &&
		  a->bad.count >= a->bad.allowed && a->bad.count <= (s->now - o->moved_ns) / MS, "dropped too early");
	SIM_CHECK(s, keeps_waiting(s, o, feed->evict_ns), "dropped, but it kept nobody waiting");
	s->n_evicted++;
}

static bool is_of_a_sample(enum core_failure failure)
{
	return failure == CORE_FAIL_BAD_SAMPLE || failure == CORE_FAIL_NO_SUBSTITUTE || failure == CORE_FAIL_STORAGE ||
	       failure == CORE_FAIL_CHANGED;
}

void judge_fail(struct sim *s, const struct core_action *a)
{
	struct oracle_stream *o = &s->streams[a->stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	const struct point at = {a->bad.epoch, a->bad.position};
	unsigned counts;

	s->n_mends_due = 0; /* it may have failed by the same answer, before the core came to those */
	if (a->bad.failure == CORE_FAIL_REPLACED) {
		SIM_CHECK(s, o->is_used && o->is_replaced && s->coming == o->group, "nobody came instead");
		o->is_replaced = false;
		s->n_fails++;
		return;
	}
	SIM_CHECK(s, oracle_is_live(o), "a failure for nobody");
	SIM_CHECK(s, a->bad.error == (a->bad.failure != CORE_FAIL_STORAGE ? 0 : a->bad.cause == CAUSE_read_error ? EIO
				      : a->bad.cause == CAUSE_read_late ? ETIMEDOUT : 0), "error %d", a->bad.error);
	SIM_CHECK(s, !is_of_a_sample(a->bad.failure) || world_base(s, a->bad.feed) == world_base(s, o->feed), "of another feed");
	counts = blemish_counts(s, &s->courses[o->course], at);
	switch (a->bad.failure) {
	case CORE_FAIL_BAD_SAMPLE:
		SIM_CHECK(s, feed->policy == CORE_BAD_FAIL && counts & 2, "policy");
		break;
	case CORE_FAIL_NO_SUBSTITUTE:
		SIM_CHECK(s, feed->policy == CORE_BAD_SUBSTITUTE && counts & 2U << ORDER_ATTEMPTS,
			  "set %x were bad", counts);
		break;
	case CORE_FAIL_TOO_MANY_BAD:
		judge_limit(s, o, a);
		break;
	case CORE_FAIL_STORAGE:
		SIM_CHECK(s, !feed->is_transient_bad && blemish_is_transient(a->bad.cause) &&
			  blemish_is_cause_real(s, o->feed, a->bad.sample, a->bad.cause), "storage is fine");
		break;
	case CORE_FAIL_CHANGED:
		SIM_CHECK(s, s->world.more[world_base(s, o->feed)].n_changes > 0, "nothing has changed");
		break;
	case CORE_FAIL_EVICTED:
		judge_evicted(s, o, a);
		break;
	case CORE_FAIL_REPLACED:
		break;
	}
	s->n_fails++;
	course_leave(s, a->stream);
	o->has_failed = true;
	if (a->bad.failure == CORE_FAIL_EVICTED)
		trainer_mourned(s, a->stream);
}
