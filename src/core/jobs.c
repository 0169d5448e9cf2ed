/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One row of one batch, from its place in the order to its last attempt: made by the stream's read
 * cursor, given another sample when its own is bad, freed when its row is written.
 */
#include "core/state.h"

#include <assert.h>
#include <string.h>

void job_drop_extents(struct core *c, uint32_t job)
{
	unsigned n_fields = c->feeds[c->jobs[job].feed].feed.samples->n_fields;

	for (unsigned f = 0; f < n_fields; f++) {
		uint32_t at = job * c->n_fields + f, request = c->extents[at].request;
		const struct extent *x = &c->extents[at];

		if (request == NONE)
			continue;
		if (x->prev == NONE)
			c->requests[request].first_extent = x->next;
		else
			c->extents[x->prev].next = x->next;
		if (x->next != NONE)
			c->extents[x->next].prev = x->prev;
		c->extents[at].request = NONE;
		request_put(c, request);
	}
	c->jobs[job].n_pending = 0;
	c->tracks[c->jobs[job].track].ahead_bytes -= c->jobs[job].bytes;
	c->jobs[job].bytes = 0;
}

void job_free(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	assert(j->state != JOB_FREE && j->first_rider == NONE);
	team_leave(c, job);
	job_drop_extents(c, job);
	if (j->slot == NONE)
		c->n_ahead--;
	if (c->starved == job)
		c->starved = NONE;
	if (c->feeds[j->feed].unit_starved == job) {
		c->feeds[j->feed].unit_starved = NONE;
		c->is_dirty = true; /* whoever stood behind it is looked at again */
	}
	j->state = JOB_FREE;
	j->next = c->free_job;
	c->free_job = job;
}

/* The next row in the track's order, unread and in no list or riding, or NONE when its batches give this rank no row
 * for long. */
uint32_t job_make(struct core *c, uint32_t track)
{
	struct track *t = &c->tracks[track];
	struct cursor *cur = &t->read;
	uint32_t job = c->free_job;
	unsigned n_tries = 64;
	struct job *j;
	uint64_t position;

	while (cur->row >= pass_batch_length(&cur->pass, cur->step, t->rank)) {
		if (n_tries-- == 0)
			return NONE;
		cursor_next_batch(cur);
	}
	assert(job != NONE); /* there are as many as rows in slots and ahead of them */
	j = &c->jobs[job];
	c->free_job = j->next;
	position = pass_position(&cur->pass, cur->step, t->rank, cur->row);
	*j = (struct job){
		.position = position, .epoch = cur->epoch, .feed = c->feeds[t->feed].feed.base, .track = track, .slot = NONE, .next = NONE,
		.next_ahead = NONE, .leader = NONE, .first_rider = NONE, .row = (uint32_t)cur->row, .state = JOB_UNREAD,
		.sample = order_sample(feed_order(c, c->feeds[t->feed].feed.base, cur->epoch), position),
		.is_padded = position >= cur->pass.n_samples,
	};
	cur->row++;
	c->n_ahead++;
	if (t->ahead.tail == NONE)
		t->ahead.head = job;
	else
		c->jobs[t->ahead.tail].next_ahead = job;
	t->ahead.tail = job;
	team_join(c, job);
	return job;
}

void job_unread(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	struct track *t = &c->tracks[j->track];

	job_drop_extents(c, job);
	j->state = JOB_UNREAD;
	job_push_front(c, j->is_due ? &t->unread : &t->unread_ahead, job);
}

void job_staged(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	j->state = JOB_STAGED;
	if (!j->is_due)
		return; /* it goes on when it has its row, or rows */
	c->slots[j->slot].staged_ns = c->now_ns;
	for (uint32_t i = j->first_rider; i != NONE; i = c->jobs[i].next_rider)
		c->slots[c->jobs[i].slot].staged_ns = c->now_ns;
	if (j->is_alone)
		job_push(c, &c->alone, job);
	else if (j->is_large)
		job_push(c, &c->large, job);
	else
		job_push(c, &c->slots[j->slot].staged, job);
}

/* All whose batches it goes into fail. */
static void fail(struct core *c, uint32_t job, enum core_failure failure, enum cause cause, int error,
		 const char *detail)
{
	struct job *j = &c->jobs[job];
	uint32_t tracks[TASK_TARGETS_MAX], n = 0;
	struct core_action what = {.kind = CORE_FAIL};

	what.bad.failure = failure;
	what.bad.cause = cause;
	what.bad.feed = c->tracks[j->track].feed;
	what.bad.error = error;
	what.bad.sample = j->sample;
	what.bad.position = j->position;
	what.bad.epoch = j->epoch;
	memcpy(what.bad.detail, detail, strnlen(detail, TASK_DETAIL_MAX - 1));
	tracks[n++] = j->track;
	while (j->first_rider != NONE) {
		assert(n < TASK_TARGETS_MAX);
		tracks[n++] = c->jobs[j->first_rider].track;
		job_free(c, j->first_rider); /* its batch is about to be cancelled */
	}
	for (uint32_t i = 0; i < n; i++)
		track_fail(c, tracks[i], &what);
}

static void tell_ledger(struct core *c, const struct job *j, enum cause cause, const char *detail)
{
	struct core_action *a = action_add(c, CORE_BAD, c->tracks[j->track].first_follower);

	a->bad.cause = cause;
	a->bad.feed = c->tracks[j->track].feed;
	a->bad.sample = j->sample;
	a->bad.position = j->position;
	a->bad.epoch = j->epoch;
	memcpy(a->bad.detail, detail, strnlen(detail, TASK_DETAIL_MAX - 1));
}

void job_bad(struct core *c, uint32_t job, enum cause cause, const char *detail)
{
	struct job *j = &c->jobs[job];
	const struct feed_state *f = &c->feeds[j->feed];

	tell_ledger(c, j, cause, detail);
	if (j->attempt == 0)
		j->own_cause = (uint8_t)cause;
	j->n_deaths = j->n_overruns = j->n_read_errors = j->n_late = j->n_damaged = 0;
	j->is_alone = j->is_large = false;
	job_drop_extents(c, job);
	if (f->feed.policy == CORE_BAD_FAIL) {
		fail(c, job, CORE_FAIL_BAD_SAMPLE, cause, 0, detail);
	} else if (f->feed.policy == CORE_BAD_MASK) {
		j->is_masked = true;
		job_staged(c, job);
	} else if (j->attempt == ATTEMPTS_MAX) {
		fail(c, job, CORE_FAIL_NO_SUBSTITUTE, cause, 0, detail);
	} else {
		j->attempt++;
		j->sample = order_substitute(feed_order(c, j->feed, j->epoch),
					     j->position, j->attempt);
		job_unread(c, job);
	}
}

void job_mended(struct core *c, uint32_t job)
{
	const struct job *j = &c->jobs[job];
	struct core_action *a = action_add(c, CORE_MENDED, NONE);
	uint64_t in_shard;

	a->mended.feed = j->feed;
	a->mended.shard = order_shard_of(&c->feeds[j->feed].shards, j->sample, &in_shard);
	a->mended.sample = j->sample;
	a->mended.offset = (uint64_t)samples_place(c->feeds[j->feed].feed.samples, j->sample, 0)->header_block * 512;
	c->totals.n_mended++;
}

void job_transient(struct core *c, uint32_t job, enum cause cause, int error)
{
	struct job *j = &c->jobs[job];

	if (c->feeds[j->feed].feed.is_transient_bad) {
		job_bad(c, job, cause, "");
		return;
	}
	fail(c, job, CORE_FAIL_STORAGE, cause, error, "");
}

void job_changed(struct core *c, uint32_t job)
{
	fail(c, job, CORE_FAIL_CHANGED, CAUSE_none, 0, "");
}
