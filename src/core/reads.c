/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reads: what is due is collected, sorted by place, merged with its neighbours, given pages of staging
 * and put in flight.
 *
 * Two zones keep the way free: samples whose row has a slot may use both, samples read ahead only
 * the larger one. Whatever has a slot is soon written and its pages come back, so the first zone
 * always empties, and a trainer that stalls can hold back its own read-ahead only. A sample that finds
 * no hole long enough keeps the others out of the first zone until it is empty enough: without that, small
 * samples could take every hole for ever.
 */
#include "core/state.h"

static void launch(struct core *c)
{
	/* Late ones stand aside, so that a dead shard does not stop the others, until they are too many. */
	while (c->queue.head != NONE && c->n_flying < c->spec.reads_in_flight &&
	       c->n_flying + c->n_late < CORE_FLYING_MAX(c->spec.reads_in_flight)) {
		struct core_action *a;
		struct request *r;
		uint32_t request;

		if (actions_left(c) < ACTIONS_SLACK) {
			c->is_dirty = true;
			return;
		}
		request = request_pop(c, &c->queue);
		r = &c->requests[request];
		if (r->n_users == 0) {
			request_free(c, request);
			continue;
		}
		r->state = REQUEST_FLYING;
		r->is_late = false;
		r->deadline_ns = c->now_ns + c->spec.read_timeout_ns;
		if (c->n_flying++ == 0 || r->deadline_ns < c->read_deadline_ns)
			c->read_deadline_ns = r->deadline_ns;
		c->totals.n_reads++;
		c->totals.read_bytes += r->n_bytes;
		a = action_add(c, CORE_READ, NONE);
		a->read.request = request;
		a->read.feed = r->feed;
		a->read.shard = r->shard;
		a->read.n_bytes = r->n_bytes;
		a->read.offset = r->offset;
		a->read.into = (uint64_t)r->page * CORE_PAGE;
		a->read.is_again = r->is_again;
	}
}

/* ---- planning a round ---- */

struct round {
	uint32_t n;	  /* candidates */
	uint32_t n_jobs;  /* that have what they need, or candidates for it */
	uint64_t budget;  /* bytes still to be given out */
	bool is_ahead; /* of samples without a slot yet */
	bool may_use_must;
	bool found_no_room;
	uint32_t starved; /* the job that had starved before, or NONE */
};

/* Its track has failed and its jobs are free: their candidates go before their numbers come back. */
static void drop_freed(const struct core *c, struct round *round)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < round->n; i++)
		if (c->jobs[c->candidates[i].extent / c->n_fields].state != JOB_FREE)
			c->candidates[n++] = c->candidates[i];
	round->n = n;
}

/* A field that the index says is missing or there twice, or CAUSE_none. */
static enum cause cause_of_places(const struct samples *samples, uint64_t sample)
{
	for (unsigned f = 0; f < samples->n_fields; f++) {
		const struct sample_place *place = samples_place(samples, sample, f);

		if (place->header_block == SAMPLE_MISSING)
			return CAUSE_missing_field;
		if (place->header_block == SAMPLE_REPEATED)
			return CAUSE_repeated_extension;
	}
	return CAUSE_none;
}

/* Puts the job's extents among the candidates, or gives it the units they lie in; a sample that is bad by its index
 * goes its own way. false: its units have no room now, and it is to wait. */
static bool add_candidates(struct core *c, struct round *round, uint32_t job)
{
	struct job *j = &c->jobs[job];
	struct track *t = &c->tracks[j->track];
	const uint32_t feed = j->feed;
	const struct samples *samples = c->feeds[feed].feed.samples;
	uint64_t in_shard, total = 0;
	uint32_t shard = order_shard_of(&c->feeds[feed].shards, j->sample, &in_shard);
	const struct sample_shard *file = &samples->shards[shard];
	enum cause cause = cause_of_places(samples, j->sample);

	if (c->starved == job)
		c->starved = NONE; /* again so, if there still is no room */
	if (cause != CAUSE_none) {
		job_bad(c, job, cause, "");
		if (!t->is_used)
			drop_freed(c, round);
		return true;
	}
	if (file->packing != PACKING_NONE) {
		bool is_attached = units_attach(c, job);

		if (!t->is_used)
			drop_freed(c, round);
		return is_attached;
	}
	for (unsigned f = 0; f < samples->n_fields; f++) {
		const struct sample_place *place = samples_place(samples, j->sample, f);
		uint32_t at = job * c->n_fields + f;
		struct candidate *cand = &c->candidates[round->n++];

		cand->offset = (uint64_t)place->header_block * 512;
		cand->end = cand->offset + file->header_bytes + place->size;
		if (cand->end > file->file_size)
			cand->end = file->file_size;
		cand->feed = feed;
		cand->shard = shard;
		cand->extent = at;
		c->extents[at] = (struct extent){.request = NONE, .size = place->size, .next = NONE,
						 .n_bytes = (uint32_t)(cand->end - cand->offset)};
		total += cand->end - cand->offset + CORE_PAGE;
	}
	j->state = JOB_READING;
	j->n_pending = (uint8_t)samples->n_fields;
	c->totals.sample_bytes += total - samples->n_fields * CORE_PAGE;
	round->budget -= total < round->budget ? total : round->budget;
	if (round->is_ahead) {
		j->bytes = total;
		t->ahead_bytes += total;
	}
	return true;
}

static bool is_full(struct core *c, const struct round *round)
{
	if (actions_left(c) < ACTIONS_SLACK) {
		c->is_dirty = true;
		return true;
	}
	return round->budget == 0 || round->n + c->n_fields > CANDIDATES_MAX;
}

/* The batch whose rows are to be read next, or NONE. */
static uint32_t unread_slot(const struct core *c, const struct track *t)
{
	return t->is_used && t->unread.head != NONE ? c->jobs[t->unread.head].slot : NONE;
}

/* Of one batch: what is due first is read first, and what lies beside it on the disk later. */
static void collect_due(struct core *c, struct round *round, struct track *t)
{
	const uint32_t slot = unread_slot(c, t);

	while (slot != NONE && !is_full(c, round) && unread_slot(c, t) == slot) {
		uint32_t job = job_pop(c, &t->unread);

		if (!add_candidates(c, round, job)) {
			job_push_front(c, &t->unread, job);
			break;
		}
		round->n_jobs++;
	}
}

static uint32_t next_ahead(struct core *c, uint32_t track)
{
	uint32_t job = job_pop(c, &c->tracks[track].unread_ahead);

	return job != NONE ? job : job_make(c, track);
}

/* Bytes of samples that the feed's tracks together may have ahead of their slots: enough of compressed shards to
 * come to the next unit while there still is work on this one. */
static uint64_t room_ahead(const struct core *c, uint32_t feed)
{
	uint64_t staging = (uint64_t)c->ahead.n_pages * CORE_PAGE, inflated = c->feeds[feed].feed.inflated_bytes;

	return inflated > staging ? inflated : staging;
}

static void collect_ahead(struct core *c, struct round *round)
{
	uint32_t n_tracks = 0;

	for (uint32_t i = 0; i < c->n_tracks; i++)
		n_tracks += c->tracks[i].is_used;
	for (uint32_t i = 0; n_tracks && i < c->n_tracks; i++) {
		uint32_t track = (c->turn + i) % c->n_tracks;
		struct track *t = &c->tracks[track];

		while (t->is_used && !is_full(c, round) && t->ahead_bytes < room_ahead(c, t->feed) / n_tracks &&
		       c->n_ahead < c->spec.n_ahead) {
			uint32_t job = next_ahead(c, track);

			if (job == NONE)
				break;
			if (c->jobs[job].state == JOB_RIDING)
				continue;
			if (!add_candidates(c, round, job)) {
				job_push_front(c, &t->unread_ahead, job);
				break;
			}
		}
	}
}

static void attach(struct core *c, uint32_t request, const struct candidate *cands, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct extent *x = &c->extents[cands[i].extent];
		const struct job *j = &c->jobs[cands[i].extent / c->n_fields];

		if (j->state != JOB_READING)
			continue; /* given up in this round: another part of it found no room */
		if (j->n_damaged)
			c->requests[request].is_again = true;
		x->at = cands[i].offset - c->requests[request].offset;
		request_attach(c, request, cands[i].extent);
	}
}

/* No room for this one: its job waits for the next round. */
static void give_up(struct core *c, struct round *round, const struct candidate *cand)
{
	uint32_t job = cand->extent / c->n_fields;

	round->found_no_room = true;
	if (c->jobs[job].state != JOB_READING)
		return;
	job_unread(c, job);
	if (!round->is_ahead && (c->starved == NONE || round->starved == job))
		c->starved = job;
}

/* One request for the first n; false when there is no room for it. */
static bool make_request(struct core *c, const struct round *round, const struct candidate *cands,
			 uint32_t n, uint64_t end)
{
	uint64_t start = cands->offset / CORE_PAGE * CORE_PAGE;
	uint32_t n_pages = (uint32_t)((end - start + CORE_PAGE - 1) / CORE_PAGE);
	uint32_t request, page;
	struct request *r;

	page = pages_get(&c->ahead, n_pages);
	if (page == PAGES_NONE && round->may_use_must)
		page = pages_get(&c->must, n_pages);
	if (page == PAGES_NONE)
		return false;
	request = request_get(c, !round->is_ahead);
	if (request == NONE) {
		pages_put(page >= c->ahead.first ? &c->ahead : &c->must, page, n_pages);
		return false;
	}
	r = &c->requests[request];
	r->offset = start;
	r->n_bytes = n_pages * CORE_PAGE;
	r->feed = cands->feed;
	r->shard = cands->shard;
	r->page = page;
	r->n_pages = n_pages;
	r->state = REQUEST_QUEUED;
	attach(c, request, cands, n);
	request_push(c, &c->queue, request);
	return true;
}

static void run_round(struct core *c, struct round *round)
{
	candidates_sort(c->candidates, round->n);
	for (uint32_t i = 0, n; i < round->n; i += n) {
		const struct candidate *first = &c->candidates[i];
		uint64_t end;

		n = candidates_merge(first, round->n - i, c->spec.read_max, &end);
		if (round->is_ahead && round->found_no_room) {
			give_up(c, round, first);
			n = 1;
			continue;
		}
		while (!make_request(c, round, first, n, end)) { /* a shorter one may find a hole */
			if (n == 1) {
				give_up(c, round, first);
				break;
			}
			n /= 2;
			end = candidates_end(first, n);
		}
	}
}

static void read_starved(struct core *c)
{
	struct round alone = {.budget = UINT64_MAX, .may_use_must = true};
	const uint32_t job = c->starved;

	if (job == NONE || is_full(c, &alone))
		return;
	job_remove(c, &c->tracks[c->jobs[job].track].unread, job);
	add_candidates(c, &alone, job);
	run_round(c, &alone);
}

/* A batch of each track, and again so while there is room. From then on the first one of which something is left comes
 * first, until that batch is read: what lies first on the disk finds room first, and one whose samples lie at its end would
 * wait for as long as others have any. */
static void read_due(struct core *c)
{
	const uint32_t first = c->due_turn + (unread_slot(c, &c->tracks[c->due_turn]) != c->due_slot);
	bool has_more = true, has_room = true, is_anything_left = false;

	while (has_more && has_room) {
		has_more = false;
		for (uint32_t i = 0; i < c->n_tracks; i++) {
			uint32_t track = (first + i) % c->n_tracks, slot = unread_slot(c, &c->tracks[track]);
			struct round round = {.may_use_must = c->starved == NONE, .starved = c->starved};

			if (slot == NONE)
				continue;
			round.budget = (uint64_t)((round.may_use_must ? c->must.n_free : 0) + c->ahead.n_free) * CORE_PAGE;
			collect_due(c, &round, &c->tracks[track]);
			run_round(c, &round);
			has_more |= round.n_jobs > 0;
			has_room &= !round.found_no_room;
			if (!is_anything_left && unread_slot(c, &c->tracks[track]) == slot) {
				is_anything_left = true;
				c->due_turn = track;
				c->due_slot = slot;
			}
		}
	}
}

void reads_plan(struct core *c)
{
	struct round ahead = {.is_ahead = true};

	units_feed_starved(c);
	read_starved(c);
	read_due(c);
	units_feed_starved(c); /* whoever has just found no room: with all cleared away it may be enough */
	/* Reading ahead waits until a good part of its zone is free, so that neighbours come together, and
	 * then, when the holes were too short, until there are more of them. */
	if (c->ahead.n_free >= c->ahead_again) {
		ahead.budget = (uint64_t)c->ahead.n_free * CORE_PAGE;
		collect_ahead(c, &ahead);
		run_round(c, &ahead);
		c->ahead_again = c->ahead.n_pages / AHEAD_ROUNDS;
		if (ahead.found_no_room && c->ahead.n_free + c->ahead.n_pages / 16 > c->ahead_again)
			c->ahead_again = c->ahead.n_free + c->ahead.n_pages / 16;
		if (c->ahead_again > c->ahead.n_pages)
			c->ahead_again = c->ahead.n_pages;
	}
	fills_plan(c);
	launch(c);
}
