/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Tracks from their first follower to their last. Batches stay in a track's list until all its followers are
 * past them and nobody holds them, so that who joins late finds what is there still; a follower whose place is
 * ahead waits for the track to come there, one whose place is behind makes it start again from there.
 */
#include "core/state.h"

#include <assert.h>

static void take_slots(struct core *c, uint32_t track, uint32_t n)
{
	struct track *t = &c->tracks[track];
	const struct feed_state *f = &c->feeds[t->feed];

	for (uint32_t i = 0; i < f->feed.n_slots && t->n_slots < n; i++) {
		struct slot *slot = &c->slots[f->first_slot + i];

		if (slot->track != NONE || !slot_is_free(slot))
			continue;
		slot->track = track;
		t->slots[t->n_slots++] = f->first_slot + i;
	}
	assert(t->n_slots == n);
}

uint32_t track_make(struct core *c, const struct track *like, uint32_t batch, uint32_t n_slots, struct place at)
{
	uint32_t track = 0;
	struct track *t;

	while (c->tracks[track].is_used)
		track++; /* there are as many as streams, and the newcomer's was free */
	t = &c->tracks[track];
	*t = (struct track){.feed = like->feed, .group = like->group, .world = like->world, .rank = like->rank,
			    .batch = batch, .is_shared = like->is_shared, .is_used = true, .unread = list_empty(),
			    .unread_ahead = list_empty(), .ahead = list_empty(), .batches = list_empty(),
			    .first_follower = NONE};
	if (track >= c->n_tracks)
		c->n_tracks = track + 1;
	take_slots(c, track, n_slots);
	cursor_set(c, track, &t->open, at);
	t->read = t->open;
	return track;
}

/* ---- stopping ---- */

/* A job of the track that nobody else wants. */
static bool is_only_of(const struct core *c, uint32_t job, uint32_t track)
{
	return c->jobs[job].track == track && c->jobs[job].first_rider == NONE;
}

static void drop_from(struct core *c, struct list *l, uint32_t track)
{
	struct list kept = list_empty();
	uint32_t job;

	while ((job = job_pop(c, l)) != NONE)
		if (!is_only_of(c, job, track))
			job_push(c, &kept, job);
	*l = kept;
}

/* Everything under way for the track stops, unless others ride on it; slots that a worker is writing drain first. */
static void cancel(struct core *c, uint32_t track)
{
	struct track *t = &c->tracks[track];

	for (uint32_t i = 0; i < c->n_jobs; i++)
		if (c->jobs[i].state != JOB_FREE && c->jobs[i].state != JOB_TASKED && c->jobs[i].track == track &&
		    c->jobs[i].first_rider != NONE)
			team_hand_over(c, i, true);
	drop_from(c, &c->alone, track);
	drop_from(c, &c->large, track);
	for (uint32_t i = 0; i < c->n_jobs; i++) {
		struct job *j = &c->jobs[i];

		if (j->state == JOB_FREE || j->track != track || j->is_cancelled)
			continue;
		if (j->state == JOB_TASKED)
			j->is_cancelled = true;
		else
			job_free(c, i);
	}
	t->unread = t->unread_ahead = t->ahead = t->batches = list_empty();
	for (uint32_t i = 0; i < t->n_slots; i++) {
		struct slot *slot = &c->slots[t->slots[i]];

		slot->staged = list_empty();
		slot->next = NONE;
		slot->is_draining = slot->n_tasked > 0;
		slot->state = SLOT_FREE;
	}
	assert(t->ahead_bytes == 0);
}

void track_restart(struct core *c, uint32_t track, struct place at)
{
	struct track *t = &c->tracks[track];

	cancel(c, track);
	cursor_set(c, track, &t->open, at);
	t->read = t->open;
	team_check_all(c, t->feed);
}

static void end(struct core *c, uint32_t track)
{
	struct track *t = &c->tracks[track];

	cancel(c, track);
	for (uint32_t i = 0; i < t->n_slots; i++)
		c->slots[t->slots[i]].track = NONE; /* back in the pool once nobody holds or writes it */
	t->is_used = false;
	c->is_dirty = true; /* whoever found no room before may have it now */
	while (c->n_tracks > 0 && !c->tracks[c->n_tracks - 1].is_used)
		c->n_tracks--;
	team_check_all(c, t->feed);
}

/* ---- followers ---- */

void track_follow(struct core *c, uint32_t track, uint32_t stream)
{
	struct track *t = &c->tracks[track];
	struct stream *s = &c->streams[stream];

	s->track = track;
	s->next_follower = t->first_follower;
	t->first_follower = stream;
}

void track_leave(struct core *c, uint32_t stream)
{
	uint32_t track = c->streams[stream].track, *link;

	if (track == NONE)
		return;
	link = &c->tracks[track].first_follower;
	while (*link != stream)
		link = &c->streams[*link].next_follower;
	*link = c->streams[stream].next_follower;
	c->streams[stream].track = NONE;
	if (c->tracks[track].first_follower == NONE)
		end(c, track);
	else
		track_retire(c, track);
}

void track_fail(struct core *c, uint32_t track, const struct core_action *what)
{
	while (c->tracks[track].is_used) /* it ends with the last */
		stream_fail(c, c->tracks[track].first_follower, what);
}

/* ---- places ---- */

uint32_t track_find(const struct core *c, const struct track *t, struct place at)
{
	uint32_t slot = t->batches.head;

	while (slot != NONE && place_compare(c->slots[slot].place, at) != 0)
		slot = c->slots[slot].next;
	return slot;
}

struct place track_oldest(const struct core *c, const struct track *t)
{
	return t->batches.head == NONE ? cursor_place(&t->open) : c->slots[t->batches.head].place;
}

bool place_is_needed(const struct core *c, const struct track *t, struct place at)
{
	for (uint32_t i = t->first_follower; i != NONE; i = c->streams[i].next_follower)
		if (place_compare(c->streams[i].next, at) <= 0)
			return true;
	return false;
}

static struct place least_place(const struct core *c, const struct track *t)
{
	struct place least = c->streams[t->first_follower].next;

	for (uint32_t i = t->first_follower; i != NONE; i = c->streams[i].next_follower)
		if (place_compare(c->streams[i].next, least) < 0)
			least = c->streams[i].next;
	return least;
}

/* Takes the oldest batches off the list, up to and with that slot. */
static void drop_batches(struct core *c, struct track *t, uint32_t last)
{
	uint32_t slot;

	do {
		slot = t->batches.head;
		t->batches.head = c->slots[slot].next;
		c->slots[slot].state = SLOT_FREE;
		c->slots[slot].next = NONE;
	} while (slot != last);
	if (t->batches.head == NONE)
		t->batches.tail = NONE;
}

void track_retire(struct core *c, uint32_t track)
{
	struct track *t = &c->tracks[track];
	struct place least = least_place(c, t);
	uint32_t last = NONE;

	if (place_compare(cursor_place(&t->open), least) < 0) {
		track_restart(c, track, least); /* all have gone further than it has come */
		return;
	}
	for (uint32_t i = t->batches.head; i != NONE; i = c->slots[i].next) {
		if (place_compare(c->slots[i].place, least) >= 0)
			break;
		if (c->slots[i].state == SLOT_FILLING) {
			track_restart(c, track, least);
			return;
		}
		if (c->slots[i].n_holders == 0)
			last = i;
	}
	if (last != NONE)
		drop_batches(c, t, last);
}
