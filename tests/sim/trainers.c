/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Trainers: they attach, take, hold and release out of order, seek, stall, say goodbye, die (with or without
 * a child that keeps the socket) and come again with the token they had. One tick is one event at most.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

static uint64_t batch_all(const struct sim *s, const struct sim_group *g)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];

	return feed->batch_size ? feed->batch_size * g->world : feed->batch_global;
}

void trainers_make(struct sim *s)
{
	s->n_groups = (unsigned)sim_between(s, 1, SIM_GROUPS_MAX);
	for (uint32_t i = 0; i < s->n_groups; i++) {
		struct sim_group *g = &s->groups[i];

		g->feed = (uint32_t)sim_below(s, s->world.spec.n_feeds);
		g->world = (uint32_t)sim_between(s, 1, 3);
		g->local_world = sim_odds(s, 8000) ? g->world : (uint32_t)sim_between(s, 1, g->world);
		if (g->world > 1 || sim_odds(s, 5000))
			snprintf(g->name, sizeof(g->name), "group%u", i);
		g->base_epoch = sim_below(s, 4);
		if (sim_odds(s, 5000))
			g->base_start = sim_below(s, s->world.feeds[g->feed].n_positions);
		for (uint32_t r = 0; r < g->local_world; r++) {
			s->trainers[s->n_trainers] = (struct trainer){.group = i, .rank = r,
								      .stream = NOBODY};
			sim_later(s, sim_below(s, 20 * MS), EVENT_TRAINER, s->n_trainers++, 0);
		}
	}
}

static void tick_again(struct sim *s, uint32_t trainer, uint64_t in_ns)
{
	sim_later(s, in_ns, EVENT_TRAINER, trainer, s->trainers[trainer].incarnation);
}

/* ---- coming ---- */

/* A place to start from or to seek to, one that the group's other ranks can go along with. */
static void choose_place(struct sim *s, const struct sim_group *g, uint64_t *ret_epoch,
			 uint64_t *ret_position)
{
	uint64_t n = s->world.feeds[g->feed].n_positions, all = batch_all(s, g);

	*ret_epoch = sim_odds(s, 100) ? sim_below(s, 1000) + (UINT64_C(1) << 40)
				       : g->base_epoch + sim_below(s, 12); /* a pass before it ends in one from 0 */
	*ret_position = *ret_epoch == g->base_epoch ? g->base_start : 0;
	if (sim_odds(s, 5000))
		*ret_position += sim_below(s, (n - 1 - *ret_position) / all + 1) * all;
}

static uint32_t count_group(const struct sim *s, uint32_t group)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		n += s->streams[i].is_used && s->streams[i].group == group;
	return n;
}

static bool is_rank_taken(const struct sim *s, const struct trainer *t)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (oracle_is_live(&s->streams[i]) && s->streams[i].group == t->group &&
		    s->streams[i].rank == t->rank &&
		    s->streams[i].generation == s->groups[t->group].generation)
			return true;
	return false;
}

static bool is_pool_rich(const struct sim *s, const struct sim_group *g)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];
	uint32_t n_free = 0, claims = 0;

	for (uint32_t i = 0; i < feed->n_slots; i++)
		n_free += s->slots[g->feed][i].owner == NOBODY && s->slots[g->feed][i].n_writers == 0;
	for (uint32_t i = 0; i < s->n_groups; i++) /* a claim for those who have not come yet */
		if (&s->groups[i] != g && s->groups[i].name[0] && s->groups[i].feed == g->feed && count_group(s, i))
			claims += s->groups[i].local_world * feed->slots_per_rank;
	return n_free >= claims + 2 * g->local_world;
}

static bool is_impossible(const struct sim *s, const struct sim_group *g)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];
	uint64_t all = batch_all(s, g);

	return all % g->world || all / g->world > feed->n_rows ||
	       (feed->last == LAST_DROP && feed->n_positions < all);
}

/* A refusal is right, or wrong, or up to the core. */
static void judge_attach(struct sim *s, const struct trainer *t, const struct core_attach *a,
			 bool is_accepted, bool was_taken, bool was_rich, const struct reason *why)
{
	const struct sim_group *g = &s->groups[t->group];
	uint32_t n_used = 0;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		n_used += s->streams[i].is_used;
	if (is_impossible(s, g))
		SIM_CHECK(s, !is_accepted, "an impossible world");
	else if (was_taken && g->name[0])
		SIM_CHECK(s, !is_accepted, "rank %u is taken twice", a->rank);
	else if (n_used == s->world.spec.n_streams)
		SIM_CHECK(s, !is_accepted, "one session too many");
	else if (was_rich)
		SIM_CHECK(s, is_accepted, "refused for no reason: %s", why->text);
	if (!is_accepted)
		SIM_CHECK(s, why->text[0] != 0, "refused without a word");
}

static void attach(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];
	struct sim_group *g = &s->groups[t->group];
	struct core_attach a = {.feed = g->feed, .group = g->name, .rank = t->rank, .world = g->world,
				.local_world = g->local_world, .credit = (uint32_t)sim_below(s, 5)};
	bool was_taken, was_rich = is_pool_rich(s, g);
	struct reason why = {""};
	uint32_t stream;
	int r;

	if (sim_odds(s, 300) && g->name[0])
		g->generation++; /* the launcher starts them all again */
	s->coming = t->group;
	a.generation = g->generation;
	was_taken = is_rank_taken(s, t);
	if (!t->has_token)
		choose_place(s, g, &t->epoch, &t->position);
	a.has_place = true;
	a.epoch = t->epoch;
	a.position = t->position;
	a.bad = t->bad;
	a.batch = t->batch;
	r = core_on_attach(s->core, sim_tells(s), &a, &stream, &why);
	SIM_CHECK(s, r == 0 || r == CORE_E_REFUSED, "attach says %d", r);
	judge_attach(s, t, &a, r == 0, was_taken, was_rich, &why);
	if (r) {
		s->n_refused++;
		tick_again(s, trainer, sim_below(s, is_impossible(s, g) ? 100 * SECOND : SECOND));
		return;
	}
	tick_again(s, trainer, sim_below(s, s->world.think_ns_max) + 1);
	oracle_attached(s, stream, trainer, &a);
	s->streams[stream].tag = ++s->tag;
	t->stream = stream;
	t->is_leaving = false;
}

/* ---- going ---- */

static void forget(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];

	t->stream = NOBODY;
	t->n_inbox = t->n_hands = 0;
	t->incarnation++;
	t->has_token = sim_odds(s, 8000);
	if (!t->has_token)
		t->bad = 0;
	if (!s->is_ending)
		tick_again(s, trainer, sim_below(s, 100 * MS));
}

/* It is dead, and the two signals of that come when they come; a child may keep the socket open. */
static void die(struct sim *s, uint32_t trainer)
{
	uint32_t stream = s->trainers[trainer].stream;
	uint64_t tag = s->streams[stream].tag, hangup = sim_below(s, 2 * MS), exit = sim_below(s, 2 * MS);

	if (sim_odds(s, 3000))
		hangup = exit;
	else if (sim_odds(s, 4000))
		hangup += sim_below(s, 2 * SECOND);
	else if (sim_odds(s, 1000))
		exit += sim_below(s, 1 * SECOND);
	sim_later(s, hangup, EVENT_HANGUP, stream, tag);
	sim_later(s, exit, EVENT_EXIT, stream, tag);
	forget(s, trainer);
}

/* Whoever still was there is so no more. */
static void lose(struct sim *s, uint32_t stream)
{
	struct trainer *t = &s->trainers[s->streams[stream].trainer];

	if (t->stream == stream)
		forget(s, s->streams[stream].trainer);
}

void trainer_hangup(struct sim *s, uint32_t stream, uint64_t tag)
{
	struct oracle_stream *o = &s->streams[stream];

	if (!o->is_used || o->tag != tag)
		return;
	lose(s, stream);
	oracle_void(s, stream);
	o->has_hung_up = true;
	core_on_hangup(s->core, sim_tells(s), stream);
}

void trainer_exit(struct sim *s, uint32_t stream, uint64_t tag)
{
	struct oracle_stream *o = &s->streams[stream];

	if (!o->is_used || o->tag != tag)
		return;
	lose(s, stream);
	oracle_void(s, stream);
	o->has_exited = true;
	core_on_exit(s->core, sim_tells(s), stream);
}

static void goodbye(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];

	t->is_leaving = true;
	oracle_void(s, t->stream);
	s->streams[t->stream].is_detached = true;
	if (sim_odds(s, 5000))
		sim_later(s, sim_below(s, 2 * MS), EVENT_UNSEEN, t->stream, s->streams[t->stream].tag);
	core_on_detach(s->core, sim_tells(s), t->stream);
}

void trainer_unseen(struct sim *s, uint32_t stream, uint64_t tag)
{
	struct oracle_stream *o = &s->streams[stream];
	struct trainer *t = &s->trainers[o->trainer];
	unsigned n_seen;
	uint64_t last;

	if (!o->is_used || o->tag != tag || t->stream != stream || o->has_hung_up || o->has_exited)
		return;
	n_seen = t->n_inbox ? (unsigned)sim_below(s, t->n_inbox + 1) : 0;
	last = n_seen ? t->inbox[n_seen - 1].lease : t->n_inbox ? t->inbox[0].lease - 1 : UINT64_MAX;

	while (t->n_inbox > n_seen)
		oracle_released(s, stream, t->inbox[--t->n_inbox].lease);
	core_on_unseen(s->core, sim_tells(s), stream, last);
}

void trainers_end(struct sim *s)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		if (!s->streams[i].is_used)
			continue;
		sim_later(s, sim_below(s, 5 * MS), EVENT_HANGUP, i, s->streams[i].tag);
		sim_later(s, sim_below(s, 5 * MS), EVENT_EXIT, i, s->streams[i].tag);
	}
}

/* ---- between ---- */

void trainer_lent(struct sim *s, uint32_t trainer, const struct core_action *a)
{
	struct trainer *t = &s->trainers[trainer];

	if (t->stream != a->stream)
		return; /* dead already, and the core cannot know yet */
	t->inbox[t->n_inbox++] = (struct held){a->lend.lease, a->lend.epoch_after, a->lend.position_after,
					       a->lend.bad};
}

static void take_next(struct trainer *t)
{
	struct held h = t->inbox[0];

	memmove(&t->inbox[0], &t->inbox[1], --t->n_inbox * sizeof(h));
	t->hands[t->n_hands++] = h;
	t->epoch = h.epoch;
	t->position = h.position;
	t->bad = h.bad;
}

static void release(struct sim *s, struct trainer *t, unsigned which)
{
	struct held h = t->hands[which];

	t->hands[which] = t->hands[--t->n_hands];
	oracle_released(s, t->stream, h.lease);
	SIM_CHECK(s, core_on_release(s->core, sim_tells(s), t->stream, h.lease), "the lease is unknown");
}

/* Must batches of so many rows be refused? */
static bool is_batch_wrong(const struct sim *s, const struct sim_group *g, uint32_t batch)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];

	return batch > feed->n_rows || (feed->last == LAST_DROP && batch > feed->n_positions);
}

/* Another size of its batches, where no other rank has to agree. */
static bool resize(struct sim *s, struct trainer *t)
{
	const struct sim_group *g = &s->groups[t->group];
	uint32_t batch = (uint32_t)sim_below(s, s->world.feeds[g->feed].n_rows + 2);
	const struct core_seek to = {.serial = s->streams[t->stream].serial + 1, .batch = batch,
				     .epoch = t->epoch, .position = t->position, .bad = t->bad};
	struct reason why;

	if (!is_batch_wrong(s, g, batch)) {
		t->batch = batch;
		return true;
	}
	SIM_CHECK(s, core_on_seek(s->core, sim_tells(s), t->stream, &to, &why) == CORE_E_REFUSED && why.text[0],
		  "%u rows are taken", batch);
	return false;
}

static void seek(struct sim *s, struct trainer *t)
{
	struct oracle_stream *o = &s->streams[t->stream];
	struct core_seek to = {.serial = o->serial + 1};
	struct reason why;

	if (s->groups[t->group].world == 1 && sim_odds(s, 3000) && !resize(s, t))
		return;

	while (t->n_inbox) /* sent ahead and not wanted: they are released one by one */
		t->hands[t->n_hands++] = t->inbox[--t->n_inbox];
	if (sim_odds(s, 6000)) {
		choose_place(s, &s->groups[t->group], &t->epoch, &t->position);
		t->bad = 0;
	}
	oracle_void(s, t->stream);
	oracle_start(s, t->stream, t->batch, t->epoch, t->position, t->bad);
	o->serial++;
	to.batch = t->batch;
	to.epoch = t->epoch;
	to.position = t->position;
	to.bad = t->bad;
	SIM_CHECK(s, core_on_seek(s->core, sim_tells(s), t->stream, &to, &why) == 0, "a place is refused");
}

static bool misuse(struct sim *s, struct trainer *t)
{
	uint64_t lease = sim_odds(s, 5000) ? sim_random(s) : 0;

	SIM_CHECK(s, !core_on_release(s->core, sim_tells(s), t->stream, lease), "a lease that never was");
	return true;
}

static void act(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];
	const struct odds *o = &s->world.odds;

	if (t->is_leaving || s->streams[t->stream].has_failed) {
		while (t->n_inbox)
			t->hands[t->n_hands++] = t->inbox[--t->n_inbox];
		if (t->n_hands && !sim_odds(s, 500))
			release(s, t, (unsigned)sim_below(s, t->n_hands));
		else
			die(s, trainer);
		return;
	}
	while (t->n_inbox && sim_odds(s, 7000))
		take_next(t);
	if (sim_odds(s, o->seek))
		seek(s, t);
	else if (sim_odds(s, o->goodbye))
		goodbye(s, trainer);
	else if (sim_odds(s, o->kill))
		die(s, trainer);
	else if (sim_odds(s, 20))
		misuse(s, t);
	else if (t->n_hands && sim_odds(s, 8000))
		release(s, t, sim_odds(s, 7000) ? 0 : (unsigned)sim_below(s, t->n_hands));
}

void trainer_tick(struct sim *s, uint32_t trainer, uint64_t tag)
{
	struct trainer *t = &s->trainers[trainer];
	uint64_t pause = sim_between(s, 1, s->world.think_ns_max);

	if (t->incarnation != tag || s->is_ending)
		return;
	if (t->stream == NOBODY) {
		attach(s, trainer);
		return;
	}
	if (sim_odds(s, s->world.odds.stall))
		pause = sim_odds(s, 3000) ? 1000000 * SECOND : sim_below(s, 5 * SECOND);
	else if (t->n_inbox + t->n_hands == 0)
		pause *= 8; /* nothing to do until a batch comes */
	act(s, trainer);
	if (t->incarnation == tag)
		tick_again(s, trainer, pause);
}
