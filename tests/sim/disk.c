/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The disk and the staging area: what each page holds, who reads it, what is on its way into it. Bytes
 * are named, not stored: a page is "page 7 of shard 2".
 */
#include "sim.h"

#include <errno.h>

#define NEVER (2000000 * SECOND) /* when all others are done */

static void choose_fate(struct sim *s, struct flight *f, uint64_t *ret_latency)
{
	const struct odds *o = &s->world.odds;

	*ret_latency = sim_between(s, 10 * US, s->world.read_ns_max);
	f->fate = READ_FINE;
	f->damaged = NO_PAGE;
	if (s->is_ending)
		return;
	if (sim_odds(s, o->read_late))
		*ret_latency = s->world.spec.read_timeout_ns * sim_between(s, 101, 400) / 100;
	if (sim_odds(s, o->read_never)) {
		*ret_latency = NEVER;
		sim_fault(s, FAULT_read_never);
	}
	if (sim_odds(s, o->read_error))
		f->fate = READ_ERROR;
	else if (sim_odds(s, o->read_short))
		f->fate = sim_odds(s, 5000) ? READ_SHORT : READ_EMPTY;
	else if (sim_odds(s, o->read_changed))
		f->fate = READ_CHANGED;
	else if (o->read_damaged && sim_odds(s, f->is_again ? 2000 : o->read_damaged)) {
		f->damaged = sim_below(s, f->n_bytes / CORE_PAGE);
		sim_fault(s, f->is_again ? FAULT_read_damaged_again : FAULT_read_damaged);
	}
	if (*ret_latency > s->world.spec.read_timeout_ns)
		sim_fault(s, f->fate == READ_ERROR ? FAULT_read_late_fails : FAULT_read_late);
	if (f->fate != READ_FINE)
		sim_fault(s, f->fate == READ_ERROR ? FAULT_read_fails : f->fate == READ_SHORT ? FAULT_read_short
			     : f->fate == READ_EMPTY ? FAULT_read_empty : FAULT_read_changed);
}

/* Faults are charged to every sample whose bytes the request covers, or to the units. */
static void charge(struct sim *s, const struct flight *f, bool is_late)
{
	const struct world_feed *w = &s->world.more[f->feed];
	uint32_t *by_sample = is_late ? w->n_late : w->n_errors;

	if (w->shards[f->shard].packing != PACKING_NONE) {
		packing_charge(s, f, is_late);
		return;
	}

	for (uint64_t i = w->starts[f->shard]; i < w->starts[f->shard + 1]; i++)
		for (unsigned k = 0; k < w->samples.n_fields; k++) {
			const struct sample_place *p = samples_place(&w->samples, i, k);
			uint64_t at = (uint64_t)p->header_block * 512;

			if (p->header_block >= SAMPLE_REPEATED || at >= f->offset + f->n_bytes ||
			    at + p->size < f->offset)
				continue;
			by_sample[i]++;
			break;
		}
}

/* Reads that the core cannot have given up on yet. */
static uint32_t count_in_time(const struct sim *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i + 1 < s->n_flying; i++) /* the last one is just beginning */
		n += s->flights[s->flying[i]].deadline > s->told_ns;
	return n;
}

/* Somebody has said of something there that it is damaged. */
static bool is_in_doubt(const struct sim *s, const struct flight *f)
{
	const struct world_feed *w = &s->world.more[f->feed];
	const struct sample_shard *shard = &w->shards[f->shard];

	for (uint64_t i = w->starts[f->shard]; shard->packing == PACKING_NONE && i < w->starts[f->shard + 1]; i++)
		for (unsigned k = 0; w->n_doubts[i] && k < w->samples.n_fields; k++) {
			const struct sample_place *p = samples_place(&w->samples, i, k);
			const uint64_t at = (uint64_t)p->header_block * 512;

			if (at < f->offset + f->n_bytes && at + p->size >= f->offset)
				return true;
		}
	for (uint32_t i = shard->first_unit; shard->packing != PACKING_NONE && i < shard->first_unit + shard->n_units; i++)
		if (w->unit_damage[i] && w->samples.units[i].offset < f->offset + f->n_bytes &&
		    w->samples.units[i].offset + w->samples.units[i].n_bytes > f->offset)
			return true;
	return false;
}

void disk_read(struct sim *s, const struct core_action *a)
{
	struct flight *f = &s->flights[a->read.request];
	const struct world_feed *w = &s->world.more[a->read.feed];
	uint64_t latency;

	SIM_CHECK(s, a->read.request < SIM_READS_MAX && !f->is_used, "request %u", a->read.request);
	SIM_CHECK(s, a->read.feed < s->world.spec.n_feeds, "feed %u", a->read.feed);
	SIM_CHECK(s, a->read.shard < w->samples.n_shards, "shard %u", a->read.shard);
	SIM_CHECK(s, a->read.offset % CORE_PAGE == 0 && a->read.n_bytes % CORE_PAGE == 0 &&
		  a->read.n_bytes > 0 && a->read.into % CORE_PAGE == 0, "a ragged read");
	SIM_CHECK(s, a->read.offset < w->shards[a->read.shard].file_size, "behind the file's end");
	SIM_CHECK(s, a->read.into + a->read.n_bytes <= (uint64_t)s->n_read_pages * CORE_PAGE, "outside of staging");
	SIM_CHECK(s, ++s->n_flying <= CORE_FLYING_MAX(s->world.spec.reads_in_flight), "%u with the engine",
		  s->n_flying);
	SIM_CHECK(s, count_in_time(s) < s->world.spec.reads_in_flight, "%u in flight", s->n_flying);
	for (uint64_t i = 0; i < a->read.n_bytes / CORE_PAGE; i++) {
		struct page *p = &s->pages[a->read.into / CORE_PAGE + i];

		SIM_CHECK(s, p->state != PAGE_FLYING, "two reads into one page");
		SIM_CHECK(s, p->n_readers == 0, "a read into a page that a worker reads");
		*p = (struct page){.state = PAGE_FLYING, .feed = a->read.feed, .shard = a->read.shard, .unit = NOBODY,
				   .file_page = a->read.offset / CORE_PAGE + i};
	}
	s->n_reads++;
	s->read_bytes += a->read.n_bytes;
	s->flying[s->n_flying - 1] = a->read.request;
	*f = (struct flight){.is_used = true, .tag = ++s->tag, .feed = a->read.feed,
			     .shard = a->read.shard, .n_bytes = a->read.n_bytes,
			     .offset = a->read.offset, .into = a->read.into, .is_again = a->read.is_again};
	SIM_CHECK(s, !f->is_again || is_in_doubt(s, f), "past the page cache, and nothing was damaged");
	f->deadline = s->now + s->world.spec.read_timeout_ns;
	choose_fate(s, f, &latency);
	if (latency > s->world.spec.read_timeout_ns)
		charge(s, f, true);
	sim_later(s, latency, EVENT_READ, a->read.request, f->tag);
}

static int64_t land(struct sim *s, struct flight *f)
{
	struct world_feed *w = &s->world.more[f->feed];
	uint64_t left = w->shards[f->shard].file_size - f->offset;
	uint64_t n = f->n_bytes < left ? f->n_bytes : left;

	if (f->fate == READ_SHORT || f->fate == READ_EMPTY) {
		n = f->fate == READ_EMPTY ? 0 : sim_below(s, n);
		w->n_changes++;
	} else if (f->fate == READ_CHANGED) {
		w->n_changes++;
	} else if (f->fate == READ_ERROR) {
		charge(s, f, false);
	}
	for (uint64_t i = 0; i < f->n_bytes / CORE_PAGE; i++) {
		struct page *p = &s->pages[f->into / CORE_PAGE + i];
		uint64_t here = n > i * CORE_PAGE ? n - i * CORE_PAGE : 0;

		p->state = f->fate == READ_FINE || f->fate == READ_SHORT ? PAGE_HELD : PAGE_EMPTY;
		p->n_valid = here < CORE_PAGE ? here : CORE_PAGE;
		p->landed_ns = s->now;
		p->is_damaged = i == f->damaged;
		p->is_again = f->is_again;
	}
	return f->fate == READ_ERROR ? -EIO : (int64_t)n;
}

void disk_done(struct sim *s, uint32_t request, uint64_t tag)
{
	struct flight *f = &s->flights[request];
	int64_t n;

	SIM_CHECK(s, f->is_used && f->tag == tag, "the simulator's own books are wrong");
	n = land(s, f);
	f->is_used = false;
	for (uint32_t i = 0; i < s->n_flying; i++)
		if (s->flying[i] == request)
			s->flying[i] = s->flying[s->n_flying - 1];
	s->n_flying--;
	core_on_read(s->core, sim_tells(s), request, n, f->fate == READ_CHANGED);
}

void disk_judge(const struct sim *s)
{
	uint64_t asked = core_deadline(s->core);

	for (uint32_t i = 0; i < s->n_flying; i++) {
		uint64_t deadline = s->flights[s->flying[i]].deadline;

		SIM_CHECK(s, deadline <= s->told_ns || asked <= deadline, "a read's deadline is forgotten");
	}
}

/* Where the extent's first byte is in its file, or in its unit. */
static uint64_t place_in(struct sim *s, const struct world_feed *w, uint32_t shard, const struct task_extent *x,
			 uint64_t from, uint64_t n, uint32_t *ret_unit)
{
	const struct sample_unit *u;

	*ret_unit = NOBODY;
	if (w->shards[shard].packing == PACKING_NONE)
		return from;
	*ret_unit = s->pages[x->at / CORE_PAGE].unit;
	SIM_CHECK(s, *ret_unit < w->samples.n_units, "an extent of a compressed shard that is not inflated");
	u = &w->samples.units[*ret_unit];
	SIM_CHECK(s, from >= u->raw_offset && from + n <= u->raw_offset + u->n_raw, "an extent outside of its unit");
	return from - u->raw_offset;
}

/* Returns when the last of its bytes came. */
static uint64_t pin_extent(struct sim *s, const struct sim_task *t, const struct task_sample *sample,
			   const struct task_extent *x, unsigned field)
{
	const struct world_feed *w = &s->world.more[t->head.feed];
	const struct sample_place *place = samples_place(&w->samples, sample->sample, field);
	uint64_t in_shard, from = (uint64_t)place->header_block * 512, n, landed_ns = 0;
	uint32_t shard = order_shard_of(&w->order_shards, sample->sample, &in_shard), unit;

	n = w->shards[shard].header_bytes + place->size;
	if (n > w->shards[shard].raw_size - from)
		n = w->shards[shard].raw_size - from;
	SIM_CHECK(s, x->at + n <= (uint64_t)s->n_pages * CORE_PAGE, "an extent outside of the area");
	from = place_in(s, w, shard, x, from, n, &unit);
	SIM_CHECK(s, x->size == place->size && x->n_bytes == n, "an extent of wrong length");
	SIM_CHECK(s, x->at % CORE_PAGE == from % CORE_PAGE, "an extent at a wrong place");
	for (uint64_t at = x->at / CORE_PAGE; at * CORE_PAGE < x->at + n; at++) {
		struct page *p = &s->pages[at];
		uint64_t end = x->at + n - at * CORE_PAGE;

		SIM_CHECK(s, p->state == PAGE_HELD, "a task reads a page without bytes");
		SIM_CHECK(s, p->feed == world_base(s, t->head.feed) && p->shard == shard && p->unit == unit &&
			  p->file_page == from / CORE_PAGE + at - x->at / CORE_PAGE,
			  "a task reads a page of other bytes");
		SIM_CHECK(s, p->n_valid >= (end < CORE_PAGE ? end : CORE_PAGE), "a task reads past a read");
		p->n_readers++;
		landed_ns = p->landed_ns > landed_ns ? p->landed_ns : landed_ns;
	}
	return landed_ns;
}

static void tell_slots(struct sim *s, const struct sim_task *t, uint32_t sample, uint64_t landed_ns)
{
	for (unsigned w = 0; w < t->n_writes; w++) {
		struct oracle_slot *slot = &s->slots[t->writes[w].feed][t->writes[w].slot];

		if (t->writes[w].sample == sample && slot->landed_ns < landed_ns)
			slot->landed_ns = landed_ns;
	}
}

void disk_pin(struct sim *s, const struct sim_task *t)
{
	unsigned n_fields = s->world.more[t->head.feed].samples.n_fields;

	for (uint32_t i = 0; i < t->head.n_samples; i++)
		for (unsigned f = 0; !(t->samples[i].flags & TASK_SAMPLE_MASK) && f < n_fields; f++)
			tell_slots(s, t, i, pin_extent(s, t, &t->samples[i], &t->extents[i * n_fields + f], f));
}

void disk_unpin(struct sim *s, const struct sim_task *t)
{
	unsigned n_fields = s->world.more[t->head.feed].samples.n_fields;

	for (uint32_t i = 0; i < t->head.n_samples; i++)
		for (unsigned f = 0; !(t->samples[i].flags & TASK_SAMPLE_MASK) && f < n_fields; f++) {
			const struct task_extent *x = &t->extents[i * n_fields + f];

			for (uint64_t at = x->at / CORE_PAGE; at * CORE_PAGE < x->at + x->n_bytes; at++)
				s->pages[at].n_readers--;
		}
}

bool disk_is_damaged(const struct sim *s, const struct sim_task *t, uint32_t sample, bool *ret_is_again)
{
	unsigned n_fields = s->world.more[t->head.feed].samples.n_fields;
	bool is_damaged = false;

	*ret_is_again = true;
	for (unsigned f = 0; f < n_fields; f++) {
		const struct task_extent *x = &t->extents[sample * n_fields + f];

		for (uint64_t at = x->at / CORE_PAGE; at * CORE_PAGE < x->at + x->n_bytes; at++) {
			is_damaged = is_damaged || s->pages[at].is_damaged;
			*ret_is_again = *ret_is_again && s->pages[at].is_again;
		}
	}
	return is_damaged;
}
