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
	unsigned n_fields = c->feeds[c->streams[c->jobs[job].stream].feed].feed.samples->n_fields;

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
	c->streams[c->jobs[job].stream].ahead_bytes -= c->jobs[job].bytes;
	c->jobs[job].bytes = 0;
}

void job_free(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	assert(j->state != JOB_FREE);
	job_drop_extents(c, job);
	if (j->slot == NONE)
		c->n_ahead--;
	if (c->starved == job)
		c->starved = NONE;
	if (c->feeds[c->streams[j->stream].feed].unit_starved == job)
		c->feeds[c->streams[j->stream].feed].unit_starved = NONE;
	j->state = JOB_FREE;
	j->next = c->free_job;
	c->free_job = job;
}

/* The next row in the stream's order, or NONE when its batches give this rank no row for long. */
uint32_t job_make(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	struct cursor *cur = &s->read;
	uint32_t job = c->free_job;
	unsigned n_tries = 64;
	struct job *j;
	uint64_t t;

	while (cur->row >= pass_batch_length(&cur->pass, cur->step, s->rank)) {
		if (n_tries-- == 0)
			return NONE;
		cursor_next_batch(cur);
	}
	assert(job != NONE); /* there are as many as rows in slots and ahead of them */
	j = &c->jobs[job];
	c->free_job = j->next;
	t = pass_position(&cur->pass, cur->step, s->rank, cur->row);
	*j = (struct job){
		.position = t, .epoch = cur->epoch, .stream = stream, .slot = NONE, .next = NONE,
		.next_ahead = NONE, .row = (uint32_t)cur->row, .state = JOB_UNREAD,
		.sample = order_sample(feed_order(c, s->feed, cur->epoch), t),
		.is_padded = t >= cur->pass.n_samples,
	};
	cur->row++;
	c->n_ahead++;
	if (s->ahead.tail == NONE)
		s->ahead.head = job;
	else
		c->jobs[s->ahead.tail].next_ahead = job;
	s->ahead.tail = job;
	return job;
}

void job_unread(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	struct stream *s = &c->streams[j->stream];

	job_drop_extents(c, job);
	j->state = JOB_UNREAD;
	job_push_front(c, j->slot == NONE ? &s->unread_ahead : &s->unread, job);
}

void job_staged(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	j->state = JOB_STAGED;
	if (j->slot == NONE)
		return; /* its batch takes it when it opens */
	c->slots[j->slot].staged_ns = c->now_ns;
	if (j->is_alone)
		job_push(c, &c->alone, job);
	else if (j->is_large)
		job_push(c, &c->large, job);
	else
		job_push(c, &c->slots[j->slot].staged, job);
}

static void fail_stream(struct core *c, const struct job *j, enum core_failure failure,
			enum cause cause, int error, const char *detail)
{
	const struct stream *s = &c->streams[j->stream];
	struct core_action what = {.kind = CORE_FAIL, .stream = j->stream};

	what.bad.failure = failure;
	what.bad.cause = cause;
	what.bad.feed = s->feed;
	what.bad.error = error;
	what.bad.sample = j->sample;
	what.bad.position = j->position;
	what.bad.epoch = j->epoch;
	memcpy(what.bad.detail, detail, strnlen(detail, TASK_DETAIL_MAX - 1));
	stream_fail(c, j->stream, &what);
}

static void tell_ledger(struct core *c, const struct job *j, enum cause cause, const char *detail)
{
	struct core_action *a = action_add(c, CORE_BAD, j->stream);

	a->bad.cause = cause;
	a->bad.feed = c->streams[j->stream].feed;
	a->bad.sample = j->sample;
	a->bad.position = j->position;
	a->bad.epoch = j->epoch;
	memcpy(a->bad.detail, detail, strnlen(detail, TASK_DETAIL_MAX - 1));
}

void job_bad(struct core *c, uint32_t job, enum cause cause, const char *detail)
{
	struct job *j = &c->jobs[job];
	const struct feed_state *f = &c->feeds[c->streams[j->stream].feed];

	tell_ledger(c, j, cause, detail);
	if (j->attempt == 0)
		j->own_cause = (uint8_t)cause;
	j->n_deaths = j->n_overruns = j->n_read_errors = j->n_late = 0;
	j->is_alone = j->is_large = false;
	job_drop_extents(c, job);
	if (f->feed.policy == CORE_BAD_FAIL) {
		fail_stream(c, j, CORE_FAIL_BAD_SAMPLE, cause, 0, detail);
	} else if (f->feed.policy == CORE_BAD_MASK) {
		j->is_masked = true;
		job_staged(c, job);
	} else if (j->attempt == ATTEMPTS_MAX) {
		fail_stream(c, j, CORE_FAIL_NO_SUBSTITUTE, cause, 0, detail);
	} else {
		j->attempt++;
		j->sample = order_substitute(feed_order(c, c->streams[j->stream].feed, j->epoch),
					     j->position, j->attempt);
		job_unread(c, job);
	}
}

void job_transient(struct core *c, uint32_t job, enum cause cause, int error)
{
	struct job *j = &c->jobs[job];

	if (c->feeds[c->streams[j->stream].feed].feed.is_transient_bad) {
		job_bad(c, job, cause, "");
		return;
	}
	fail_stream(c, j, CORE_FAIL_STORAGE, cause, error, "");
}

void job_changed(struct core *c, uint32_t job)
{
	fail_stream(c, &c->jobs[job], CORE_FAIL_CHANGED, CAUSE_none, 0, "");
}
