/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Looking in from outside: counters for status, and the invariants, counted afresh from the tables. */
#include "core/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void view_place(const struct core *c, const struct stream *s, struct core_stream_view *ret)
{
	const struct core_feed *feed = &c->feeds[s->feed].feed;
	const struct pass pass = {.n_samples = feed->n_positions, .start = s->pass_start, .batch = s->batch,
				  .world = c->groups[s->group].world, .last = feed->last};

	ret->epoch = s->next.epoch;
	ret->position = s->next.position;
	ret->step = step_at(&pass, s->next.position);
	ret->n_batches = pass_n_batches(&pass);
	ret->n_steps = step_at(&pass, pass.start) + ret->n_batches;
}

/* Do they take part in one pass? */
static bool is_shared_with(const struct core *c, const struct stream *a, const struct stream *b)
{
	return a->track == b->track || (c->feeds[a->feed].feed.window > 0 &&
					c->feeds[a->feed].feed.base == c->feeds[b->feed].feed.base);
}

/* Its batches from there to the furthest place of those who share its pass and have begun. */
static uint64_t count_lag(const struct core *c, const struct stream *s)
{
	struct pass pass = c->tracks[s->track].open.pass;
	const uint64_t all = pass.batch * pass.world;
	struct place furthest = s->next;
	uint64_t n;

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct stream *other = &c->streams[i];

		if (is_live(other) && is_shared_with(c, s, other) && place_compare(other->next, furthest) > 0 &&
		    place_compare(other->next, cursor_place(&c->tracks[other->track].open)) <= 0)
			furthest = other->next;
	}
	if (furthest.epoch == s->next.epoch)
		return (furthest.position - s->next.position) / all;
	pass.start = 0;
	n = (furthest.epoch - s->next.epoch - 1) * pass_n_batches(&pass);
	pass.start = s->next.position;
	return pass_n_batches(&pass) + n + furthest.position / all;
}

void core_view_stream(const struct core *c, uint32_t stream, struct core_stream_view *ret)
{
	const struct stream *s = &c->streams[stream];
	const struct group *g = &c->groups[s->group];

	*ret = (struct core_stream_view){.is_used = s->is_used};
	if (!s->is_used)
		return;
	ret->is_detached = s->is_detached;
	ret->has_hung_up = s->has_hung_up;
	ret->has_exited = s->has_exited;
	ret->has_failed = s->has_failed;
	ret->is_shared = !s->maps_own;
	ret->feed = s->feed;
	ret->rank = s->rank;
	ret->replica = s->replica;
	ret->world = g->world;
	ret->group = g->name;
	ret->group_number = g->number;
	ret->n_slots = s->track == NONE ? s->n_holds : c->tracks[s->track].n_slots;
	view_place(c, s, ret);
	ret->lag = s->track == NONE ? 0 : count_lag(c, s);
	ret->n_lent = s->n_lent;
	ret->n_due = s->n_due;
	ret->n_bad = s->n_bad;
	ret->n_good = s->n_due - s->n_bad;
	ret->n_padded = s->n_padded;
	memcpy(ret->waits_ns, s->waits_ns, sizeof(ret->waits_ns));
	ret->wait = s->wait;
	ret->n_quarantined = s->has_hung_up != s->has_exited ? s->n_holds : 0;
}

static void count_slot(const struct slot *slot, struct core_slots *to)
{
	if (slot->n_holders > slot->n_quarantined)
		to->leased++;
	else if (slot->n_holders > 0)
		to->quarantined++;
	else if (slot->state == SLOT_FILLING || slot->is_draining)
		to->filling++;
	else if (slot->state == SLOT_READY)
		to->ready++;
	else
		to->free++;
}

void core_view_feed(const struct core *c, unsigned feed, struct core_feed_view *ret)
{
	const struct feed_state *f = &c->feeds[feed];

	*ret = (struct core_feed_view){.n_warnings = f->n_warnings, .n_batches = f->n_batches, .n_due = f->n_due,
				       .n_good = f->n_due - f->n_bad, .n_bad = f->n_bad, .n_padded = f->n_padded,
				       .n_made = f->n_made};
	memcpy(ret->waits_ns, f->waits_ns, sizeof(ret->waits_ns));
	memcpy(ret->causes, f->causes, sizeof(ret->causes));
	ret->slots.all = f->feed.n_slots;
	for (uint32_t i = 0; i < f->feed.n_slots; i++)
		count_slot(&c->slots[f->first_slot + i], &ret->slots);
}

void core_view_totals(const struct core *c, struct core_totals *ret)
{
	*ret = c->totals;
	ret->staging_used = (uint64_t)(c->must.n_pages - c->must.n_free + c->ahead.n_pages -
				       c->ahead.n_free + c->pieces.n_pages - c->pieces.n_free) * CORE_PAGE;
}

unsigned core_stream_slots(const struct core *c, uint32_t stream, uint32_t *ret, unsigned room)
{
	const struct stream *s = &c->streams[stream];
	const uint32_t n = s->track == NONE ? s->n_holds : c->tracks[s->track].n_slots;

	for (uint32_t i = 0; i < n && i < room; i++)
		ret[i] = (s->track == NONE ? s->holds[i].slot : c->tracks[s->track].slots[i]) -
			 c->feeds[s->feed].first_slot;
	return n;
}

/* ---- invariants ---- */

/* What one look over all jobs and one over all requests count, so that a check after every event is affordable. */
struct tally {
	uint32_t *n_jobs, *n_tasked; /* of each slot */
	uint32_t *n_pages;	     /* of units of each feed */
	uint64_t *n_bytes;	     /* read ahead for each track */
};

static void tally_init(const struct core *c, struct tally *t)
{
	t->n_jobs = calloc(c->n_slots, sizeof(*t->n_jobs));
	t->n_tasked = calloc(c->n_slots, sizeof(*t->n_tasked));
	t->n_pages = calloc(c->spec.n_feeds, sizeof(*t->n_pages));
	t->n_bytes = calloc(c->spec.n_streams, sizeof(*t->n_bytes));
	assert(t->n_jobs && t->n_tasked && t->n_pages && t->n_bytes);
}

static void tally_deinit(struct tally *t)
{
	free(t->n_jobs);
	free(t->n_tasked);
	free(t->n_pages);
	free(t->n_bytes);
}

/* Each unit in memory is in its feed's list and found by its number; nothing else is. */
static void check_units(const struct core *c, uint32_t feed, const struct tally *tally)
{
	const struct feed_state *f = &c->feeds[feed];
	uint32_t n_listed = 0, n_found = 0;

	for (uint32_t i = f->oldest; i != NONE; i = c->requests[i].newer) {
		const struct request *r = &c->requests[i];

		assert(r->feed == feed && f->unit_requests[r->unit] == i);
		assert(r->state == REQUEST_WANTED ? r->n_users > 0
						  : r->state == REQUEST_FILLING || r->state == REQUEST_LANDED);
		assert((r->state == REQUEST_FILLING) == (r->fill != NONE && c->fills[r->fill].request == i));
		n_listed++;
	}
	for (uint64_t i = 0; i < f->feed.samples->n_units; i++)
		n_found += f->unit_requests[i] < UNIT_DEADLY;
	assert(n_listed == n_found && tally->n_pages[feed] == f->inflated.n_pages - f->inflated.n_free);
	if (f->unit_starved != NONE)
		assert(c->jobs[f->unit_starved].state == JOB_UNREAD && c->jobs[f->unit_starved].is_due);
}

static void check_fills(const struct core *c)
{
	for (uint32_t i = 0; i < c->n_fills; i++) {
		const struct fill *f = &c->fills[i];
		uint32_t n_in_hand = 0, n_hands = 0;

		if (f->request == NONE)
			continue;
		assert(c->requests[f->request].fill == i && c->requests[f->request].unit != NONE);
		for (uint32_t k = 0; k < f->n_pieces; k++) {
			const struct request *r = &c->requests[f->pieces[k].request];

			assert(r->fill == i && r->unit == NONE && r->n_users == 1);
			assert((r->state == REQUEST_LANDED) == f->pieces[k].is_landed ||
			       f->end != FILL_GOES_ON);
			n_in_hand += f->pieces[k].is_in_hand;
		}
		for (uint32_t w = 0; w < c->spec.n_workers; w++)
			for (uint32_t k = 0; k < c->workers[w].n_hands; k++)
				n_hands += c->workers[w].hands[k].fill == i;
		assert(n_in_hand == f->n_in_hand && n_hands == n_in_hand);
		assert(f->worker == NONE || c->workers[f->worker].fill == i);
	}
}

static void check_pages(const struct core *c, struct tally *tally)
{
	uint32_t n_used = 0, n_bits = 0, n_flying = 0, n_free = 0, n_zones, n_pages;

	for (uint32_t i = 0; i < c->n_requests; i++) {
		const struct request *r = &c->requests[i];
		uint32_t n_users = 0;

		n_free += r->state == REQUEST_FREE;
		if (r->state == REQUEST_FREE)
			continue;
		n_used += r->n_pages;
		n_flying += r->state == REQUEST_FLYING && !r->is_late;
		if (r->unit != NONE)
			tally->n_pages[r->feed] += r->n_pages;
		for (uint32_t x = r->first_extent; x != NONE; x = c->extents[x].next) {
			assert(c->extents[x].request == i);
			n_users++;
		}
		assert(n_users == r->n_users || (r->unit == NONE && r->fill != NONE));
	}
	n_zones = c->must.n_pages - c->must.n_free + c->ahead.n_pages - c->ahead.n_free + c->pieces.n_pages -
		  c->pieces.n_free;
	n_pages = c->pieces.first + c->pieces.n_pages;
	for (uint32_t i = 0; i < c->spec.n_feeds; i++) {
		n_zones += c->feeds[i].inflated.n_pages - c->feeds[i].inflated.n_free;
		n_pages += c->feeds[i].inflated.n_pages;
	}
	for (uint32_t i = 0; i < (n_pages + 63) / 64; i++)
		n_bits += (uint32_t)__builtin_popcountll(c->page_words[i]);
	assert(n_used == n_bits && n_flying == c->n_flying && n_used == n_zones);
	assert(n_free == c->n_free_requests);
}

static void check_slot(const struct core *c, uint32_t slot, const struct tally *tally)
{
	const struct slot *s = &c->slots[slot];

	assert(tally->n_tasked[slot] == s->n_tasked);
	assert(!s->is_draining || (s->state == SLOT_FREE && s->n_tasked > 0));
	if (s->state == SLOT_FILLING)
		assert(tally->n_jobs[slot] + s->n_filled == s->n_rows && s->n_holders == 0);
	else
		assert(tally->n_jobs[slot] == 0);
	if (s->state != SLOT_FREE)
		assert(s->track != NONE && c->tracks[s->track].is_used);
}

/* Its batches lie end to end, up to where it opens the next. */
static void check_batches(const struct core *c, const struct track *t)
{
	uint32_t n_listed = 0, n_in_use = 0;

	for (uint32_t k = t->batches.head; k != NONE; k = c->slots[k].next) {
		const struct slot *slot = &c->slots[k];
		const struct place next = slot->next == NONE ? cursor_place(&t->open) : c->slots[slot->next].place;

		assert(slot->state != SLOT_FREE && place_compare(slot->after, next) == 0);
		n_listed++;
	}
	for (uint32_t k = 0; k < t->n_slots; k++) {
		assert(&c->tracks[c->slots[t->slots[k]].track] == t);
		n_in_use += c->slots[t->slots[k]].state != SLOT_FREE;
	}
	assert(n_listed == n_in_use);
}

static void check_tracks(const struct core *c, const struct tally *tally)
{
	uint32_t n_ahead = 0;

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];

		assert(t->is_used || t->ahead_bytes == 0);
		if (!t->is_used)
			continue;
		assert(t->first_follower != NONE);
		for (uint32_t k = t->first_follower; k != NONE; k = c->streams[k].next_follower)
			assert(is_live(&c->streams[k]) && c->streams[k].track == i);
		check_batches(c, t);
		for (uint32_t k = t->ahead.head; k != NONE; k = c->jobs[k].next_ahead) {
			assert(c->jobs[k].track == i && c->jobs[k].slot == NONE);
			n_ahead++;
		}
		assert(tally->n_bytes[i] == t->ahead_bytes);
	}
	assert(n_ahead == c->n_ahead && n_ahead <= c->spec.n_ahead);
}

/* A slot that is held without a lease is held once. */
static void check_hold(const struct stream *s, uint32_t hold)
{
	for (uint32_t i = 0; i < s->n_holds; i++)
		assert(i == hold || s->holds[hold].lease != 0 || s->holds[i].slot != s->holds[hold].slot);
}

/* Each hold is counted at its slot, and nothing else is. */
static void check_holds(const struct core *c)
{
	uint32_t n_holds = 0, n_counted = 0, n_quarantined = 0;

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct stream *s = &c->streams[i];
		uint32_t n_lent = 0;

		if (!s->is_used)
			continue;
		for (uint32_t k = 0; k < s->n_holds; k++) {
			assert(c->slots[s->holds[k].slot].n_holders > 0);
			check_hold(s, k);
			n_lent += s->holds[k].lease != 0;
		}
		n_holds += s->n_holds;
		n_quarantined += s->has_hung_up != s->has_exited ? s->n_holds : s->n_holds - n_lent;
		assert(n_lent == s->n_lent && (!is_live(s) || n_lent <= s->credit));
	}
	for (uint32_t i = 0; i < c->n_slots; i++) {
		assert(c->slots[i].n_quarantined <= c->slots[i].n_holders);
		n_counted += c->slots[i].n_holders;
		n_quarantined -= c->slots[i].n_quarantined;
	}
	assert(n_counted == n_holds && n_quarantined == 0);
}

/* Who rides has the leader's position, and one that is not due waits for somebody. */
static void check_team(const struct core *c, uint32_t job)
{
	const struct job *j = &c->jobs[job];
	uint32_t n_riders = 0;

	for (uint32_t k = j->first_rider; k != NONE; k = c->jobs[k].next_rider) {
		assert(c->jobs[k].leader == job && c->jobs[k].position == j->position &&
		       c->jobs[k].epoch == j->epoch && c->jobs[k].state == (j->state == JOB_TASKED ? JOB_TASKED : JOB_RIDING));
		n_riders++;
	}
	assert(n_riders == j->n_riders && (j->state != JOB_RIDING || n_riders == 0));
	assert((j->state == JOB_RIDING) == (j->leader != NONE) || j->state == JOB_TASKED);
	assert(j->bytes == 0 || (!j->is_due && j->leader == NONE));
	assert(j->leader != NONE || j->is_due || !team_is_complete(c, job));
}

/* Members that it waits for. */
static void check_pending(const struct core *c, uint32_t job)
{
	const struct job *j = &c->jobs[job];
	uint32_t n_pending = 0;

	for (unsigned k = 0; j->state == JOB_READING && k < c->feeds[j->feed].feed.samples->n_fields; k++)
		n_pending += c->requests[c->extents[job * c->n_fields + k].request].state != REQUEST_LANDED;
	assert(n_pending == j->n_pending);
}

static void check_jobs(const struct core *c, struct tally *tally)
{
	for (uint32_t i = 0; i < c->n_jobs; i++) {
		const struct job *j = &c->jobs[i];

		if (j->state == JOB_FREE)
			continue;
		check_pending(c, i);
		check_team(c, i);
		tally->n_bytes[j->track] += j->bytes;
		if (j->slot == NONE)
			continue;
		tally->n_jobs[j->slot] += !j->is_cancelled;
		tally->n_tasked[j->slot] += j->state == JOB_TASKED;
	}
}

/* Units that are wanted fill, as far as there is room for their pieces. */
static void check_filling(const struct core *c)
{
	if (c->n_free_requests == 0 || c->pieces.n_free < PIECE_PAGES)
		return;
	for (uint32_t i = 0; i < c->n_fills; i++) {
		const struct fill *f = &c->fills[i];
		const struct request *r;

		assert(f->request != NONE || c->wanted.head == NONE);
		if (f->request == NONE || f->end != FILL_GOES_ON || f->n_pieces == FILL_PIECES)
			continue;
		r = &c->requests[f->request];
		assert(f->n_asked == c->feeds[r->feed].feed.samples->units[r->unit].n_bytes);
	}
}

/* Who could work does, and what could be read is: but while there is more to come of this event. */
static void check_idle(const struct core *c)
{
	bool is_idle = false, has_hand = false;

	for (uint32_t i = 0; i < c->n_working; i++) {
		const struct worker *w = &c->workers[i];

		is_idle = is_idle || (w->is_up && !w->is_killed && w->n_hands == 0);
		has_hand = has_hand || (w->is_up && !w->is_killed && w->n_hands < CORE_HAND && c->alone.head == NONE);
	}
	if (c->is_dirty || c->n_actions > 0)
		return;
	for (uint32_t i = 0; (is_idle || has_hand) && i < c->n_slots; i++)
		assert(c->slots[i].staged.head == NONE);
	if (is_idle && c->large_worker == NONE)
		assert(c->large.head == NONE && c->alone.head == NONE);
	check_filling(c);
	assert(c->ahead_again <= c->ahead.n_pages);
	if (c->queue.head != NONE)
		assert(c->n_flying == c->spec.reads_in_flight ||
		       c->n_flying + c->n_late == CORE_FLYING_MAX(c->spec.reads_in_flight));
}

void core_check(const struct core *c)
{
	struct tally tally;

	tally_init(c, &tally);
	check_pages(c, &tally);
	check_jobs(c, &tally);
	check_tracks(c, &tally);
	check_holds(c);
	check_idle(c);
	check_fills(c);
	for (uint32_t i = 0; i < c->spec.n_feeds; i++)
		if (c->feeds[i].feed.base == i)
			check_units(c, i, &tally); /* a view uses its base's */
	for (uint32_t i = 0; i < c->n_slots; i++)
		check_slot(c, i, &tally);
	tally_deinit(&tally);
}
