/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Units of compressed shards in memory: found again while they are there, kept when nobody uses them until
 * their room is wanted, the one longest unused first.
 *
 * Each feed has a zone of its own. That a job with a slot always gets its units, whatever is in the zone: first
 * the units that nobody uses give way, then the samples read ahead give theirs back; if it still does not
 * fit, the feed gives no units to anybody else, so that the zone empties (what is in it is on its
 * way to a worker and needs nothing more), and an empty zone holds the units of any sample.
 */
#include "core/state.h"

#include <assert.h>
#include <stdio.h>

/* Up to this size units are packed as they come; larger ones, whole shards mostly, all take as much room. */
#define LARGE_UNIT (UINT64_C(4) << 20)

static uint64_t page_up(uint64_t n)
{
	return (n + CORE_PAGE - 1) / CORE_PAGE * CORE_PAGE;
}

uint64_t core_unit_bytes(const struct samples *samples, uint64_t n_raw)
{
	return page_up(samples->largest_unit > LARGE_UNIT ? samples->largest_unit : n_raw);
}

uint64_t core_inflated_least(const struct samples *samples)
{
	return samples->most_units * page_up(samples->largest_unit);
}

/* ---- the feed's units by last use ---- */

static void unlink_unit(struct core *c, uint32_t request)
{
	struct request *r = &c->requests[request];
	struct feed_state *f = &c->feeds[r->feed];

	if (r->newer == NONE)
		f->newest = r->older;
	else
		c->requests[r->newer].older = r->older;
	if (r->older == NONE)
		f->oldest = r->newer;
	else
		c->requests[r->older].newer = r->newer;
}

static void link_newest(struct core *c, uint32_t request)
{
	struct request *r = &c->requests[request];
	struct feed_state *f = &c->feeds[r->feed];

	r->newer = NONE;
	r->older = f->newest;
	if (f->newest == NONE)
		f->oldest = request;
	else
		c->requests[f->newest].newer = request;
	f->newest = request;
}

void unit_drop(struct core *c, uint32_t request, uint32_t instead)
{
	struct request *r = &c->requests[request];

	unlink_unit(c, request);
	c->feeds[r->feed].unit_requests[r->unit] = instead;
}

/* ---- giving way ---- */

static bool is_idle(const struct request *r)
{
	return r->n_users == 0 && r->state == REQUEST_LANDED;
}

static void evict(struct core *c, uint32_t request)
{
	unit_drop(c, request, NONE);
	request_free(c, request);
}

static bool evict_idle(struct core *c, uint32_t feed)
{
	for (uint32_t i = c->feeds[feed].oldest; i != NONE; i = c->requests[i].newer)
		if (is_idle(&c->requests[i])) {
			evict(c, i);
			return true;
		}
	return false;
}

bool units_evict(struct core *c)
{
	for (uint32_t f = 0; f < c->spec.n_feeds; f++)
		if (evict_idle(c, f))
			return true;
	return false;
}

/* All its users are samples read ahead. */
static bool is_ahead_only(const struct core *c, const struct request *r)
{
	for (uint32_t x = r->first_extent; x != NONE; x = c->extents[x].next)
		if (c->jobs[x / c->n_fields].is_due)
			return false;
	return r->n_users > 0;
}

/* Samples read ahead give one unit back, the one last used: false when they have none to give. */
static bool evict_ahead(struct core *c, uint32_t feed)
{
	for (uint32_t i = c->feeds[feed].newest, older; i != NONE; i = older) {
		struct request *r = &c->requests[i];

		older = r->older;
		if (r->state == REQUEST_FILLING || !is_ahead_only(c, r))
			continue; /* a filling one is let go of when it has landed */
		while (r->n_users > 0)
			job_unread(c, r->first_extent / c->n_fields);
		if (r->state == REQUEST_LANDED) /* a wanted one is gone already */
			evict(c, i);
		return true;
	}
	return false;
}

void unit_idle(struct core *c, uint32_t request)
{
	if (c->requests[request].state != REQUEST_WANTED)
		return; /* kept, or filling still, or about to be told of */
	request_remove(c, &c->wanted, request);
	evict(c, request);
}

/* ---- getting one ---- */

static uint32_t get_room(struct core *c, uint32_t feed, uint32_t n_pages, bool is_due)
{
	struct pages *zone = &c->feeds[feed].inflated;
	uint32_t page;

	while ((page = pages_get(zone, n_pages)) == PAGES_NONE)
		if (!evict_idle(c, feed) && (!is_due || !evict_ahead(c, feed)))
			return PAGES_NONE;
	return page;
}

static uint32_t make_unit(struct core *c, uint32_t feed, uint32_t shard, uint32_t unit, bool is_due)
{
	struct feed_state *f = &c->feeds[feed];
	const struct samples *samples = f->feed.samples;
	uint32_t n_pages = (uint32_t)(core_unit_bytes(samples, samples->units[unit].n_raw) / CORE_PAGE);
	uint32_t page = get_room(c, feed, n_pages, is_due), request;
	struct request *r;

	if (page == PAGES_NONE)
		return NONE;
	request = request_get(c, is_due);
	if (request == NONE) {
		pages_put(&f->inflated, page, n_pages);
		return NONE;
	}
	r = &c->requests[request];
	r->feed = feed;
	r->shard = shard;
	r->unit = unit;
	r->page = page;
	r->n_pages = n_pages;
	r->state = REQUEST_WANTED;
	f->unit_requests[unit] = request;
	link_newest(c, request);
	request_push(c, &c->wanted, request);
	return request;
}

static void tell_known(struct core *c, uint32_t job, uint32_t feed, uint32_t unit, uint32_t known)
{
	char detail[TASK_DETAIL_MAX];

	snprintf(detail, sizeof(detail), "the frame at offset %llu of the shard, as told before",
		 (unsigned long long)c->feeds[feed].feed.samples->units[unit].offset);
	job_bad(c, job, known == UNIT_DEADLY ? CAUSE_worker_died : CAUSE_damaged_unit, detail);
}

enum got { GOT_IT, GOT_NO_ROOM, GOT_BAD };

/* The unit in which the extent lies, in memory or on its way there. */
static enum got attach_extent(struct core *c, uint32_t job, unsigned field, uint32_t shard)
{
	struct job *j = &c->jobs[job];
	uint32_t feed = j->feed, at = job * c->n_fields + field, unit, request;
	const struct samples *samples = c->feeds[feed].feed.samples;
	const struct sample_place *place = samples_place(samples, j->sample, field);
	uint64_t start = (uint64_t)place->header_block * 512;
	uint64_t end = start + samples->shards[shard].header_bytes + place->size;

	if (end > samples->shards[shard].raw_size)
		end = samples->shards[shard].raw_size;
	unit = samples_unit(samples, shard, start, end);
	assert(unit != UINT32_MAX);
	request = c->feeds[feed].unit_requests[unit];
	if (request == UNIT_DAMAGED || request == UNIT_DEADLY) {
		tell_known(c, job, feed, unit, request);
		return GOT_BAD;
	}
	if (request == NONE)
		request = make_unit(c, feed, shard, unit, j->is_due);
	if (request == NONE)
		return GOT_NO_ROOM;
	c->extents[at] = (struct extent){.size = place->size, .n_bytes = (uint32_t)(end - start),
					 .at = start - samples->units[unit].raw_offset};
	request_attach(c, request, at);
	unlink_unit(c, request);
	link_newest(c, request);
	j->n_pending += c->requests[request].state != REQUEST_LANDED;
	return GOT_IT;
}

static void book(struct core *c, uint32_t job, unsigned n_fields)
{
	struct job *j = &c->jobs[job];
	uint64_t n = 0;

	for (unsigned f = 0; f < n_fields; f++)
		n += c->extents[job * c->n_fields + f].n_bytes;
	c->totals.sample_bytes += n;
	if (!j->is_due) {
		j->bytes = n;
		c->tracks[j->track].ahead_bytes += n;
	}
	j->state = JOB_READING;
	if (j->n_pending == 0)
		job_staged(c, job);
}

bool units_attach(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	struct feed_state *f = &c->feeds[j->feed];
	unsigned n_fields = f->feed.samples->n_fields;
	uint64_t in_shard;
	uint32_t shard = order_shard_of(&f->shards, j->sample, &in_shard);

	if (f->unit_starved != NONE && f->unit_starved != job)
		return false;
	f->unit_starved = NONE;
	j->n_pending = 0;
	for (unsigned k = 0; k < n_fields; k++) {
		switch (attach_extent(c, job, k, shard)) {
		case GOT_IT:
			break;
		case GOT_BAD:
			return true;
		case GOT_NO_ROOM:
			job_drop_extents(c, job);
			if (j->is_due)
				f->unit_starved = job;
			return false;
		}
	}
	book(c, job, n_fields);
	return true;
}

void units_feed_starved(struct core *c)
{
	for (uint32_t i = 0; i < c->spec.n_feeds; i++) {
		uint32_t job = c->feeds[i].unit_starved;
		struct track *t;

		if (job == NONE || actions_left(c) < ACTIONS_SLACK)
			continue;
		t = &c->tracks[c->jobs[job].track];
		job_remove(c, &t->unread, job);
		while (evict_idle(c, i) || evict_ahead(c, i))
			; /* also what it would take itself, for that may lie in the way of the rest */
		if (!units_attach(c, job))
			job_push_front(c, &t->unread, job);
		else
			c->is_dirty = true; /* whoever stood behind it is looked at again */
	}
}

void unit_landed(struct core *c, uint32_t request)
{
	struct request *r = &c->requests[request];

	r->state = REQUEST_LANDED;
	r->fill = NONE;
	c->totals.n_units++;
	c->totals.inflated_bytes += c->feeds[r->feed].feed.samples->units[r->unit].n_raw;
	for (uint32_t x = r->first_extent; x != NONE; x = c->extents[x].next)
		if (--c->jobs[x / c->n_fields].n_pending == 0)
			job_staged(c, x / c->n_fields);
}
