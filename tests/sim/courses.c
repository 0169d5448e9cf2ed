/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Courses: who follows which, how far its followers are apart, and what may have upset it. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { EPOCHS_COUNTED = 10000 };

int point_compare(struct point a, struct point b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return a.position < b.position ? -1 : a.position > b.position;
}

bool course_is_followed(const struct sim *s, const struct course *c, const struct oracle_stream *o)
{
	return oracle_is_live(o) && o->course == (uint32_t)(c - s->courses);
}

static bool outermost(const struct sim *s, const struct course *c, uint32_t except, int sign, struct point *ret)
{
	bool is_found = false;

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		struct point at;

		if (i == except || !course_is_followed(s, c, &s->streams[i]))
			continue;
		at = oracle_point(&s->streams[i]);
		if (!is_found || sign * point_compare(at, *ret) > 0)
			*ret = at;
		is_found = true;
	}
	return is_found;
}

bool course_least(const struct sim *s, const struct course *c, uint32_t except, struct point *ret)
{
	return outermost(s, c, except, -1, ret);
}

bool course_most(const struct sim *s, const struct course *c, uint32_t except, struct point *ret)
{
	return outermost(s, c, except, 1, ret);
}

uint64_t course_distance(const struct sim *s, const struct course *c, struct point from, struct point to)
{
	const struct core_feed *feed = &s->world.feeds[c->feed];
	struct pass pass = {.n_samples = feed->n_positions, .world = c->world, .batch = c->batch, .last = feed->last};
	uint64_t n = 0;

	if (to.epoch > from.epoch + EPOCHS_COUNTED)
		return UINT64_MAX;
	for (; from.epoch < to.epoch; from = (struct point){from.epoch + 1, 0}) {
		pass.start = from.position;
		n += pass_n_batches(&pass);
	}
	return to.position > from.position ? n + (to.position - from.position) / (c->batch * c->world) : n;
}

struct oracle_slot *course_find(struct sim *s, const struct course *c, struct point at, const struct oracle_slot *after)
{
	bool is_behind = after == NULL;

	for (uint32_t i = 0; i < c->n_slots; i++) {
		struct oracle_slot *slot = &s->slots[c->feed][c->slots[i]];

		if (is_behind && slot->has_batch && slot->batch == c->batch && point_compare(slot->point, at) == 0)
			return slot;
		is_behind = is_behind || slot == after;
	}
	return NULL;
}

void course_disturb(struct sim *s, struct course *c)
{
	team_upset(s, c);
	c->n_disturbances++;
	s->is_disturbed[world_base(s, c->feed)] = true;
}

/* ---- coming and going ---- */

static uint32_t make(struct sim *s, const struct oracle_stream *o, const struct core_attach *a)
{
	uint32_t i = 0;
	struct course *c;

	while (s->courses[i].is_used)
		i++;
	c = &s->courses[i];
	c->feed = o->feed;
	if (!team_is_company(s, c))
		team_begin(s, c->feed);
	c->is_used = true;
	c->is_shared = s->world.feeds[o->feed].window || a->replica;
	c->has_jumped = false;
	c->group = o->group;
	c->world = a->world;
	c->rank = a->rank;
	c->n_slots = o->n_slots;
	c->batch = o->pass.batch;
	c->n_disturbances = c->blemishes.n = 0;
	memcpy(c->slots, o->slots, sizeof(c->slots));
	for (uint32_t k = 0; k < c->n_slots; k++) {
		struct oracle_slot *slot = &s->slots[c->feed][c->slots[k]];

		SIM_CHECK(s, slot->course == NOBODY, "a slot of two tracks");
		SIM_CHECK(s, holders_writers(s, c->feed, c->slots[k], UINT64_MAX) == 0,
			  "a slot changes hands while a worker writes it");
		SIM_CHECK(s, holders_of(s, c->feed, c->slots[k]).n == 0,
			  "a slot changes hands while a trainer may read it");
		slot->course = i;
		slot->has_batch = false;
	}
	return i;
}

/* Who comes without a token needs nothing that is not there still. */
static void check_present(struct sim *s, const struct course *c, struct point at, struct point least)
{
	struct pass pass = {.n_samples = s->world.feeds[c->feed].n_positions, .world = c->world, .batch = c->batch,
			    .last = s->world.feeds[c->feed].last};

	for (unsigned i = 0; point_compare(at, least) < 0; i++) {
		pass.start = at.position;
		SIM_CHECK(s, i < c->n_slots && (course_find(s, c, at, NULL) || pass_batch_length(&pass, 0, c->rank) == 0),
			  "a start that makes others wait");
		pass_after(&pass, at.epoch, 0, &at.epoch, &at.position);
	}
}

/* Nor does it miss what is held, and there still. */
static void check_oldest(struct sim *s, const struct course *c, struct point at, struct point least)
{
	const uint64_t all = c->batch * c->world;
	const struct oracle_slot *slot = NULL;
	struct point before = {least.epoch, least.position - all};

	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++)
		if (s->courses[i].is_used && &s->courses[i] != c &&
		    world_base(s, s->courses[i].feed) == world_base(s, c->feed))
			return; /* what is there of another is not there of this one, maybe */
	while (least.position >= all && (slot = course_find(s, c, before, slot)))
		SIM_CHECK(s, slot->stamp < c->n_disturbances || point_compare(at, before) <= 0 ||
			  holders_of(s, c->feed, (uint32_t)(slot - s->slots[c->feed])).n == 0,
			  "it could have started earlier");
}

static bool has_company(const struct sim *s, uint32_t stream)
{
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++)
		if (i != stream && oracle_is_member(s, &s->streams[i], s->streams[stream].group))
			return true;
	return false;
}

static void follow(struct sim *s, uint32_t stream, struct course *c, const struct core_attach *a)
{
	struct oracle_stream *o = &s->streams[stream];
	struct point at = oracle_point(o), least = at, most = at;

	SIM_CHECK(s, c->n_slots == o->n_slots && memcmp(c->slots, o->slots, c->n_slots * sizeof(c->slots[0])) == 0,
		  "some of a track's slots");
	SIM_CHECK(s, c->is_shared && c->feed == a->feed && c->world == a->world && c->rank == a->rank &&
		  c->batch == o->pass.batch, "a track of other batches");
	course_least(s, c, stream, &least);
	course_most(s, c, stream, &most);
	c->has_jumped = c->has_jumped || point_compare(at, most) > 0;
	if (!a->has_place && !has_company(s, stream)) {
		check_present(s, c, at, least);
		if (a->start == CORE_START_NOW)
			check_oldest(s, c, at, least);
	} else if (point_compare(at, least) < 0) {
		course_disturb(s, c);
	}
	s->n_shared++;
}

void course_join(struct sim *s, uint32_t stream, const struct core_attach *a)
{
	struct oracle_stream *o = &s->streams[stream];
	uint32_t course = s->slots[o->feed][o->slots[0]].course;

	o->course = NOBODY;
	if (course == NOBODY)
		course = make(s, o, a);
	else
		follow(s, stream, &s->courses[course], a);
	o->course = course;
	team_upset(s, &s->courses[course]);
	o->is_shared = s->courses[course].is_shared;
	if (!has_company(s, stream))
		s->groups[o->group].start = (struct point){a->epoch, a->position};
}

static void end(struct sim *s, struct course *c)
{
	for (uint32_t i = 0; i < c->n_slots; i++)
		s->slots[c->feed][c->slots[i]].course = NOBODY;
	c->is_used = false;
	blemishes_bequeath(s, (uint32_t)(c - s->courses));
	s->is_disturbed[world_base(s, c->feed)] = true;
}

void course_leave(struct sim *s, uint32_t stream)
{
	struct oracle_stream *o = &s->streams[stream];
	struct course *c;
	struct point least;

	if (o->course == NOBODY)
		return;
	c = &s->courses[o->course];
	team_upset(s, c);
	if (!course_least(s, c, stream, &least))
		end(s, c);
	else if (point_compare(oracle_point(o), least) < 0)
		course_disturb(s, c);
	o->course = NOBODY;
}

void course_sought(struct sim *s, uint32_t stream, const struct core_seek *to)
{
	struct oracle_stream *o = &s->streams[stream];
	struct course *c = &s->courses[o->course];
	struct point before = oracle_point(o), after, least, most;

	team_upset(s, c);
	oracle_start(s, stream, to->batch, to->epoch, to->position, to->bad);
	o->serial = to->serial;
	after = oracle_point(o);
	if (!course_least(s, c, stream, &least)) {
		c->batch = o->pass.batch;
		course_disturb(s, c);
		return;
	}
	course_most(s, c, stream, &most);
	c->has_jumped = c->has_jumped || point_compare(after, most) > 0;
	if (point_compare(before, least) < 0 || point_compare(after, least) < 0)
		course_disturb(s, c);
}
