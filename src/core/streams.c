/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Streams (one rank of one group each) from attach to gone, and what becomes of their slots: a slot goes
 * back to the pool when its trainer said goodbye and does not hold it, or when its socket has
 * hung up and its process is dead; between those two it is quarantined.
 */
#include "core/state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- groups ---- */

static uint32_t find_group(const struct core *c, uint32_t feed, const char *name)
{
	for (uint32_t i = 0; *name && i < c->spec.n_streams; i++)
		if (c->groups[i].is_used && c->groups[i].feed == feed &&
		    strcmp(c->groups[i].name, name) == 0)
			return i;
	return NONE;
}

static bool has_members(const struct core *c, uint32_t group)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (c->streams[i].is_used && c->streams[i].group == group)
			return true;
	return false;
}

/* Slots kept for local ranks of this group that have not come yet. */
static uint32_t group_reserve(const struct core *c, uint32_t group)
{
	const struct group *g = &c->groups[group];
	uint32_t n = 0;

	if (!g->name[0])
		return 0; /* a trainer alone: nobody else can come */
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		n += is_live(&c->streams[i]) && c->streams[i].group == group;
	return n < g->local_world ? (g->local_world - n) * g->per_rank : 0;
}

static uint32_t pool_free(const struct core *c, uint32_t feed)
{
	const struct feed_state *f = &c->feeds[feed];
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->feed.n_slots; i++)
		n += c->slots[f->first_slot + i].stream == NONE;
	return n;
}

/* Free slots of the pool that no other group has a claim to. */
static uint32_t slots_for(const struct core *c, uint32_t feed, uint32_t group)
{
	uint32_t n = pool_free(c, feed), claimed = 0;

	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (c->groups[i].is_used && c->groups[i].feed == feed && i != group)
			claimed += group_reserve(c, i);
	return n > claimed ? n - claimed : 0;
}

/* ---- attach ---- */

/* Batches of so many rows for each of the ranks: do they fit, and is there one? */
static int refuse_batch(const struct core_feed *feed, uint32_t world, uint64_t each, const char *cure,
			struct reason *why)
{
	const struct pass pass = {.n_samples = feed->n_positions, .world = world, .last = feed->last,
				  .batch = each};

	if (each > feed->n_rows) {
		reason_set(why, "feed %s would have %llu samples per rank for world size %u, and its slots hold "
			   "%u; %s", feed->name, (unsigned long long)each, world, feed->n_rows, cure);
		return CORE_E_REFUSED;
	}
	if (pass_n_batches(&pass) == 0) {
		reason_set(why, "feed %s has %llu samples, fewer than one global batch of %llu, and "
			   "batch.last is drop: use pad or short, or a smaller batch", feed->name,
			   (unsigned long long)pass.n_samples, (unsigned long long)(each * world));
		return CORE_E_REFUSED;
	}
	return 0;
}

static int refuse_world(const struct core *c, const struct core_attach *a, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	uint64_t each = feed->batch_size;
	char cure[100];

	if (a->world == 0 || a->rank >= a->world || a->local_world == 0 || a->local_world > a->world) {
		reason_set(why, "rank %u of world size %u (%u on this machine) is impossible; ranks go from 0 "
			   "to world size - 1", a->rank, a->world, a->local_world);
		return CORE_E_REFUSED;
	}
	if (a->batch)
		return refuse_batch(feed, a->world, a->batch, "a larger batch.size makes them larger", why);
	if (feed->batch_global) {
		each = feed->batch_global / a->world;
		if (feed->batch_global % a->world) {
			reason_set(why, "feed %s has batch.global %llu, which world size %u does not divide",
				   feed->name, (unsigned long long)feed->batch_global, a->world);
			return CORE_E_REFUSED;
		}
	}
	snprintf(cure, sizeof(cure), "set batch.ranks to %u or less", a->world);
	return refuse_batch(feed, a->world, each, cure, why);
}

static void replace_older(struct core *c, uint32_t group, uint32_t generation)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		struct core_action what = {.kind = CORE_FAIL, .stream = i};

		if (!c->streams[i].is_used || c->streams[i].group != group)
			continue;
		what.bad.failure = CORE_FAIL_REPLACED;
		if (is_live(&c->streams[i]))
			stream_fail(c, i, &what);
	}
	c->groups[group].generation = generation;
}

static int refuse_rank(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	const struct group *g = &c->groups[group];

	if (a->generation < g->generation) {
		reason_set(why, "group %s has been restarted since (restart %u, this trainer is of restart %u)",
			   g->name, g->generation, a->generation);
		return CORE_E_REFUSED;
	}
	if (a->generation > g->generation)
		replace_older(c, group, a->generation);
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct stream *s = &c->streams[i];

		if (!is_live(s) || s->group != group)
			continue;
		if (g->world != a->world) {
			reason_set(why, "group %s of feed %s has world size %u, this trainer says %u: rank %u of "
				   "it is refused", g->name, feed->name, g->world, a->world, a->rank);
			return CORE_E_REFUSED;
		}
		if (s->rank == a->rank) {
			reason_set(why, "rank %u of group %s of feed %s is taken by another trainer that is "
				   "still attached", a->rank, g->name, feed->name);
			return CORE_E_REFUSED;
		}
		if (s->lend_epoch == a->epoch &&
		    (s->lend_start > a->position ? s->lend_start - a->position
						 : a->position - s->lend_start) %
			    (s->open.pass.batch * a->world)) {
			reason_set(why, "rank %u starts at position %llu, no whole number of global batches of %llu "
				   "from position %llu where rank %u started: give all ranks tokens of one run",
				   a->rank, (unsigned long long)a->position,
				   (unsigned long long)(s->open.pass.batch * a->world),
				   (unsigned long long)s->lend_start, s->rank);
			return CORE_E_REFUSED;
		}
	}
	return 0;
}

static uint32_t unused_stream(const struct core *c)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (!c->streams[i].is_used)
			return i;
	return NONE;
}

static uint32_t make_group(struct core *c, const struct core_attach *a)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		struct group *g = &c->groups[i];

		if (g->is_used)
			continue;
		*g = (struct group){.feed = a->feed, .world = a->world, .local_world = a->local_world,
				    .generation = a->generation, .number = c->n_groups_seen++,
				    .is_used = true};
		memcpy(g->name, a->group, strnlen(a->group, CORE_GROUP_MAX - 1));
		return i;
	}
	return NONE; /* there are as many as streams, and a stream was free */
}

/* How many slots the newcomer gets, or 0 with the reason. */
static uint32_t share_slots(struct core *c, const struct core_attach *a, uint32_t group,
			    struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	struct group *g = &c->groups[group];
	uint32_t n = slots_for(c, a->feed, group), each;

	if (g->per_rank == 0) {
		each = n / a->local_world;
		g->per_rank = each > feed->slots_per_rank ? feed->slots_per_rank : each;
		if (g->per_rank > CORE_STREAM_SLOTS_MAX)
			g->per_rank = CORE_STREAM_SLOTS_MAX;
	}
	each = n < g->per_rank ? n : g->per_rank;
	if (each >= 2)
		return each;
	reason_set(why, "feed %s has %u free slots of its %u, and %u ranks on this machine need 2 each: "
		   "raise daemon.memory by %llu MiB, or end another group", feed->name, n, feed->n_slots,
		   a->local_world, (unsigned long long)
		   (((2 * (uint64_t)a->local_world - n) * feed->slot_bytes + (1 << 20) - 1) >> 20));
	return 0;
}

static void take_slots(struct core *c, uint32_t stream, uint32_t n)
{
	struct stream *s = &c->streams[stream];
	const struct feed_state *f = &c->feeds[s->feed];

	for (uint32_t i = 0; i < f->feed.n_slots && s->n_slots < n; i++) {
		struct slot *slot = &c->slots[f->first_slot + i];

		if (slot->stream != NONE)
			continue;
		assert(slot->state == SLOT_FREE);
		slot->stream = stream;
		s->slots[s->n_slots++] = f->first_slot + i;
	}
}

static void start_at(struct core *c, uint32_t stream, uint64_t epoch, uint64_t position, uint64_t bad)
{
	struct stream *s = &c->streams[stream];

	cursor_set(c, stream, &s->open, epoch, position);
	s->lend_epoch = epoch;
	s->lend_start = position;
	s->bad = bad;
	s->is_empty_pass = pass_n_batches(&s->open.pass) == 0;
	if (s->is_empty_pass)
		cursor_set(c, stream, &s->open, epoch + 1, 0);
	s->read = s->open;
}

int core_on_attach(struct core *c, uint64_t now_ns, struct core_attach *a, uint32_t *ret_stream,
		   struct reason *why)
{
	uint32_t stream = unused_stream(c), group, n;
	struct stream *s;
	int r;

	core_begin(c, now_ns);
	r = refuse_world(c, a, why);
	if (r)
		return r;
	if (stream == NONE) {
		reason_set(why, "there are %u sessions already, as many as the daemon takes", c->spec.n_streams);
		return CORE_E_REFUSED;
	}
	group = find_group(c, a->feed, a->group);
	if (group != NONE) {
		r = refuse_rank(c, a, group, why);
		if (r)
			return r;
		c->groups[group].world = a->world;
		c->groups[group].local_world = a->local_world;
	} else {
		group = make_group(c, a);
	}
	n = share_slots(c, a, group, why);
	if (n == 0) {
		c->groups[group].is_used = has_members(c, group);
		return CORE_E_REFUSED;
	}
	s = &c->streams[stream];
	if (!a->has_place)
		a->epoch = a->position = a->bad = 0;
	*s = (struct stream){.feed = a->feed, .group = group, .rank = a->rank, .batch = a->batch, .is_used = true, .wait = -1,
			     .unread = list_empty(), .unread_ahead = list_empty(),
			     .ahead = list_empty(), .batches = list_empty()};
	take_slots(c, stream, n);
	s->credit = a->credit && a->credit < n ? a->credit : n;
	start_at(c, stream, a->epoch, a->position, a->bad);
	*ret_stream = stream;
	return 0;
}

/* ---- stopping ---- */

static void drop_from(struct core *c, struct list *l, uint32_t stream)
{
	struct list kept = list_empty();
	uint32_t job;

	while ((job = job_pop(c, l)) != NONE)
		if (c->jobs[job].stream != stream)
			job_push(c, &kept, job);
	*l = kept;
}

/* Everything under way for the stream stops; slots that a worker is writing drain first. */
void stream_cancel(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];

	drop_from(c, &c->alone, stream);
	drop_from(c, &c->large, stream);
	for (uint32_t i = 0; i < c->n_jobs; i++) {
		struct job *j = &c->jobs[i];

		if (j->state == JOB_FREE || j->stream != stream || j->is_cancelled)
			continue;
		if (j->state == JOB_TASKED)
			j->is_cancelled = true;
		else
			job_free(c, i);
	}
	s->unread = s->unread_ahead = s->ahead = s->batches = list_empty();
	for (uint32_t i = 0; i < s->n_slots; i++) {
		struct slot *slot = &c->slots[s->slots[i]];

		slot->staged = list_empty();
		slot->next = NONE;
		if (slot->state != SLOT_FILLING && slot->state != SLOT_READY)
			continue;
		slot->is_draining = slot->n_tasked > 0;
		slot->state = slot->is_draining ? SLOT_FILLING : SLOT_FREE;
	}
	assert(s->ahead_bytes == 0);
}

void stream_fail(struct core *c, uint32_t stream, const struct core_action *what)
{
	struct stream *s = &c->streams[stream];

	if (s->has_failed)
		return;
	s->has_failed = true;
	*action_add(c, CORE_FAIL, stream) = *what;
	stream_cancel(c, stream);
}

static bool slot_stays(struct stream *s, struct slot *slot)
{
	bool is_gone = s->has_hung_up && s->has_exited;

	if (slot->is_draining)
		return true; /* a worker may still write it */
	if (is_gone || (s->is_detached && slot->state == SLOT_FREE)) {
		slot->state = SLOT_FREE;
		slot->stream = NONE;
		return false;
	}
	if (s->has_hung_up || s->has_exited)
		slot->state = SLOT_QUARANTINED;
	return true;
}

/* Gives back what slots it can, once the stream is leaving. */
void stream_settle(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	uint32_t n = 0;

	if (!s->is_used || (!s->is_detached && !s->has_hung_up && !s->has_exited))
		return;
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (slot_stays(s, &c->slots[s->slots[i]]))
			s->slots[n++] = s->slots[i];
	s->n_slots = n;
	if (n > 0 || !s->has_hung_up)
		return;
	s->is_used = false;
	c->groups[s->group].is_used = has_members(c, s->group);
	action_add(c, CORE_GONE, stream);
}

static void leave(struct core *c, uint32_t stream)
{
	stream_cancel(c, stream);
	stream_settle(c, stream);
}

void core_on_detach(struct core *c, uint64_t now_ns, uint32_t stream)
{
	core_begin(c, now_ns);
	c->streams[stream].is_detached = true;
	leave(c, stream);
}

void core_on_unseen(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t last_lease)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	for (uint32_t i = 0; i < s->n_slots; i++) {
		struct slot *slot = &c->slots[s->slots[i]];

		if (slot->state != SLOT_LEASED || slot->lease <= last_lease)
			continue;
		slot->state = SLOT_FREE;
		s->n_lent--;
	}
	stream_settle(c, stream);
}

void core_on_hangup(struct core *c, uint64_t now_ns, uint32_t stream)
{
	core_begin(c, now_ns);
	c->streams[stream].has_hung_up = true;
	leave(c, stream);
}

void core_on_exit(struct core *c, uint64_t now_ns, uint32_t stream)
{
	core_begin(c, now_ns);
	c->streams[stream].has_exited = true;
	leave(c, stream);
}

int core_on_seek(struct core *c, uint64_t now_ns, uint32_t stream, const struct core_seek *to,
		 struct reason *why)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	if (to->batch && refuse_batch(&c->feeds[s->feed].feed, c->groups[s->group].world, to->batch,
				      "a larger batch.size makes them larger", why))
		return CORE_E_REFUSED;
	stream_cancel(c, stream);
	s->serial = to->serial;
	s->batch = to->batch;
	start_at(c, stream, to->epoch, to->position, to->bad);
	return 0;
}

void core_on_time(struct core *c, uint64_t now_ns)
{
	core_begin(c, now_ns);
	reads_time(c);
	tasks_time(c);
}
