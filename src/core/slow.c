/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * `slow: evict`: who shares a pass, has batches and does nothing with them while another one waits for slots or for
 * its company, for so long and without either of them having moved, is dropped.
 */
#include "core/state.h"

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Since when one waits for the other, or UINT64_MAX: it does not. */
static uint64_t waits_since(const struct core *c, const struct stream *other, const struct stream *slow)
{
	if (other->wait != CORE_WAIT_SLOTS || !is_live(other) || place_compare(slow->next, other->next) > 0 ||
	    c->feeds[other->feed].feed.base != c->feeds[slow->feed].feed.base)
		return UINT64_MAX;
	return most(slow->turn_ns, most(other->turn_ns, other->wait_ns));
}

/* Since when it has kept anyone waiting, or UINT64_MAX. */
static uint64_t blocks_since(const struct core *c, uint32_t stream)
{
	const struct stream *s = &c->streams[stream];
	uint64_t least = UINT64_MAX;

	if (!is_live(s) || !c->feeds[s->feed].feed.window || !c->feeds[s->feed].feed.evict_ns ||
	    s->wait != CORE_WAIT_TRAINER)
		return UINT64_MAX;
	for (uint32_t i = 0; i < c->n_streams; i++) {
		uint64_t since = waits_since(c, &c->streams[i], s);

		least = since < least ? since : least;
	}
	return least;
}

uint64_t slow_deadline(const struct core *c)
{
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < c->n_streams; i++) {
		uint64_t since = blocks_since(c, i);

		if (since != UINT64_MAX && since + c->feeds[c->streams[i].feed].feed.evict_ns < least)
			least = since + c->feeds[c->streams[i].feed].feed.evict_ns;
	}
	return least;
}

void slow_time(struct core *c)
{
	for (uint32_t i = 0; i < c->n_streams && actions_left(c) >= ACTIONS_SLACK; i++) {
		uint64_t since = blocks_since(c, i), allowed = c->feeds[c->streams[i].feed].feed.evict_ns;
		struct core_action what = {.kind = CORE_FAIL};

		if (since == UINT64_MAX || since + allowed > c->now_ns)
			continue;
		what.bad.failure = CORE_FAIL_EVICTED;
		what.bad.feed = c->streams[i].feed;
		what.bad.count = (c->now_ns - since) / 1000000;
		what.bad.allowed = allowed / 1000000;
		stream_fail(c, i, &what);
		tell_peers(c, &c->streams[i]);
	}
}
