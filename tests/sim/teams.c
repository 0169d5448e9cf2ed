/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Courses that share a pass, but not their batches: a position is made once for all of them. Only who comes, or
 * begins anew, may need once more what was about to be made by then: what lies before the end of all batches that the
 * others may have begun.
 */
#include "sim.h"

bool team_is_of(const struct sim *s, const struct course *c, uint32_t feed)
{
	return c->is_used && s->world.feeds[feed].window && world_base(s, c->feed) == world_base(s, feed);
}

bool team_has(const struct sim *s, const struct oracle_stream *o, const struct oracle_stream *other)
{
	if (!oracle_is_live(o) || !oracle_is_live(other))
		return false;
	return other->course == o->course || team_is_of(s, &s->courses[other->course], o->feed);
}

bool team_is_company(const struct sim *s, const struct course *c)
{
	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++)
		if (&s->courses[i] != c && team_is_of(s, &s->courses[i], c->feed))
			return true;
	return false;
}

bool team_least(const struct sim *s, uint32_t feed, struct point *ret)
{
	bool is_found = false;

	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++) {
		struct point at;

		if (!team_is_of(s, &s->courses[i], feed) || !course_least(s, &s->courses[i], NOBODY, &at))
			continue;
		if (!is_found || point_compare(at, *ret) < 0)
			*ret = at;
		is_found = true;
	}
	return is_found;
}

/* ---- going on ---- */

/* One of those who are last wants its next batch, and a slot for it is there. */
static bool course_moves(const struct sim *s, const struct course *c)
{
	uint32_t n_held = 0;
	struct point least;

	for (uint32_t i = 0; i < c->n_slots; i++)
		n_held += holders_of(s, c->feed, c->slots[i]).n > 0;
	if (n_held == c->n_slots || !course_least(s, c, NOBODY, &least))
		return false;
	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];

		if (course_is_followed(s, c, o) && o->n_leased < o->credit &&
		    point_compare(oracle_point(o), least) == 0)
			return true;
	}
	return false;
}

bool team_moves(const struct sim *s, const struct oracle_stream *o)
{
	if (!course_moves(s, &s->courses[o->course]))
		return false;
	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++)
		if (team_is_of(s, &s->courses[i], o->feed) && !course_moves(s, &s->courses[i]))
			return false;
	return true;
}

/* ---- once ---- */

/* Where the last of its slots ends at most. */
static bool end_of(const struct sim *s, const struct course *c, struct point *ret)
{
	const struct core_feed *feed = &s->world.feeds[c->feed];
	struct pass pass = {.n_samples = feed->n_positions, .world = c->world, .batch = c->batch, .last = feed->last};

	if (!course_least(s, c, NOBODY, ret))
		return false;
	for (uint32_t i = 0; i < c->n_slots; i++) {
		pass.start = ret->position;
		pass_after(&pass, ret->epoch, 0, &ret->epoch, &ret->position);
	}
	return true;
}

void team_upset(struct sim *s, const struct course *c)
{
	struct team *t = &s->teams[world_base(s, c->feed)];

	s->busy_ns = s->now; /* who waits for what may be another from now on */
	for (uint32_t i = 0; i < SIM_STREAMS_MAX; i++) {
		struct point at;

		if (team_is_of(s, &s->courses[i], c->feed) && end_of(s, &s->courses[i], &at) &&
		    point_compare(at, t->excused) > 0)
			t->excused = at;
	}
}

void team_begin(struct sim *s, uint32_t feed)
{
	struct team *t = &s->teams[world_base(s, feed)];

	t->excused = (struct point){0};
	t->blemishes.n = 0;
	for (unsigned i = 0; i < SIM_MADE_MAX; i++)
		t->made[i].epoch = NO_EPOCH;
}

void team_made(struct sim *s, uint32_t feed, struct point at)
{
	struct team *t = &s->teams[world_base(s, feed)];
	struct point *made = &t->made[(at.position + at.epoch * 977) & (SIM_MADE_MAX - 1)];

	if (!s->world.feeds[feed].window)
		return;
	SIM_CHECK(s, point_compare(at, t->excused) < 0 || point_compare(*made, at) != 0,
		  "position %llu of epoch %llu is made twice", (unsigned long long)at.position,
		  (unsigned long long)at.epoch);
	*made = at;
}
