/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Bad samples: which causes are real, and how many were bad at a position. After a disturbance a position may
 * have begun anew or not; what one cannot know is kept as a set, and what happens next leaves those that fit.
 */
#include "sim.h"

#include <stdlib.h>

static struct blemish *find(const struct course *c, struct point at)
{
	for (unsigned i = 0; i < c->n_blemishes; i++)
		if (point_compare(c->blemishes[i].point, at) == 0)
			return &c->blemishes[i];
	return NULL;
}

static struct blemish *add(struct course *c, struct point at)
{
	if (c->n_blemishes == c->n_blemishes_room) {
		c->n_blemishes_room = c->n_blemishes_room * 2 + 64;
		c->blemishes = realloc(c->blemishes, c->n_blemishes_room * sizeof(*c->blemishes));
		if (!c->blemishes)
			abort();
	}
	c->blemishes[c->n_blemishes] = (struct blemish){.point = at, .counts = 1, .stamp = c->n_disturbances};
	return &c->blemishes[c->n_blemishes++];
}

unsigned blemish_counts(const struct course *c, struct point at)
{
	const struct blemish *b = find(c, at);

	return b ? b->counts | (b->stamp < c->n_disturbances) : 1;
}

void blemish_settle(struct course *c, struct point at, unsigned counts)
{
	struct blemish *b = find(c, at);

	if (!b && counts == 1)
		return;
	b = b ? b : add(c, at);
	b->counts = counts;
	b->stamp = c->n_disturbances;
	if (counts == 1)
		*b = c->blemishes[--c->n_blemishes];
}

void blemishes_forget(struct sim *s, struct course *c)
{
	struct point least;

	if (!course_least(s, c, NOBODY, &least))
		return;
	for (unsigned i = c->n_blemishes; i-- > 0;)
		if (point_compare(c->blemishes[i].point, least) < 0)
			c->blemishes[i] = c->blemishes[--c->n_blemishes];
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
		return packing_has(s, feed, sample, w->unit_damage, 2);
	default:
		return cause != CAUSE_none && cause == world_cause(s, feed, sample);
	}
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
	if (blemish_is_transient(a->bad.cause))
		SIM_CHECK(s, feed->is_transient_bad, "a fault of the machine counts as a bad sample");
	c = &s->courses[o->course];
	counts = blemish_counts(c, at);
	if (feed->policy == CORE_BAD_MASK)
		counts &= 1; /* a masked row cannot be bad again */
	for (unsigned n = 0; n <= ORDER_ATTEMPTS; n++)
		if (counts & 1U << n && a->bad.sample == expected_sample(s, o->feed, at, n))
			after |= 2U << n;
	SIM_CHECK(s, after, "not the sample of that position, or one too many");
	blemish_settle(c, at, after);
	s->n_bads++;
}
