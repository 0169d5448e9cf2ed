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

/* Which feed, how many ranks, and where its passes begin: often as another group that shares the feed. */
static void make_group(struct sim *s, uint32_t group)
{
	struct sim_group *g = &s->groups[group];
	const struct sim_group *like = group && sim_odds(s, world_has_views(s) ? 9000 : 6000) ? &s->groups[sim_below(s, group)] : NULL;
	const uint32_t other = (uint32_t)sim_below(s, s->world.spec.n_feeds);

	g->feed = like ? like->feed : (uint32_t)sim_below(s, s->world.spec.n_feeds);
	if (like && world_base(s, other) == world_base(s, like->feed) && sim_odds(s, 7000))
		g->feed = other;
	if (s->world.is_company)
		g->feed = group % s->world.spec.n_feeds;
	g->world = (uint32_t)sim_between(s, 1, 3);
	if (like && like->feed == g->feed && (s->world.is_together[g->feed] || sim_odds(s, 7000)))
		g->world = like->world;
	g->local_world = sim_odds(s, 8000) ? g->world : (uint32_t)sim_between(s, 1, g->world);
	if (s->world.is_together[g->feed])
		g->local_world = g->world;
	g->base_epoch = sim_below(s, 4);
	if (sim_odds(s, 5000))
		g->base_start = sim_below(s, s->world.feeds[g->feed].n_positions);
	if (like && (s->world.is_company || sim_odds(s, 7000))) {
		g->base_epoch = like->base_epoch;
		g->base_start = like->base_start;
	}
}

static void make_trainers(struct sim *s, uint32_t group)
{
	struct sim_group *g = &s->groups[group];
	uint32_t n = sim_odds(s, 7500) ? 0 : (uint32_t)sim_between(s, 1, SIM_REPLICAS_MAX);

	if (g->world > 1 || n || sim_odds(s, 5000))
		snprintf(g->name, sizeof(g->name), "group%u", group);
	for (uint32_t r = 0; r < g->local_world; r++)
		for (uint32_t k = n ? 1 : 0; k <= n && s->n_trainers < SIM_TRAINERS_MAX; k++) {
			s->trainers[s->n_trainers] = (struct trainer){.group = group, .rank = r, .replica = k,
								      .stream = NOBODY};
			sim_later(s, sim_below(s, 20 * MS), EVENT_TRAINER, s->n_trainers++, 0);
		}
}

void trainers_make(struct sim *s)
{
	s->n_groups = (unsigned)sim_between(s, s->world.is_company ? 2 : 1, SIM_GROUPS_MAX);
	for (uint32_t i = 0; i < s->n_groups; i++) {
		make_group(s, i);
		make_trainers(s, i);
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

/* A restart of its group has begun: those of the older one fail, and are told when the actions are taken. */
static void replace_older(struct sim *s, const struct trainer *t, bool is_accepted)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		struct oracle_stream *o = &s->streams[i];
		struct core_stream_view v;

		if (!oracle_is_live(o) || o->group != t->group ||
		    o->generation == s->groups[t->group].generation)
			continue;
		core_view_stream(s->core, i, &v);
		SIM_CHECK(s, v.has_failed || !is_accepted, "two restarts of a group at once");
		if (!v.has_failed)
			continue;
		course_leave(s, i);
		o->has_failed = o->is_replaced = true;
	}
}

static void choose_start(struct sim *s, const struct trainer *t, struct core_attach *a)
{
	const struct sim_group *g = &s->groups[t->group];

	a->has_place = t->has_token ||
		       (!s->world.is_together[g->feed] && sim_odds(s, s->world.feeds[g->feed].window ? 3000 : 7000));
	a->start = sim_odds(s, 2000) ? CORE_START_NEXT_EPOCH : CORE_START_NOW;
	if (!a->has_place)
		return;
	if (t->has_token && sim_odds(s, 3000)) {
		a->start = CORE_START_BACK;
		sim_fault(s, FAULT_trainer_back);
	}
	if (t->has_token)
		sim_fault(s, FAULT_trainer_rejoins);
	a->epoch = t->epoch;
	a->position = t->position;
	a->bad = t->bad;
	if (!t->has_token)
		choose_place(s, g, &a->epoch, &a->position);
}

/* Who cannot be right: of an older restart, as a rank that is taken, or that its world does not have. */
static void intrude(struct sim *s, uint32_t trainer)
{
	const struct trainer *t = &s->trainers[trainer], *taken = &s->trainers[sim_below(s, s->n_trainers)];
	const struct sim_group *g = &s->groups[t->group];
	struct core_attach a = {.feed = g->feed, .group = g->name, .rank = t->rank, .world = g->world,
				.local_world = g->local_world, .replica = t->replica, .batch = t->batch,
				.generation = g->generation};
	const bool is_there = taken->stream != NOBODY && oracle_is_member(s, &s->streams[taken->stream], t->group) &&
			      s->streams[taken->stream].generation == g->generation;
	enum fault how = FAULT_trainer_impossible;
	struct reason why = {""};
	uint32_t stream;

	if (is_there && g->generation && sim_odds(s, 5000)) {
		a.generation--;
		how = FAULT_trainer_outdated;
	} else if (is_there && sim_odds(s, 8000)) {
		a.rank = taken->rank;
		a.replica = sim_odds(s, 8000) ? taken->replica : 0;
		how = FAULT_trainer_impostor;
	} else {
		const uint32_t wrong[][3] = {{g->world, g->world, 1}, {0, 0, 1}, {0, g->world, 0}, {0, g->world, g->world + 1}};
		const uint32_t *which = wrong[sim_below(s, 4)];

		a.rank = which[0];
		a.world = which[1];
		a.local_world = which[2];
	}
	sim_fault(s, how);
	SIM_CHECK(s, core_on_attach(s->core, sim_tells(s), &a, &stream, &why) == CORE_E_REFUSED && why.text[0],
		  "rank %u of %u is let in", a.rank, a.world);
	sim_settle(s);
}

static void attach(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];
	struct sim_group *g = &s->groups[t->group];
	struct core_attach a = {.feed = g->feed, .group = g->name, .rank = t->rank, .world = g->world,
				.local_world = g->local_world, .credit = (uint32_t)sim_below(s, 5),
				.replica = t->replica, .batch = t->batch};
	const bool was_rich = entry_is_pool_rich(s, g);
	struct reason why = {""};
	uint32_t stream = NOBODY;
	int r;

	if (sim_odds(s, 300) && g->name[0]) {
		g->generation++; /* the launcher starts them all again */
		sim_fault(s, FAULT_trainer_restarts);
	}
	s->coming = t->group;
	a.generation = g->generation;
	choose_start(s, t, &a);
	r = core_on_attach(s->core, sim_tells(s), &a, &stream, &why);
	SIM_CHECK(s, r == 0 || r == CORE_E_REFUSED, "attach says %d", r);
	replace_older(s, t, r == 0);
	judge_attach(s, trainer, &a, r ? NOBODY : stream, was_rich, &why);
	if (r) {
		s->n_refused++;
		if (sim_odds(s, 2000)) {
			t->has_token = false; /* it gives up on going on */
			t->bad = t->batch = 0;
		}
		tick_again(s, trainer, sim_below(s, entry_is_impossible(s, g) ? 100 * SECOND : SECOND));
		return;
	}
	tick_again(s, trainer, sim_below(s, s->world.think_ns_max) + 1);
	oracle_attached(s, stream, trainer, &a);
	s->streams[stream].tag = ++s->tag;
	t->stream = stream;
	t->is_leaving = false;
	t->epoch = a.epoch;
	t->position = a.position;
	t->bad = a.bad;
}

/* ---- going ---- */

static void forget(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];

	t->stream = NOBODY;
	t->n_inbox = t->n_hands = 0;
	t->incarnation++;
	t->has_token = sim_odds(s, 8000);
	if (!t->has_token) {
		t->bad = 0;
		sim_fault(s, FAULT_trainer_forgets);
	}
	if (!s->is_ending)
		tick_again(s, trainer, sim_below(s, 100 * MS));
}

/* It is dead, and the two signals of that come when they come; a child may keep the socket open. */
static void die(struct sim *s, uint32_t trainer)
{
	uint32_t stream = s->trainers[trainer].stream;
	uint64_t tag = s->streams[stream].tag, hangup = sim_below(s, 2 * MS), exit = sim_below(s, 2 * MS);

	enum fault how = FAULT_trainer_dies;

	if (sim_odds(s, 3000)) {
		hangup = exit;
		how = FAULT_trainer_dies_at_once;
	} else if (sim_odds(s, 4000)) {
		hangup += sim_below(s, 2 * SECOND);
		how = FAULT_trainer_dies_with_child;
	} else if (sim_odds(s, 1000)) {
		exit += sim_below(s, 1 * SECOND);
		how = FAULT_trainer_hangs_up;
	}
	sim_fault(s, how);
	sim_later(s, hangup, EVENT_HANGUP, stream, tag);
	sim_later(s, exit, EVENT_EXIT, stream, tag);
	forget(s, trainer);
}

void trainer_mourned(struct sim *s, uint32_t stream)
{
	const struct oracle_stream *gone = &s->streams[stream];

	for (uint32_t i = 0; s->world.feeds[gone->feed].window && i < s->world.spec.n_streams; i++) {
		struct oracle_stream *o = &s->streams[i];

		if (i != stream && oracle_is_member(s, o, gone->group))
			o->peers[o->n_peers++] = (struct peer){gone->rank, gone->replica};
	}
}

/* Whoever still was there is so no more, and its peers have to be told. */
static void lose(struct sim *s, uint32_t stream)
{
	const struct oracle_stream *gone = &s->streams[stream];

	if (s->trainers[gone->trainer].stream == stream)
		forget(s, gone->trainer);
	if (!oracle_is_live(gone))
		return;
	course_leave(s, stream);
	trainer_mourned(s, stream);
}

void trainer_hangup(struct sim *s, uint32_t stream, uint64_t tag)
{
	struct oracle_stream *o = &s->streams[stream];

	if (!o->is_used || o->tag != tag)
		return;
	lose(s, stream);
	o->has_hung_up = true;
	core_on_hangup(s->core, sim_tells(s), stream);
}

void trainer_exit(struct sim *s, uint32_t stream, uint64_t tag)
{
	struct oracle_stream *o = &s->streams[stream];

	if (!o->is_used || o->tag != tag)
		return;
	lose(s, stream);
	o->has_exited = true;
	core_on_exit(s->core, sim_tells(s), stream);
}

static void goodbye(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];

	sim_fault(s, FAULT_trainer_goodbye);
	t->is_leaving = true;
	course_leave(s, t->stream);
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

	if (t->n_inbox > n_seen)
		sim_fault(s, FAULT_trainer_unseen);
	while (t->n_inbox > n_seen)
		oracle_released(s, stream, t->inbox[--t->n_inbox].lease);
	core_on_unseen(s->core, sim_tells(s), stream, last);
}

void trainers_calm(struct sim *s)
{
	s->is_calm = true;
	s->world.odds = (struct odds){0};
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		s->streams[i].was_there = oracle_is_live(&s->streams[i]);
		s->streams[i].has_moved = false;
	}
	for (uint32_t i = 0; i < s->n_trainers; i++) {
		s->trainers[i].incarnation++;
		tick_again(s, i, sim_below(s, s->world.think_ns_max) + 1);
	}
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
	t->released = h.lease;
	oracle_released(s, t->stream, h.lease);
	SIM_CHECK(s, core_on_release(s->core, sim_tells(s), t->stream, h.lease), "the lease is unknown");
}

static void seek(struct sim *s, struct trainer *t)
{
	struct oracle_stream *o = &s->streams[t->stream];
	const struct sim_group *g = &s->groups[t->group];
	struct core_seek to = {.serial = o->serial + 1, .batch = t->batch, .epoch = t->epoch,
			       .position = t->position, .bad = t->bad};
	struct reason why = {""};
	bool is_accepted;

	if (g->world == 1 && sim_odds(s, 3000))
		to.batch = (uint32_t)sim_below(s, s->world.feeds[g->feed].n_rows + 2);
	if (sim_odds(s, 6000)) {
		choose_place(s, g, &to.epoch, &to.position);
		to.bad = 0;
	}
	sim_fault(s, FAULT_trainer_seeks);
	is_accepted = core_on_seek(s->core, sim_tells(s), t->stream, &to, &why) == 0;
	judge_seek(s, t->stream, &to, is_accepted, &why);
	if (!is_accepted)
		return;
	while (t->n_inbox) /* sent ahead and not wanted: they are released one by one */
		t->hands[t->n_hands++] = t->inbox[--t->n_inbox];
	t->batch = to.batch;
	t->epoch = to.epoch;
	t->position = to.position;
	t->bad = to.bad;
	course_sought(s, t->stream, &to);
}

/* ---- floods ---- */

/* Leases that it does not have: none, any, one that it gave back, one of another trainer. */
static void flood_releases(struct sim *s, const struct trainer *t)
{
	const struct oracle_stream *other = &s->streams[sim_below(s, s->world.spec.n_streams)];

	sim_fault(s, FAULT_flood_releases);
	for (unsigned n = (unsigned)sim_between(s, 1, 20); n > 0; n--) {
		uint64_t lease = sim_odds(s, 2000) ? 0 : sim_odds(s, 5000) ? t->released : sim_random(s);

		if (other != &s->streams[t->stream] && other->is_used && other->n_leased && sim_odds(s, 3000))
			lease = other->leases[sim_below(s, other->n_leased)].lease;
		SIM_CHECK(s, !core_on_release(s->core, sim_tells(s), t->stream, lease), "a lease that is not its own");
		sim_settle(s);
	}
}

static void flood_seeks(struct sim *s, struct trainer *t)
{
	sim_fault(s, FAULT_flood_seeks);
	for (unsigned n = (unsigned)sim_between(s, 2, 10); n > 0 && oracle_is_live(&s->streams[t->stream]); n--) {
		seek(s, t);
		sim_settle(s);
	}
}

/* It comes and goes, with a goodbye or without, as fast as it can. */
static void flood_attaches(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];

	sim_fault(s, FAULT_flood_attaches);
	for (unsigned n = (unsigned)sim_between(s, 2, 6); n > 0; n--) {
		uint32_t stream = t->stream;
		uint64_t tag;

		if (stream == NOBODY) {
			attach(s, trainer);
			sim_settle(s);
			continue;
		}
		tag = s->streams[stream].tag;
		if (oracle_is_live(&s->streams[stream]) && sim_odds(s, 5000)) {
			goodbye(s, trainer);
			sim_settle(s);
		}
		trainer_hangup(s, stream, tag);
		sim_settle(s);
		trainer_exit(s, stream, tag);
		sim_settle(s);
	}
}

/* It was told that it gets nothing more. */
static void flood_failed(struct sim *s, const struct trainer *t)
{
	const struct core_seek to = {.serial = s->streams[t->stream].serial + 1, .epoch = t->epoch};
	struct reason why = {""};

	sim_fault(s, FAULT_failed_seeks);
	SIM_CHECK(s, core_on_seek(s->core, sim_tells(s), t->stream, &to, &why) == 0, "refused: %s", why.text);
	sim_settle(s);
}

static void flood(struct sim *s, uint32_t trainer)
{
	switch (sim_below(s, 3)) {
	case 0:
		flood_releases(s, &s->trainers[trainer]);
		break;
	case 1:
		flood_seeks(s, &s->trainers[trainer]);
		break;
	default:
		flood_attaches(s, trainer);
	}
}

static void act(struct sim *s, uint32_t trainer)
{
	struct trainer *t = &s->trainers[trainer];
	const struct odds *o = &s->world.odds;

	if (s->streams[t->stream].has_failed && !t->is_leaving && sim_odds(s, 2000)) {
		goodbye(s, trainer);
		return;
	}
	if (s->streams[t->stream].has_failed && sim_odds(s, 1000))
		flood_failed(s, t);
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
	else if (sim_odds(s, 20 + o->flood))
		flood(s, trainer);
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
		if (sim_odds(s, 500))
			intrude(s, trainer);
		attach(s, trainer);
		return;
	}
	if (sim_odds(s, s->world.odds.stall)) {
		bool is_for_good = sim_odds(s, 3000);

		sim_fault(s, is_for_good ? FAULT_trainer_stalls_for_good : FAULT_trainer_stalls);
		pause = is_for_good ? 1000000 * SECOND : sim_below(s, 5 * SECOND);
	} else if (t->n_inbox + t->n_hands == 0)
		pause *= 8; /* nothing to do until a batch comes */
	act(s, trainer);
	if (t->incarnation == tag)
		tick_again(s, trainer, pause);
}
