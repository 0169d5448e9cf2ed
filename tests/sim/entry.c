/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who may come, who may seek, and whom they must or must not share batches with: by the boundaries of batches
 * that they and those already there have ahead of them.
 */
#include "sim.h"

enum { CATCH_UP = 256 }; /* batches that are made again for one that comes late */

enum verdict {
	APART,	   /* they want other batches */
	UP_TO_IT,  /* far behind, about: shared, refused or of its own */
	TOO_LATE,  /* so far behind that it is refused */
	OLDER,	   /* in an epoch before theirs, whose batches that are held still may have other boundaries: shared or not */
	TOGETHER,  /* the same batches: they share */
};

static uint64_t rows_asked(const struct sim *s, const struct sim_group *g, uint32_t batch)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];

	return batch ? batch : feed->batch_size ? feed->batch_size : feed->batch_global / g->world;
}

static bool is_apart(uint64_t a, uint64_t b, uint64_t all)
{
	return (a > b ? a - b : b - a) % all != 0;
}

/* Does somebody's way through the epochs have other boundaries than one that begins there? */
static bool is_crossing(const struct oracle_stream *o, struct point at, uint64_t all)
{
	if (at.epoch == o->epoch)
		return is_apart(at.position, o->pass.start, all);
	return is_apart(at.epoch < o->epoch ? o->pass.start : at.position, 0, all);
}

/* is_back: how far it is behind is not its choice. */
static enum verdict judge_behind(const struct sim *s, const struct course *c, struct point at, struct point least,
				 bool is_back)
{
	const uint32_t window = s->world.feeds[c->feed].window;
	const uint64_t most = window > CATCH_UP ? window : CATCH_UP;
	const uint64_t n = course_distance(s, c, at, least);

	if (is_back)
		return at.epoch < least.epoch ? OLDER : TOGETHER;
	if (at.epoch < least.epoch)
		return UP_TO_IT;
	if (!window || n <= most)
		return TOGETHER;
	return n > most + c->n_slots ? TOO_LATE : UP_TO_IT; /* the oldest may be held, and there still */
}

static enum verdict judge_course(const struct sim *s, const struct course *c, struct point at, uint32_t except,
				 bool is_back)
{
	struct point least;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (i != except && course_is_followed(s, c, &s->streams[i]) &&
		    is_crossing(&s->streams[i], at, c->batch * c->world))
			return APART;
	if (!course_least(s, c, except, &least) || point_compare(at, least) >= 0)
		return TOGETHER;
	return judge_behind(s, c, at, least, is_back);
}

/* ---- attach ---- */

bool entry_is_impossible(const struct sim *s, const struct sim_group *g)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];
	uint64_t all = feed->batch_size ? feed->batch_size * g->world : feed->batch_global;

	return all % g->world || all / g->world > feed->n_rows ||
	       (feed->last == LAST_DROP && feed->n_positions < all);
}

static bool has_member(const struct sim *s, uint32_t group)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (s->streams[i].is_used && s->streams[i].group == group)
			return true;
	return false;
}

bool entry_is_pool_rich(const struct sim *s, const struct sim_group *g)
{
	const struct core_feed *feed = &s->world.feeds[g->feed];
	uint32_t n_free = 0, claims = 0;

	for (uint32_t i = 0; i < feed->n_slots; i++)
		n_free += s->slots[g->feed][i].course == NOBODY && holders_of(s, g->feed, i).n == 0 &&
			  holders_writers(s, g->feed, i, UINT64_MAX) == 0;
	for (uint32_t i = 0; i < s->n_groups; i++) /* a claim for those who have not come yet */
		if (&s->groups[i] != g && s->groups[i].name[0] && s->groups[i].feed == g->feed && has_member(s, i))
			claims += s->groups[i].local_world * feed->slots_per_rank;
	return n_free >= claims + 2 * g->local_world;
}

/* One of the group that is there makes it impossible. */
static bool is_contradicted(const struct sim *s, const struct trainer *t, const struct core_attach *a)
{
	const struct sim_group *g = &s->groups[t->group];
	const uint64_t all = rows_asked(s, g, a->batch) * g->world;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];
		uint64_t theirs = o->pass.batch * o->pass.world;

		if (!oracle_is_member(s, o, t->group))
			continue;
		if (o->rank == t->rank && (!t->replica || o->replica == t->replica))
			return true;
		if (o->epoch == a->epoch && is_apart(o->pass.start, a->position, theirs))
			return true;
		if (o->rank == t->rank && !s->world.feeds[g->feed].window &&
		    (theirs != all || is_crossing(o, (struct point){a->epoch, a->position}, all)))
			return true; /* replicas that want other batches */
	}
	return false;
}

static bool is_company(const struct sim *s, uint32_t feed, uint32_t group)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (group == NOBODY ? oracle_is_live(&s->streams[i]) && world_base(s, s->streams[i].feed) == world_base(s, feed)
				    : oracle_is_member(s, &s->streams[i], group))
			return true;
	return false;
}

static bool is_alike(const struct sim *s, const struct course *c, const struct trainer *t, const struct core_attach *a)
{
	const struct sim_group *g = &s->groups[t->group];

	if (!c->is_used || c->feed != g->feed || c->world != g->world || c->rank != t->rank ||
	    c->batch != rows_asked(s, g, a->batch))
		return false;
	return s->world.feeds[g->feed].window || (t->replica && c->is_shared && c->group == t->group);
}

/* Where it starts without a token. */
static void judge_start(const struct sim *s, const struct trainer *t, const struct core_attach *a)
{
	const struct sim_group *g = &s->groups[t->group];
	const struct core_feed *feed = &s->world.feeds[g->feed];
	uint64_t furthest = 0, all = SIM_ROWS_MAX * 4;

	if (is_company(s, g->feed, t->group)) {
		SIM_CHECK(s, a->epoch == g->start.epoch && a->position == g->start.position, "not where its group is");
		return;
	}
	if (!feed->window || !is_company(s, g->feed, NOBODY)) {
		SIM_CHECK(s, a->epoch == 0 && a->position == 0, "not at the beginning");
		return;
	}
	SIM_CHECK(s, a->start == CORE_START_NOW || a->position == 0, "not at the beginning of an epoch");
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];
		const struct point at = oracle_point(o);

		if (oracle_is_live(o) && world_base(s, o->feed) == world_base(s, g->feed) && at.epoch * feed->n_positions + at.position > furthest)
			furthest = at.epoch * feed->n_positions + at.position;
	}
	furthest += (SIM_SLOTS_MAX + 1) * (all > feed->n_positions ? feed->n_positions : all) + feed->n_positions;
	SIM_CHECK(s, a->epoch * feed->n_positions + a->position <= furthest, "a start where nobody is yet");
}

/* Those who share the pass have to wait for it, whatever batches they want. */
static enum verdict judge_team(const struct sim *s, const struct course *c, struct point at, bool is_back)
{
	struct point least;

	if (!course_least(s, c, NOBODY, &least) || point_compare(at, least) >= 0)
		return APART;
	return judge_behind(s, c, at, least, is_back) == TOGETHER ? APART : judge_behind(s, c, at, least, is_back);
}

/* It shares what it must, and nothing else. */
static void judge_sharing(struct sim *s, const struct trainer *t, const struct core_attach *a, bool is_accepted,
			  uint32_t course, bool was_rich, const struct reason *why)
{
	const bool is_back = a->start == CORE_START_BACK;
	unsigned n[TOGETHER + 1] = {0}, n_team[TOGETHER + 1] = {0};
	bool is_right = course == NOBODY;

	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++) {
		enum verdict v;

		if (team_is_of(s, &s->courses[i], s->groups[t->group].feed))
			n_team[judge_team(s, &s->courses[i], (struct point){a->epoch, a->position}, is_back)]++;
		if (!is_alike(s, &s->courses[i], t, a))
			continue;
		v = judge_course(s, &s->courses[i], (struct point){a->epoch, a->position}, NOBODY, is_back);
		n[v]++;
		is_right = is_right || (i == course && (v == TOGETHER || v == OLDER || v == UP_TO_IT));
	}
	if (is_accepted) {
		SIM_CHECK(s, is_right, "it shares batches with others that want other ones");
		SIM_CHECK(s, course != NOBODY || (!n[TOGETHER] && !n[TOO_LATE]), "the same batches are made twice");
		SIM_CHECK(s, course != NOBODY || !n_team[TOO_LATE], "the others have to wait for too long");
	} else if (!n[TOO_LATE] && !n[UP_TO_IT] && !n_team[TOO_LATE] && !n_team[UP_TO_IT]) {
		SIM_CHECK(s, !n[TOGETHER] && !was_rich, "refused for no reason: %s", why->text);
		sim_fault(s, FAULT_plan_no_slots);
	}
}

void judge_attach(struct sim *s, uint32_t trainer, const struct core_attach *a, uint32_t stream, bool was_rich,
		  const struct reason *why)
{
	const struct trainer *t = &s->trainers[trainer];
	const bool is_accepted = stream != NOBODY;
	const struct sim_group *g = &s->groups[t->group];
	const bool is_guest = !a->has_place && s->world.feeds[g->feed].window && is_company(s, g->feed, NOBODY) &&
			      !is_company(s, g->feed, t->group);
	uint32_t n_used = 0, slot, course = NOBODY;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		n_used += s->streams[i].is_used;
	if (!is_accepted)
		SIM_CHECK(s, why->text[0] != 0, "refused without a word");
	if (entry_is_impossible(s, g))
		SIM_CHECK(s, !is_accepted, "an impossible world");
	else if (n_used == s->world.spec.n_streams) {
		SIM_CHECK(s, !is_accepted, "one session too many");
		sim_fault(s, FAULT_plan_no_session);
	} else if (is_guest && g->local_world < g->world)
		SIM_CHECK(s, !is_accepted, "a start that its ranks on other machines cannot know");
	else if (is_contradicted(s, t, a))
		SIM_CHECK(s, !is_accepted, "another of its group stands in the way");
	else {
		if (!a->has_place)
			judge_start(s, t, a);
		if (is_accepted && core_stream_slots(s->core, stream, &slot, 1))
			course = s->slots[g->feed][slot].course;
		judge_sharing(s, t, a, is_accepted, course, was_rich, why);
	}
}

/* ---- seek ---- */

void judge_seek(struct sim *s, uint32_t stream, const struct core_seek *to, bool is_accepted, const struct reason *why)
{
	const struct oracle_stream *o = &s->streams[stream];
	const struct sim_group *g = &s->groups[o->group];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	const struct course *c = &s->courses[o->course];
	const struct point at = {to->epoch, to->position};
	struct point least;
	enum verdict v;

	if (!is_accepted)
		SIM_CHECK(s, why->text[0] != 0, "refused without a word");
	if (to->batch > feed->n_rows || (feed->last == LAST_DROP && to->batch * g->world > feed->n_positions)) {
		SIM_CHECK(s, !is_accepted, "%u rows are taken", to->batch);
	} else if (!course_least(s, c, stream, &least)) {
		SIM_CHECK(s, is_accepted, "a place is refused: %s", why->text);
	} else if (rows_asked(s, g, to->batch) != c->batch) {
		SIM_CHECK(s, !is_accepted, "batches of others are made larger or smaller");
	} else {
		v = judge_course(s, c, at, stream, false);
		if (v == TOO_LATE && (point_compare(at, oracle_point(o)) >= 0 ||
				      judge_behind(s, c, at, oracle_point(o), false) != TOO_LATE))
			v = UP_TO_IT; /* it has kept them waiting where it is */
		SIM_CHECK(s, v == UP_TO_IT || is_accepted == (v == TOGETHER), "%s: %s",
			  is_accepted ? "a place that the others do not come to" : "refused for no reason", why->text);
	}
}
