/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Groups: who may be which rank of which, with batches of what size, and how many slots each rank gets. */
#include "core/state.h"

#include <stdio.h>
#include <string.h>

uint32_t group_find(const struct core *c, uint32_t feed, const char *name)
{
	for (uint32_t i = 0; *name && i < c->spec.n_streams; i++)
		if (c->groups[i].is_used && c->groups[i].feed == feed &&
		    strcmp(c->groups[i].name, name) == 0)
			return i;
	return NONE;
}

uint32_t group_make(struct core *c, const struct core_attach *a)
{
	uint32_t i = 0;

	while (c->groups[i].is_used)
		i++; /* there are as many as streams, and a stream was free */
	c->groups[i] = (struct group){.feed = a->feed, .world = a->world, .local_world = a->local_world,
				      .generation = a->generation, .number = c->n_groups_seen++,
				      .is_used = true};
	snprintf(c->groups[i].name, CORE_GROUP_MAX, "%s", a->group);
	return i;
}

void group_put(struct core *c, uint32_t group)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (c->streams[i].is_used && c->streams[i].group == group)
			return;
	c->groups[group].is_used = false;
}

uint32_t batch_rows(const struct core_feed *feed, uint32_t batch, uint32_t world)
{
	return batch ? batch : (uint32_t)(feed->batch_size ? feed->batch_size : feed->batch_global / world);
}

/* ---- refusals ---- */

/* Batches of so many rows for each of the ranks: do they fit, and is there one? */
int refuse_batch(const struct core_feed *feed, uint32_t world, uint64_t each, const char *cure,
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

int refuse_world(const struct core *c, const struct core_attach *a, struct reason *why)
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

/* ---- ranks ---- */

static void replace_older(struct core *c, uint32_t group, uint32_t generation)
{
	const struct core_action what = {.kind = CORE_FAIL, .bad.failure = CORE_FAIL_REPLACED};

	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (is_live(&c->streams[i]) && c->streams[i].group == group)
			stream_fail(c, i, &what);
	c->groups[group].generation = generation;
}

static int refuse_taken(const struct core *c, const struct core_attach *a, const struct stream *s,
			struct reason *why)
{
	const struct group *g = &c->groups[s->group];
	const char *feed = c->feeds[a->feed].feed.name;

	if (s->rank != a->rank || (a->replica && s->replica && s->replica != a->replica))
		return 0;
	if (a->replica && a->replica == s->replica)
		reason_set(why, "replica %u of rank %u of group %s of feed %s is taken by another trainer that is "
			   "still attached", a->replica - 1, a->rank, g->name, feed);
	else
		reason_set(why, "rank %u of group %s of feed %s is taken by another trainer that is still attached; "
			   "trainers that are to get the same batches all say which replica they are", a->rank,
			   g->name, feed);
	return CORE_E_REFUSED;
}

/* Do the batches of its ranks begin at the same positions? */
static int refuse_start(const struct core *c, const struct core_attach *a, const struct stream *s,
			struct reason *why)
{
	const uint64_t all = (uint64_t)s->batch * a->world;
	const uint64_t apart = s->pass_start > a->position ? s->pass_start - a->position : a->position - s->pass_start;

	if (s->next.epoch != a->epoch || apart % all == 0)
		return 0;
	reason_set(why, "rank %u starts at position %llu, no whole number of global batches of %llu from position "
		   "%llu where rank %u started: give all ranks tokens of one run", a->rank,
		   (unsigned long long)a->position, (unsigned long long)all, (unsigned long long)s->pass_start,
		   s->rank);
	return CORE_E_REFUSED;
}

int group_renew(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why)
{
	const struct group *g = &c->groups[group];

	if (a->generation < g->generation) {
		reason_set(why, "group %s has been restarted since (restart %u, this trainer is of restart %u)",
			   g->name, g->generation, a->generation);
		return CORE_E_REFUSED;
	}
	if (a->generation > g->generation)
		replace_older(c, group, a->generation);
	return 0;
}

int group_check(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	struct group *g = &c->groups[group];

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct stream *s = &c->streams[i];

		if (!is_live(s) || s->group != group)
			continue;
		if (g->world != a->world) {
			reason_set(why, "group %s of feed %s has world size %u, this trainer says %u: rank %u of "
				   "it is refused", g->name, feed->name, g->world, a->world, a->rank);
			return CORE_E_REFUSED;
		}
		if (refuse_taken(c, a, s, why) || refuse_start(c, a, s, why))
			return CORE_E_REFUSED;
	}
	g->world = a->world;
	g->local_world = a->local_world;
	return 0;
}

/* ---- slots ---- */

static uint32_t count_tracks(const struct core *c, const struct group *g, uint32_t group)
{
	const bool is_shared = c->feeds[g->feed].feed.window > 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];

		n += t->is_used && t->feed == g->feed && t->world == g->world && (is_shared || t->group == group);
	}
	return n;
}

/* The first of those whose ranks follow the same tracks. */
static bool is_first_alike(const struct core *c, uint32_t group)
{
	const struct group *g = &c->groups[group];

	for (uint32_t i = 0; c->feeds[g->feed].feed.window && i < group; i++)
		if (c->groups[i].is_used && c->groups[i].feed == g->feed && c->groups[i].world == g->world)
			return false;
	return true;
}

/* Slots kept for local ranks of this group that have not come yet. */
static uint32_t group_reserve(const struct core *c, uint32_t group)
{
	const struct group *g = &c->groups[group];
	uint32_t n;

	if (!g->name[0] || !is_first_alike(c, group))
		return 0; /* a trainer alone: nobody else can come */
	n = count_tracks(c, g, group);
	return n < g->local_world ? (g->local_world - n) * g->per_rank : 0;
}

static uint32_t pool_free(const struct core *c, uint32_t feed)
{
	const struct feed_state *f = &c->feeds[feed];
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->feed.n_slots; i++) {
		const struct slot *slot = &c->slots[f->first_slot + i];

		n += slot->track == NONE && slot_is_free(slot);
	}
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

uint32_t group_share(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	struct group *g = &c->groups[group];
	uint32_t n = slots_for(c, a->feed, group), each = g->per_rank;

	if (each == 0) {
		each = n / a->local_world;
		each = each > feed->slots_per_rank ? feed->slots_per_rank : each;
		each = each > CORE_STREAM_SLOTS_MAX ? CORE_STREAM_SLOTS_MAX : each;
		g->per_rank = each >= 2 ? each : 0; /* too few now may be enough later */
	}
	each = n < each ? n : each;
	if (each >= 2)
		return each;
	reason_set(why, "feed %s has %u free slots of its %u, and %u ranks on this machine need 2 each: "
		   "raise daemon.memory by %llu MiB, or end another group", feed->name, n, feed->n_slots,
		   a->local_world, (unsigned long long)
		   (((2 * (uint64_t)a->local_world - n) * feed->slot_bytes + (1 << 20) - 1) >> 20));
	return 0;
}
