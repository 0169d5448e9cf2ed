/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * How a read ends: it brings its bytes, fails, or is late. Jobs of one that failed or is late are told when the
 * action queue has room for what they make of it; pages of a late one stay its own until it really ends.
 */
#include "core/state.h"

#include <assert.h>
#include <errno.h>

static void read_failed(struct core *c, uint32_t job, int error)
{
	struct job *j = &c->jobs[job];

	c->totals.n_retries++;
	if (++j->n_read_errors < READ_TRIES)
		job_unread(c, job);
	else
		job_transient(c, job, CAUSE_read_error, error);
}

/* Did the file end before the index says it does? */
static bool is_short(const struct core *c, uint32_t request, int64_t n_bytes)
{
	const struct request *r = &c->requests[request];

	if (r->fill != NONE)
		return (uint64_t)n_bytes < fill_wants(c, request);
	for (uint32_t x = r->first_extent; x != NONE; x = c->extents[x].next)
		if ((uint64_t)n_bytes < (uint64_t)c->extents[x].at + c->extents[x].n_bytes)
			return true;
	return false;
}

void core_on_read(struct core *c, uint64_t now_ns, uint32_t request, int64_t n_bytes, bool is_changed)
{
	struct request *r = &c->requests[request];
	bool has_failed;

	core_begin(c, now_ns);
	assert(request < c->n_requests && r->state == REQUEST_FLYING);
	if (r->is_late)
		c->n_late--;
	else
		c->n_flying--;
	has_failed = n_bytes < 0 || is_changed || is_short(c, request, n_bytes);
	if (r->fill != NONE) {
		fill_read_done(c, request, has_failed, n_bytes < 0 ? (int)-n_bytes : 0);
		return;
	}
	if (has_failed) {
		r->state = REQUEST_FAILED;
		r->error = n_bytes < 0 ? (int)-n_bytes : 0;
		request_push(c, &c->settling, request);
		return;
	}
	r->state = REQUEST_LANDED;
	if (r->n_users == 0) {
		request_free(c, request);
		return;
	}
	for (uint32_t x = r->first_extent; x != NONE; x = c->extents[x].next)
		if (--c->jobs[x / c->n_fields].n_pending == 0)
			job_staged(c, x / c->n_fields);
}

static void read_late(struct core *c, uint32_t job)
{
	c->totals.n_retries++;
	if (++c->jobs[job].n_late < LATE_TRIES)
		job_unread(c, job);
	else
		job_transient(c, job, CAUSE_read_late, ETIMEDOUT);
}

/* Takes the job out of the request, one way or another. */
static void settle_job(struct core *c, const struct request *r, uint32_t job)
{
	if (r->unit != NONE)
		fill_tell(c, r->fill, job);
	else if (r->state == REQUEST_FLYING)
		read_late(c, job); /* its pages stay until it ends */
	else if (r->error)
		read_failed(c, job, r->error);
	else
		job_changed(c, job);
}

void reads_settle(struct core *c)
{
	uint32_t request;

	while ((request = c->settling.head) != NONE) {
		struct request *r = &c->requests[request];

		if (r->unit == NONE && r->fill != NONE)
			fill_read_late(c, request);
		while (r->first_extent != NONE) {
			if (actions_left(c) < ACTIONS_SLACK) {
				c->is_dirty = true;
				return;
			}
			settle_job(c, r, r->first_extent / c->n_fields);
		}
		request_pop(c, &c->settling);
		if (r->state == REQUEST_FAILED && r->unit != NONE)
			fill_free(c, r->fill);
		if (r->state == REQUEST_FAILED)
			request_free(c, request);
	}
}

void reads_time(struct core *c)
{
	uint64_t least = UINT64_MAX;

	if (!c->n_flying || c->now_ns < c->read_deadline_ns)
		return;
	for (uint32_t i = 0; i < c->n_requests; i++) {
		struct request *r = &c->requests[i];

		if (r->state != REQUEST_FLYING || r->is_late)
			continue;
		if (r->deadline_ns <= c->now_ns) {
			r->is_late = true;
			c->n_flying--;
			c->n_late++;
			request_push(c, &c->settling, i);
		} else if (r->deadline_ns < least) {
			least = r->deadline_ns;
		}
	}
	c->read_deadline_ns = least;
}
