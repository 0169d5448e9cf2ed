/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Bad samples: which causes are real, and how many were bad at a position. After a disturbance a position may
 * have begun anew or not; what one cannot know is kept as a set, and what happens next leaves those that fit.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static struct blemish *find(const struct blemishes *b, struct point at, uint32_t course)
{
	for (unsigned i = 0; i < b->n; i++)
		if (point_compare(b->all[i].point, at) == 0 && b->all[i].course == course)
			return &b->all[i];
	return NULL;
}

static struct blemish *add(struct blemishes *b, struct point at, uint32_t course)
{
	if (b->n == b->n_room) {
		b->n_room = b->n_room * 2 + 64;
		b->all = realloc(b->all, b->n_room * sizeof(*b->all));
		if (!b->all)
			abort();
	}
	b->all[b->n] = (struct blemish){.point = at, .course = course};
	return &b->all[b->n++];
}

/* A row that goes along with others' begins where they are: with what they, or it before a disturbance, were told. */
static unsigned counts_of_others(const struct sim *s, const struct course *c, struct point at)
{
	const struct blemishes *b = &s->teams[world_base(s, c->feed)].blemishes;
	unsigned counts = 0;

	for (unsigned i = 0; i < b->n; i++)
		if (point_compare(b->all[i].point, at) == 0 &&
		    (b->all[i].course != (uint32_t)(c - s->courses) || b->all[i].stamp < c->n_disturbances))
			counts |= b->all[i].counts;
	return counts;
}

unsigned blemish_counts(const struct sim *s, const struct course *c, struct point at)
{
	const struct blemish *b = find(&c->blemishes, at, (uint32_t)(c - s->courses));
	unsigned own = b ? b->counts | (b->stamp < c->n_disturbances) : 1;

	return s->world.feeds[c->feed].window ? own | counts_of_others(s, c, at) : own;
}

void blemish_settle(struct sim *s, struct course *c, struct point at, unsigned counts)
{
	const uint32_t course = (uint32_t)(c - s->courses);
	struct blemish *b = find(&c->blemishes, at, course);

	if (!b && counts == 1)
		return;
	b = b ? b : add(&c->blemishes, at, course);
	b->counts = counts;
	b->stamp = c->n_disturbances;
	if (counts == 1)
		*b = c->blemishes.all[--c->blemishes.n];
}

/* The course was told; whoever rides along was not. */
static void tell_others(struct sim *s, const struct course *c, struct point at, unsigned counts)
{
	struct blemishes *all = &s->teams[world_base(s, c->feed)].blemishes;
	struct blemish *b;

	if (!s->world.feeds[c->feed].window)
		return;
	b = find(all, at, (uint32_t)(c - s->courses));
	b = b ? b : add(all, at, (uint32_t)(c - s->courses));
	b->counts |= counts;
	b->stamp = c->n_disturbances;
}

static void forget_before(struct blemishes *b, struct point least)
{
	for (unsigned i = b->n; i-- > 0;)
		if (point_compare(b->all[i].point, least) < 0)
			b->all[i] = b->all[--b->n];
}

void blemishes_forget(struct sim *s, struct course *c)
{
	struct point least;

	if (course_least(s, c, NOBODY, &least))
		forget_before(&c->blemishes, least);
	if (team_least(s, c->feed, &least))
		forget_before(&s->teams[world_base(s, c->feed)].blemishes, least);
}

void blemishes_bequeath(struct sim *s, uint32_t course)
{
	struct blemishes *b = &s->teams[world_base(s, s->courses[course].feed)].blemishes;

	for (unsigned i = 0; i < b->n; i++)
		if (b->all[i].course == course)
			b->all[i].course = NOBODY;
}

uint64_t expected_sample(const struct sim *s, uint32_t feed, struct point at, unsigned n)
{
	struct order order;
	uint64_t sample;

	if (order_init(&order, &s->world.feeds[feed].order, &s->world.more[feed].order_shards, at.epoch))
		abort();
	if (n == 0 || s->world.feeds[feed].policy == CORE_BAD_MASK)
		sample = order_sample(&order, at.position);
	else
		sample = order_substitute(&order, at.position, n);
	order_deinit(&order);
	return sample;
}

bool blemish_is_cause_real(const struct sim *s, uint32_t feed, uint64_t sample, enum cause cause)
{
	const struct world_feed *w = &s->world.more[feed];

	switch (cause) {
	case CAUSE_worker_died:
		return w->n_deaths[sample] >= 2 || packing_has(s, feed, sample, w->unit_deaths, 2);
	case CAUSE_overrun:
		return w->n_overruns[sample] >= 2 || packing_has(s, feed, sample, w->unit_overruns, 2);
	case CAUSE_read_error:
		return w->n_errors[sample] >= 3 || packing_has(s, feed, sample, w->unit_errors, 3);
	case CAUSE_read_late:
		return w->n_late[sample] >= 2 || packing_has(s, feed, sample, w->unit_late, 2);
	case CAUSE_damaged_unit:
		return packing_has(s, feed, sample, w->unit_damage, 2) && packing_is_certain(s, feed, sample);
	default:
		if (cause_is_doubtful(cause) && packing_is_plain(s, feed, sample) &&
		    (w->n_doubts[sample] < 2 || !w->is_certain[sample]))
			return false;
		return cause != CAUSE_none && (cause == world_cause(s, feed, sample) ||
					       (cause == CAUSE_damaged_image && packing_is_plain(s, feed, sample)));
	}
}

/* What a worker said, as it said it; of a frame that is bad also where it lies. Of what the index says there is nothing more. */
static bool is_detail_right(enum cause cause, const char *detail)
{
	const char frame[] = "the frame at offset ", known[] = " of the shard, as told before";
	size_t n = strlen(detail);

	if (cause == CAUSE_worker_died || blemish_is_transient(cause))
		return true;
	if (cause == CAUSE_missing_field || cause == CAUSE_repeated_extension)
		return n == 0;
	return strcmp(detail, SIM_DETAIL) == 0 ||
	       (cause == CAUSE_damaged_unit && n > strlen(known) && strncmp(detail, frame, strlen(frame)) == 0 &&
		strcmp(detail + n - strlen(known), known) == 0);
}

bool blemish_is_transient(enum cause cause)
{
	return cause == CAUSE_overrun || cause == CAUSE_read_error || cause == CAUSE_read_late;
}

void judge_bad(struct sim *s, const struct core_action *a)
{
	const struct oracle_stream *o = &s->streams[a->stream];
	const struct core_feed *feed = &s->world.feeds[o->feed];
	const struct point at = {a->bad.epoch, a->bad.position};
	struct course *c;
	unsigned counts, after = 0;

	SIM_CHECK(s, oracle_is_live(o) && a->bad.feed == o->feed, "a bad sample of nobody");
	SIM_CHECK(s, blemish_is_cause_real(s, o->feed, a->bad.sample, a->bad.cause), "sample %llu is not bad by %s",
		  (unsigned long long)a->bad.sample, cause_name(a->bad.cause));
	SIM_CHECK(s, is_detail_right(a->bad.cause, a->bad.detail), "%s, not what the worker said", a->bad.detail);
	if (blemish_is_transient(a->bad.cause))
		SIM_CHECK(s, feed->is_transient_bad, "a fault of the machine counts as a bad sample");
	c = &s->courses[o->course];
	counts = blemish_counts(s, c, at);
	if (feed->policy == CORE_BAD_MASK)
		counts &= 1; /* a masked row cannot be bad again */
	for (unsigned n = 0; n <= ORDER_ATTEMPTS; n++)
		if (counts & 1U << n && a->bad.sample == expected_sample(s, o->feed, at, n))
			after |= 2U << n;
	SIM_CHECK(s, after, "not the sample of that position, or one too many");
	blemish_settle(s, c, at, after);
	tell_others(s, c, at, after);
	s->n_told[world_base(s, o->feed)][a->bad.cause]++;
	s->n_bads++;
}
