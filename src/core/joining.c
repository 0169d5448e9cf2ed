/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Joining: a trainer may follow a track that is there already when the batches are the same: those of its own
 * group's rank (replicas), or, where the feed is shared, of any group's with as many ranks, as many rows and the
 * same boundaries. A place behind the track makes the track start again there, within bounds: the others wait
 * meanwhile. Without bounds for who was at that place when an earlier daemon ended, and was busy while the others,
 * who came back at once, went on without it.
 */
#include "core/state.h"

enum { CATCH_UP_MAX = 256 }; /* batches that are made again for one that comes late */

static uint64_t batch_all(const struct track *t)
{
	return (uint64_t)t->batch * t->world;
}

static bool is_multiple(const struct track *t, uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) % batch_all(t) == 0;
}

/* Does a batch of the track begin there, once it comes there? */
static bool is_aligned(const struct core *c, const struct track *t, struct place at)
{
	struct place oldest = track_oldest(c, t);

	if (at.epoch == oldest.epoch)
		return is_multiple(t, at.position, oldest.position);
	if (at.epoch == t->open.epoch)
		return is_multiple(t, at.position, t->open.pass.start);
	if (at.epoch < oldest.epoch) /* then the epochs from there on begin at 0 */
		for (uint32_t i = t->first_follower; i != NONE; i = c->streams[i].next_follower)
			if (!is_multiple(t, c->streams[i].next.position, 0))
				return false;
	return at.epoch < oldest.epoch || is_multiple(t, at.position, 0);
}

/* How many batches of the track lie between the place and the oldest that is there still. */
static uint64_t batches_behind(const struct core *c, const struct track *t, struct place at)
{
	struct place oldest = track_oldest(c, t);
	struct pass pass = t->open.pass;
	uint64_t n;

	if (place_compare(at, oldest) >= 0)
		return 0;
	if (at.epoch == oldest.epoch)
		return (oldest.position - at.position) / batch_all(t);
	if (oldest.epoch - at.epoch > CATCH_UP_MAX)
		return UINT64_MAX;
	pass.start = 0;
	n = (oldest.epoch - at.epoch - 1) * pass_n_batches(&pass);
	pass.start = at.position;
	return n + pass_n_batches(&pass) + oldest.position / batch_all(t);
}

static int refuse_behind(const struct core *c, const struct track *t, struct place at, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[t->feed].feed;
	uint64_t n = batches_behind(c, t, at), most = feed->window > CATCH_UP_MAX ? feed->window : CATCH_UP_MAX;
	struct place oldest = track_oldest(c, t);

	if (!feed->window || n <= most) /* replicas wait for each other anyway */
		return 0;
	reason_set(why, "epoch %llu position %llu is more than %llu batches behind epoch %llu position %llu, where the "
		   "groups are that share feed %s: start with them (start: now or next_epoch, no state), or use a "
		   "feed with share: independent", (unsigned long long)at.epoch, (unsigned long long)at.position,
		   (unsigned long long)most, (unsigned long long)oldest.epoch,
		   (unsigned long long)oldest.position, feed->name);
	return CORE_E_REFUSED;
}

static int find_replicas(const struct core *c, const struct core_attach *a, uint32_t group, uint32_t *ret,
			 struct reason *why)
{
	const uint32_t rows = batch_rows(&c->feeds[a->feed].feed, a->batch, a->world);

	for (uint32_t i = 0; a->replica && i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];

		if (!t->is_used || t->group != group || t->rank != a->rank)
			continue;
		*ret = i;
		if (t->batch == rows && is_aligned(c, t, (struct place){a->epoch, a->position}))
			return 0;
		reason_set(why, "the other replicas of rank %u of group %s have batches of %u from position %llu on, "
			   "this one wants %u from position %llu on: give all replicas the same token and size",
			   a->rank, c->groups[group].name, t->batch,
			   (unsigned long long)track_oldest(c, t).position, rows, (unsigned long long)a->position);
		return CORE_E_REFUSED;
	}
	return 0;
}

static int refuse_late(const struct core *c, const struct core_attach *a, const struct track *t, struct reason *why)
{
	return a->start == CORE_START_BACK ? 0 : refuse_behind(c, t, (struct place){a->epoch, a->position}, why);
}

int join_find(struct core *c, const struct core_attach *a, uint32_t group, uint32_t *ret, struct reason *why)
{
	const struct core_feed *feed = &c->feeds[a->feed].feed;
	const struct place at = {a->epoch, a->position};

	*ret = NONE;
	if (!feed->window)
		return find_replicas(c, a, group, ret, why);
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];

		if (!t->is_used || t->feed != a->feed || t->world != a->world || t->rank != a->rank ||
		    t->batch != batch_rows(feed, a->batch, a->world) || !is_aligned(c, t, at))
			continue;
		*ret = i;
		return refuse_late(c, a, t, why);
	}
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];

		/* A track of its own: the others wait for it all the same. */
		if (t->is_used && c->feeds[t->feed].feed.base == feed->base && refuse_late(c, a, t, why))
			return CORE_E_REFUSED;
	}
	return 0;
}

static bool has_live(const struct core *c, uint32_t group)
{
	for (uint32_t i = 0; i < c->spec.n_streams; i++)
		if (is_live(&c->streams[i]) && c->streams[i].group == group)
			return true;
	return false;
}

/* The furthest of the places at which the tracks of the pass can still be joined. Who comes with batches of another
 * kind starts there, too, though what is there was not made for it: trainers that are started together begin together. */
static bool find_present(const struct core *c, uint32_t feed, struct place *ret)
{
	bool is_found = false;

	*ret = (struct place){0};
	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct track *t = &c->tracks[i];
		struct place at;

		if (!t->is_used || c->feeds[t->feed].feed.base != c->feeds[feed].feed.base)
			continue;
		at = track_oldest(c, t);
		if (!is_found || place_compare(at, *ret) > 0)
			*ret = at;
		is_found = true;
	}
	return is_found;
}

int join_start(struct core *c, struct core_attach *a, uint32_t group, struct reason *why)
{
	struct place at = {a->epoch, a->position};

	if (!a->has_place)
		a->bad = 0;
	if (!a->has_place && has_live(c, group)) {
		at = c->groups[group].start;
	} else if (!a->has_place && (!c->feeds[a->feed].feed.window || !find_present(c, a->feed, &at))) {
		at = (struct place){0};
	} else if (!a->has_place) {
		if (a->local_world < a->world) {
			reason_set(why, "group %s has ranks on other machines, and feed %s is at epoch %llu position %llu "
				   "here: only with one token (state) for all ranks do they start at the same place",
				   a->group, c->feeds[a->feed].feed.name, (unsigned long long)at.epoch,
				   (unsigned long long)at.position);
			return CORE_E_REFUSED;
		}
		if (a->start == CORE_START_NEXT_EPOCH && at.position > 0)
			at = (struct place){at.epoch + 1, 0};
	}
	if (!has_live(c, group))
		c->groups[group].start = at;
	a->epoch = at.epoch;
	a->position = at.position;
	return 0;
}

int join_seek(const struct core *c, uint32_t stream, struct place to, uint32_t batch, struct reason *why)
{
	const struct stream *s = &c->streams[stream];
	const struct track *t = &c->tracks[s->track];
	const char *feed = c->feeds[s->feed].feed.name;

	if (t->first_follower == stream && s->next_follower == NONE)
		return 0;
	if (batch != t->batch) {
		reason_set(why, "others get the same batches of feed %s as rank %u: they stay at %u rows while they are "
			   "shared", feed, s->rank, t->batch);
		return CORE_E_REFUSED;
	}
	if (!is_aligned(c, t, to)) {
		reason_set(why, "position %llu is no boundary of the batches of %llu that feed %s shares among its "
			   "groups", (unsigned long long)to.position, (unsigned long long)batch_all(t), feed);
		return CORE_E_REFUSED;
	}
	return refuse_behind(c, t, to, why);
}
