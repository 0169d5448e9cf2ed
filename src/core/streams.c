/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Streams, one per trainer, from attach to gone, and what becomes of the slots that they hold: one is free again
 * when it was released, or when the socket has hung up and the process is dead; between those two it is
 * quarantined. Of a track of its own a trainer has all slots mapped for writing: it holds all of them then.
 */
#include "core/state.h"

#include <assert.h>
#include <string.h>

/* ---- attach ---- */

static uint32_t unused_stream(const struct core *c)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (!c->streams[i].is_used)
			return i;
	return NONE;
}

/* A pass with nothing left in it ends at once. */
static void go_to(struct core *c, uint32_t stream, struct place at, uint64_t bad)
{
	struct stream *s = &c->streams[stream];
	const struct core_feed *feed = &c->feeds[s->feed].feed;
	const struct pass pass = {.n_samples = feed->n_positions, .start = at.position, .batch = s->batch,
				  .world = c->groups[s->group].world, .last = feed->last};

	s->next = at;
	s->pass_start = at.position;
	s->bad = bad;
	s->is_empty_pass = pass_n_batches(&pass) == 0;
}

/* Where the track has to be for it. */
static struct place first_batch(const struct stream *s)
{
	return s->is_empty_pass ? (struct place){s->next.epoch + 1, 0} : s->next;
}

static int find_or_make_track(struct core *c, const struct core_attach *a, uint32_t stream, uint32_t group,
			      struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	const struct track like = {.feed = a->feed, .group = feed->window ? NONE : group, .world = a->world,
				   .rank = a->rank, .is_shared = feed->window || a->replica};
	uint32_t track, n;

	if (join_find(c, a, group, &track, why))
		return CORE_E_REFUSED;
	if (track == NONE) {
		n = group_share(c, a, group, why);
		if (n == 0)
			return CORE_E_REFUSED;
		track = track_make(c, &like, c->streams[stream].batch, n, first_batch(&c->streams[stream]));
	} else if (place_compare(first_batch(&c->streams[stream]), track_oldest(c, &c->tracks[track])) < 0) {
		track_restart(c, track, first_batch(&c->streams[stream]));
	}
	track_follow(c, track, stream);
	return 0;
}

int core_on_attach(struct core *c, uint64_t now_ns, struct core_attach *a, uint32_t *ret_stream,
		   struct reason *why)
{
	uint32_t stream = unused_stream(c), group, most;
	struct stream *s;

	core_begin(c, now_ns);
	if (refuse_world(c, a, why))
		return CORE_E_REFUSED;
	if (stream == NONE) {
		reason_set(why, "there are %u sessions already, as many as the daemon takes", c->spec.n_streams);
		return CORE_E_REFUSED;
	}
	group = group_find(c, a->feed, a->group);
	if (group == NONE)
		group = group_make(c, a);
	if (group_renew(c, a, group, why) || join_start(c, a, group, why) || group_check(c, a, group, why)) {
		group_put(c, group);
		return CORE_E_REFUSED;
	}
	s = &c->streams[stream];
	*s = (struct stream){.feed = a->feed, .group = group, .rank = a->rank, .replica = a->replica, .track = NONE,
			     .batch = batch_rows(&c->feeds[a->feed].feed, a->batch, a->world),
			     .wait = -1, .turn_ns = c->now_ns, .next_follower = NONE};
	go_to(c, stream, (struct place){a->epoch, a->position}, a->bad);
	if (find_or_make_track(c, a, stream, group, why)) {
		group_put(c, group);
		return CORE_E_REFUSED;
	}
	s->is_used = true;
	if (stream >= c->n_streams)
		c->n_streams = stream + 1;
	s->maps_own = !c->tracks[s->track].is_shared;
	most = c->tracks[s->track].n_slots;
	if (c->feeds[a->feed].feed.window && c->feeds[a->feed].feed.evict_ns)
		most /= 2; /* one that is evicted keeps what it holds: the others go on with the rest */
	s->credit = a->credit && a->credit < most ? a->credit : most;
	*ret_stream = stream;
	return 0;
}

/* ---- holds ---- */

static bool is_half_dead(const struct stream *s)
{
	return s->has_hung_up != s->has_exited;
}

static bool is_quarantined(const struct stream *s, const struct hold *h)
{
	return is_half_dead(s) || h->lease == 0;
}

static void drop_hold(struct core *c, struct stream *s, uint32_t i)
{
	struct slot *slot = &c->slots[s->holds[i].slot];

	assert(slot->n_holders > 0);
	slot->n_holders--;
	slot->n_quarantined -= is_quarantined(s, &s->holds[i]);
	s->n_lent -= s->holds[i].lease != 0;
	s->holds[i] = s->holds[--s->n_holds];
	if (slot->n_holders == 0 && slot->state == SLOT_READY && slot->track != NONE)
		track_retire(c, slot->track);
}

/* The lease is over; the slot stays mapped where the trainer has failed or is half dead, and did not say goodbye. */
static void end_lease(struct core *c, struct stream *s, uint32_t i)
{
	if (s->track != NONE || s->is_detached || !s->maps_own) {
		drop_hold(c, s, i);
		return;
	}
	c->slots[s->holds[i].slot].n_quarantined += !is_half_dead(s);
	s->holds[i].lease = 0;
	s->n_lent--;
}

static bool holds_slot(const struct stream *s, uint32_t slot)
{
	for (uint32_t i = 0; i < s->n_holds; i++)
		if (s->holds[i].slot == slot)
			return true;
	return false;
}

/* It may still write what it has mapped. */
static void hold_mapped(struct core *c, struct stream *s)
{
	const struct track *t = &c->tracks[s->track];

	for (uint32_t i = 0; s->maps_own && i < t->n_slots; i++) {
		if (holds_slot(s, t->slots[i]))
			continue;
		s->holds[s->n_holds++] = (struct hold){.slot = t->slots[i]};
		c->slots[t->slots[i]].n_holders++;
		c->slots[t->slots[i]].n_quarantined++;
	}
}

/* ---- leaving ---- */

void stream_fail(struct core *c, uint32_t stream, const struct core_action *what)
{
	struct stream *s = &c->streams[stream];
	struct core_action *a;

	assert(is_live(s));
	s->has_failed = true;
	a = action_add(c, CORE_FAIL, stream);
	*a = *what;
	a->stream = stream;
	hold_mapped(c, s);
	track_leave(c, stream);
}

static void end_if_gone(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];

	if (!s->has_hung_up || s->n_holds > 0)
		return;
	s->is_used = false;
	while (c->n_streams > 0 && !c->streams[c->n_streams - 1].is_used)
		c->n_streams--;
	group_put(c, s->group);
	action_add(c, CORE_GONE, stream);
}

void tell_peers(struct core *c, const struct stream *gone)
{
	if (!c->feeds[gone->feed].feed.window)
		return;
	for (uint32_t i = 0; i < c->n_streams; i++) {
		struct core_action *a;

		if (!is_live(&c->streams[i]) || c->streams[i].group != gone->group)
			continue;
		a = action_add(c, CORE_PEER_GONE, i);
		a->peer.rank = gone->rank;
		a->peer.replica = gone->replica;
	}
}

/* One signal of its death, or the second. */
static void lose(struct core *c, uint32_t stream, bool *signal)
{
	struct stream *s = &c->streams[stream];
	bool was_live = is_live(s), was_half_dead = is_half_dead(s);

	if (was_live)
		hold_mapped(c, s);
	*signal = true;
	for (uint32_t i = 0; i < s->n_holds; i++)
		if (s->holds[i].lease)
			c->slots[s->holds[i].slot].n_quarantined += (uint32_t)is_half_dead(s) - was_half_dead;
	track_leave(c, stream);
	if (was_live)
		tell_peers(c, s);
	while (s->has_hung_up && s->has_exited && s->n_holds > 0)
		drop_hold(c, s, 0);
	end_if_gone(c, stream);
}

void core_on_hangup(struct core *c, uint64_t now_ns, uint32_t stream)
{
	core_begin(c, now_ns);
	lose(c, stream, &c->streams[stream].has_hung_up);
}

void core_on_exit(struct core *c, uint64_t now_ns, uint32_t stream)
{
	core_begin(c, now_ns);
	lose(c, stream, &c->streams[stream].has_exited);
}

void core_on_detach(struct core *c, uint64_t now_ns, uint32_t stream)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	s->is_detached = true;
	for (uint32_t i = s->n_holds; !s->has_exited && i-- > 0;)
		if (s->holds[i].lease == 0) /* of a failed one: it maps them no more */
			drop_hold(c, s, i);
	track_leave(c, stream);
}

void core_on_unseen(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t last_lease)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	for (uint32_t i = s->n_holds; i-- > 0;)
		if (s->holds[i].lease > last_lease)
			end_lease(c, s, i);
	end_if_gone(c, stream);
}

bool core_on_release(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t lease)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	for (uint32_t i = 0; i < s->n_holds; i++) {
		if (s->holds[i].lease == 0 || s->holds[i].lease != lease)
			continue;
		end_lease(c, s, i);
		s->turn_ns = c->now_ns;
		end_if_gone(c, stream);
		return true;
	}
	return false;
}

/* ---- going elsewhere ---- */

int core_on_seek(struct core *c, uint64_t now_ns, uint32_t stream, const struct core_seek *to,
		 struct reason *why)
{
	struct stream *s = &c->streams[stream];
	const struct place at = {to->epoch, to->position};
	uint32_t batch = batch_rows(&c->feeds[s->feed].feed, to->batch, c->groups[s->group].world);

	core_begin(c, now_ns);
	if (to->batch && refuse_batch(&c->feeds[s->feed].feed, c->groups[s->group].world, to->batch,
				      "a larger batch.size makes them larger", why))
		return CORE_E_REFUSED;
	if (is_live(s) && join_seek(c, stream, at, batch, why))
		return CORE_E_REFUSED;
	s->serial = to->serial;
	s->batch = batch;
	s->turn_ns = c->now_ns;
	go_to(c, stream, at, to->bad);
	if (!is_live(s))
		return 0;
	if (c->tracks[s->track].first_follower == stream && s->next_follower == NONE) {
		c->tracks[s->track].batch = batch;
		track_restart(c, s->track, first_batch(s));
	} else if (place_compare(first_batch(s), track_oldest(c, &c->tracks[s->track])) < 0) {
		track_restart(c, s->track, first_batch(s));
	} else if (!s->is_empty_pass) {
		track_retire(c, s->track);
	}
	return 0;
}

void core_on_time(struct core *c, uint64_t now_ns)
{
	core_begin(c, now_ns);
	reads_time(c);
	tasks_time(c);
	slow_time(c);
}
