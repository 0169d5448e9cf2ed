/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Fills: units of compressed shards being read and inflated, piece by piece, so that a shard of any size takes two
 * pieces of compressed bytes at a time. All pieces of a unit go to one worker, which keeps the state of its
 * decoder between them. What goes wrong is settled when no piece is in anybody's hand any more (a worker may
 * still write the unit's place): the unit is begun anew, or its jobs are told.
 */
#include "core/state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct sample_unit *unit_of(const struct core *c, const struct fill *f)
{
	const struct request *r = &c->requests[f->request];

	return &c->feeds[r->feed].feed.samples->units[r->unit];
}

/* ---- taking up ---- */

static bool is_due(const struct core *c, uint32_t request)
{
	for (uint32_t x = c->requests[request].first_extent; x != NONE; x = c->extents[x].next)
		if (c->jobs[x / c->n_fields].is_due)
			return true;
	return false;
}

/* The first that rows wait for, else the first. */
static uint32_t choose_wanted(const struct core *c)
{
	for (uint32_t i = c->wanted.head; i != NONE; i = c->requests[i].next)
		if (is_due(c, i))
			return i;
	return c->wanted.head;
}

static void take_up(struct core *c, uint32_t fill)
{
	uint32_t request = choose_wanted(c);
	struct request *r = &c->requests[request];

	request_remove(c, &c->wanted, request);
	r->state = REQUEST_FILLING;
	r->fill = fill;
	c->fills[fill] = (struct fill){.request = request, .worker = NONE};
}

/* Asks for the bytes from f->n_asked on; false: there is no room for them now. */
static bool ask_piece(struct core *c, uint32_t fill)
{
	struct fill *f = &c->fills[fill];
	const struct sample_unit *u = unit_of(c, f);
	uint64_t from = u->offset + f->n_asked, start = from / CORE_PAGE * CORE_PAGE;
	uint64_t end = start + CORE_PIECE < u->offset + u->n_bytes ? start + CORE_PIECE : u->offset + u->n_bytes;
	uint32_t page = pages_get(&c->pieces, PIECE_PAGES), request;
	struct request *r;

	if (page == PAGES_NONE)
		return false;
	request = request_get(c, true);
	if (request == NONE) {
		pages_put(&c->pieces, page, PIECE_PAGES);
		return false;
	}
	r = &c->requests[request];
	r->feed = c->requests[f->request].feed;
	r->shard = c->requests[f->request].shard;
	r->offset = start;
	r->n_bytes = (uint32_t)((end - start + CORE_PAGE - 1) / CORE_PAGE * CORE_PAGE);
	r->page = page;
	r->n_pages = PIECE_PAGES;
	r->n_users = 1;
	r->fill = fill;
	r->is_again = f->n_damaged > 0;
	r->state = REQUEST_QUEUED;
	f->pieces[f->n_pieces++] = (struct piece){.request = request, .at = (uint32_t)(from - start),
						  .n_bytes = (uint32_t)(end - from)};
	f->n_asked += end - from;
	request_push(c, &c->queue, request);
	return true;
}

void fills_plan(struct core *c)
{
	for (uint32_t i = 0; i < c->n_fills; i++) {
		struct fill *f = &c->fills[i];

		if (f->request == NONE && c->wanted.head != NONE)
			take_up(c, i);
		if (f->request == NONE || f->end != FILL_GOES_ON)
			continue;
		while (f->n_pieces < FILL_PIECES && f->n_asked < unit_of(c, f)->n_bytes)
			if (!ask_piece(c, i))
				return;
	}
}

/* ---- the end, good or bad ---- */

void fill_free(struct core *c, uint32_t fill)
{
	c->fills[fill].request = NONE;
}

static void leave_worker(struct core *c, struct fill *f)
{
	if (f->worker != NONE)
		c->workers[f->worker].fill = NONE;
	f->worker = NONE;
}

static void drop_pieces(struct core *c, struct fill *f)
{
	for (uint32_t i = 0; i < f->n_pieces; i++) {
		c->requests[f->pieces[i].request].fill = NONE;
		request_put(c, f->pieces[i].request);
	}
	f->n_pieces = 0;
	f->n_asked = 0;
}

static void fail_unit(struct core *c, struct fill *f)
{
	struct request *r = &c->requests[f->request];

	r->state = REQUEST_FAILED;
	unit_drop(c, f->request, f->end == FILL_DAMAGED ? UNIT_DAMAGED : f->end == FILL_DEADLY ? UNIT_DEADLY : NONE);
	request_push(c, &c->settling, f->request);
}

/* What was to become of it when no piece is in hand. */
static void settle(struct core *c, struct fill *f)
{
	if (f->end == FILL_GOES_ON || f->n_in_hand > 0)
		return;
	leave_worker(c, f);
	drop_pieces(c, f);
	if (f->end == FILL_AGAIN)
		f->end = FILL_GOES_ON;
	else
		fail_unit(c, f);
}

/* The worst stays: what is final is not begun anew. */
static void end_with(struct core *c, struct fill *f, enum fill_end end)
{
	if (f->end == FILL_GOES_ON || f->end == FILL_AGAIN)
		f->end = (uint8_t)end;
	c->totals.n_retries += end == FILL_AGAIN;
	settle(c, f);
}

void fill_tell(struct core *c, uint32_t fill, uint32_t job)
{
	const struct fill *f = &c->fills[fill];

	switch (f->end) {
	case FILL_DAMAGED:
		job_bad(c, job, CAUSE_damaged_unit, f->detail);
		break;
	case FILL_DEADLY:
		job_bad(c, job, CAUSE_worker_died, f->detail);
		break;
	case FILL_OVERRUN:
		job_transient(c, job, CAUSE_overrun, 0);
		break;
	case FILL_READ_ERROR:
		job_transient(c, job, CAUSE_read_error, f->error);
		break;
	case FILL_READ_LATE:
		job_transient(c, job, CAUSE_read_late, ETIMEDOUT);
		break;
	default:
		job_changed(c, job);
	}
}

/* ---- reads ---- */

static struct piece *piece_of(struct fill *f, uint32_t request)
{
	for (uint32_t i = 0; i < f->n_pieces; i++)
		if (f->pieces[i].request == request)
			return &f->pieces[i];
	assert(!"a piece of another fill");
	return NULL;
}

uint64_t fill_wants(const struct core *c, uint32_t request)
{
	const struct piece *p = piece_of(&c->fills[c->requests[request].fill], request);

	return p->at + p->n_bytes;
}

void fill_read_done(struct core *c, uint32_t request, bool has_failed, int error)
{
	struct request *r = &c->requests[request];
	struct fill *f = &c->fills[r->fill];

	r->state = REQUEST_LANDED;
	if (!has_failed) {
		piece_of(f, request)->is_landed = true;
		return;
	}
	f->error = error;
	if (error && ++f->n_read_errors < READ_TRIES) {
		if (f->end != FILL_GOES_ON)
			return; /* it is dropped when the worker is done */
		c->totals.n_retries++;
		r->state = REQUEST_QUEUED;
		request_push(c, &c->queue, request);
		return;
	}
	end_with(c, f, error ? FILL_READ_ERROR : FILL_CHANGED);
}

/* The read keeps its pages until it ends; the fill does without it. */
void fill_read_late(struct core *c, uint32_t request)
{
	struct fill *f = &c->fills[c->requests[request].fill];

	end_with(c, f, ++f->n_late < LATE_TRIES ? FILL_AGAIN : FILL_READ_LATE);
}

/* ---- workers ---- */

/* The first piece not in hand yet, if it is there. */
static struct piece *next_piece(struct fill *f)
{
	for (uint32_t i = 0; i < f->n_pieces; i++)
		if (!f->pieces[i].is_in_hand)
			return f->pieces[i].is_landed ? &f->pieces[i] : NULL;
	return NULL;
}

uint32_t fill_for(const struct core *c, uint32_t worker, bool is_wanted_due)
{
	uint32_t own = c->workers[worker].fill;

	for (uint32_t i = 0; i < c->n_fills; i++) {
		struct fill *f = &c->fills[i];

		if (f->request == NONE || f->end != FILL_GOES_ON || (own == NONE ? f->worker != NONE : own != i))
			continue;
		if (next_piece(f) && (!is_wanted_due || is_due(c, f->request)))
			return i;
	}
	return NONE;
}

uint32_t fill_take(struct core *c, uint32_t fill, uint32_t worker)
{
	struct fill *f = &c->fills[fill];
	struct piece *p = next_piece(f);

	f->worker = worker;
	c->workers[worker].fill = fill;
	p->is_in_hand = true;
	f->n_in_hand++;
	return p->request;
}

void fill_message(const struct core *c, const struct hand *h, struct task_inflate *ret)
{
	struct fill *f = &c->fills[h->fill];
	const struct request *r = &c->requests[f->request];
	const struct sample_unit *u = unit_of(c, f);
	const struct piece *p = piece_of(f, h->piece);
	uint64_t end = c->requests[p->request].offset + p->at + p->n_bytes;

	*ret = (struct task_inflate){.from = (uint64_t)c->requests[p->request].page * CORE_PAGE + p->at,
				     .n_bytes = p->n_bytes, .into = (uint64_t)r->page * CORE_PAGE,
				     .n_raw = u->n_raw, .unit = r->unit};
	if (c->requests[p->request].offset + p->at == u->offset)
		ret->flags |= TASK_INFLATE_FIRST;
	if (end == u->offset + u->n_bytes)
		ret->flags |= TASK_INFLATE_LAST;
}

static void tell_mended(struct core *c, const struct fill *f)
{
	struct core_action *a = action_add(c, CORE_MENDED, NONE);

	a->mended.feed = c->requests[f->request].feed;
	a->mended.shard = c->requests[f->request].shard;
	a->mended.sample = UINT64_MAX;
	a->mended.offset = unit_of(c, f)->offset;
	c->totals.n_mended++;
}

/* The oldest piece in hand is back. */
static void take_back(struct core *c, struct fill *f)
{
	uint32_t request = f->pieces[0].request;

	assert(f->n_in_hand > 0 && f->pieces[0].is_in_hand);
	f->n_in_hand--;
	f->n_pieces--;
	memmove(&f->pieces[0], &f->pieces[1], f->n_pieces * sizeof(f->pieces[0]));
	c->requests[request].fill = NONE;
	request_put(c, request);
}

void fill_answered(struct core *c, uint32_t fill, const struct answer_sample *said)
{
	struct fill *f = &c->fills[fill];
	const struct sample_unit *u = unit_of(c, f);

	take_back(c, f);
	if (said->code == ANSWER_BAD && f->end == FILL_GOES_ON) {
		snprintf(f->detail, sizeof(f->detail), "%s", said->detail);
		end_with(c, f, ++f->n_damaged < DAMAGE_TRIES ? FILL_AGAIN : FILL_DAMAGED);
	} else if (f->end != FILL_GOES_ON) {
		settle(c, f);
	} else if (f->n_asked == u->n_bytes && f->n_pieces == 0) {
		leave_worker(c, f);
		if (f->n_damaged)
			tell_mended(c, f);
		unit_landed(c, f->request);
		fill_free(c, fill);
	}
}

/* The worker is dead that had a piece of it in hand, or inflates it: is_blamed: it died on it. */
void fill_worker_dead(struct core *c, uint32_t fill, bool is_blamed, bool has_overrun)
{
	struct fill *f = &c->fills[fill];
	enum fill_end end = FILL_AGAIN;

	while (f->n_in_hand > 0)
		take_back(c, f);
	f->worker = NONE;
	if (f->end != FILL_DAMAGED) /* that one says where it is damaged */
		snprintf(f->detail, sizeof(f->detail), "the frame at offset %llu of the shard",
			 (unsigned long long)unit_of(c, f)->offset);
	if (is_blamed && has_overrun && ++f->n_overruns >= CRASH_TRIES)
		end = FILL_OVERRUN;
	else if (is_blamed && !has_overrun && ++f->n_deaths >= CRASH_TRIES)
		end = FILL_DEADLY;
	end_with(c, f, end);
}
