/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Lending: each follower of a track gets its batches in order, as far as its credit goes, and where groups share
 * a pass, when the slowest is less than `window` batches behind.
 */
#include "core/state.h"

#include <string.h>

/* ---- the limit of bad samples ---- */

/* Replicas get the same batches: the first of a rank counts. */
static bool counts_for_rank(const struct core *c, uint32_t stream)
{
	const struct stream *s = &c->streams[stream];

	for (uint32_t i = 0; i < stream; i++)
		if (is_live(&c->streams[i]) && c->streams[i].group == s->group && c->streams[i].rank == s->rank)
			return false;
	return true;
}

static bool is_over_limit(struct core *c, uint32_t stream, uint64_t bad_here, struct core_action *what)
{
	const struct stream *s = &c->streams[stream];
	const struct core_feed *feed = &c->feeds[s->feed].feed;
	double share = feed->bad_limit * (double)feed->n_positions;
	uint64_t allowed = share < 1 ? 1 : (uint64_t)share, n = bad_here + s->bad;

	for (uint32_t i = 0; i < c->n_streams; i++) {
		const struct stream *other = &c->streams[i];

		/* A dead one's count came back with the token of whoever took its place. */
		if (is_live(other) && other->group == s->group && other->rank != s->rank &&
		    other->next.epoch == s->next.epoch && counts_for_rank(c, i))
			n += other->bad;
	}
	*what = (struct core_action){.kind = CORE_FAIL, .stream = stream};
	what->bad.failure = CORE_FAIL_TOO_MANY_BAD;
	what->bad.feed = s->feed;
	what->bad.epoch = s->next.epoch;
	what->bad.count = n;
	what->bad.allowed = allowed;
	return n > allowed;
}

static uint64_t count_bad(const struct slot *slot)
{
	uint64_t n = 0;

	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		n += slot->causes[i];
	return n;
}

/* ---- lending ---- */

static void end_epoch(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	struct core_action *a = action_add(c, CORE_EPOCH_END, stream);
	struct pass next = c->tracks[s->track].open.pass;

	next.start = 0;
	a->lend.n_batches = pass_n_batches(&next);
	a->lend.serial = s->serial;
	a->lend.epoch = s->next.epoch++;
	a->lend.epoch_after = s->next.epoch;
	s->next.position = s->pass_start = s->bad = 0;
}

static void count_lent(struct core *c, struct stream *s, const struct slot *slot, uint64_t bad)
{
	struct feed_state *f = &c->feeds[s->feed];

	s->bad += bad;
	s->n_bad += bad;
	s->n_due += slot->n_rows;
	s->n_padded += slot->n_padded;
	f->n_batches++;
	f->n_bad += bad;
	f->n_due += slot->n_rows;
	f->n_padded += slot->n_padded;
	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		f->causes[i] += slot->causes[i];
}

static void lend(struct core *c, uint32_t stream, uint32_t slot)
{
	struct stream *s = &c->streams[stream];
	struct slot *from = &c->slots[slot];
	struct core_action *a = action_add(c, CORE_LEND, stream);

	s->holds[s->n_holds++] = (struct hold){.lease = c->next_lease++, .slot = slot};
	from->n_holders++;
	s->n_lent++;
	s->turn_ns = c->now_ns;
	count_lent(c, s, from, count_bad(from));
	a->lend.slot = slot - c->feeds[s->feed].first_slot;
	a->lend.n_rows = from->n_rows;
	a->lend.serial = s->serial;
	a->lend.lease = s->holds[s->n_holds - 1].lease;
	a->lend.epoch = from->place.epoch;
	a->lend.step = from->step;
	a->lend.epoch_after = from->after.epoch;
	a->lend.position_after = from->after.position;
	a->lend.bad = from->is_last ? 0 : s->bad;
	a->lend.opened_ns = from->opened_ns;
	a->lend.staged_ns = from->staged_ns;
	a->lend.ready_ns = from->ready_ns;
	for (unsigned i = 0; i < CORE_WAITS; i++) {
		a->lend.waits_ns[i] = s->waits_ns[i] - s->lent_waits_ns[i];
		s->lent_waits_ns[i] = s->waits_ns[i];
	}
	if (from->is_last)
		end_epoch(c, stream);
	else
		s->next = from->after;
	track_retire(c, s->track);
}

/* How many batches that somebody needs come before this one. */
static uint32_t count_needed_before(const struct core *c, const struct track *t, uint32_t slot)
{
	uint32_t n = 0;

	for (uint32_t i = t->batches.head; i != slot; i = c->slots[i].next)
		n += place_is_needed(c, t, c->slots[i].place);
	return n;
}

bool may_lend(const struct core *c, const struct track *t, uint32_t slot)
{
	const uint32_t window = c->feeds[t->feed].feed.window;

	return !window || count_needed_before(c, t, slot) < window;
}

bool lend_to(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	bool has_lent = false;

	if (s->is_empty_pass && is_live(s)) {
		s->is_empty_pass = false;
		end_epoch(c, stream);
		track_retire(c, s->track);
	}
	while (is_live(s) && s->n_lent < s->credit) {
		const struct track *t = &c->tracks[s->track];
		uint32_t slot = track_find(c, t, s->next);
		struct core_action what;
		uint64_t bad;

		if (slot == NONE || c->slots[slot].state != SLOT_READY || !may_lend(c, t, slot))
			break;
		if (actions_left(c) < ACTIONS_SLACK) {
			c->is_dirty = true;
			break;
		}
		bad = count_bad(&c->slots[slot]);
		if (bad && is_over_limit(c, stream, bad, &what)) {
			stream_fail(c, stream, &what);
			break;
		}
		lend(c, stream, slot);
		has_lent = true;
	}
	return has_lent;
}

void lend_all(struct core *c)
{
	bool has_lent = true;

	while (has_lent) { /* what one is lent may be what others have waited for */
		has_lent = false;
		for (uint32_t i = 0; i < c->n_streams; i++)
			if (is_live(&c->streams[i]))
				has_lent |= lend_to(c, i);
	}
}
