/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Batches of a stream: opened in its order when a slot is free, filled row by row in any order, lent in
 * order as far as the trainer's credit goes.
 */
#include "core/state.h"

#include <assert.h>
#include <string.h>

void cursor_set(struct core *c, uint32_t stream, struct cursor *cur, uint64_t epoch, uint64_t position)
{
	const struct stream *s = &c->streams[stream];
	const struct core_feed *feed = &c->feeds[s->feed].feed;
	const struct group *g = &c->groups[s->group];

	*cur = (struct cursor){.epoch = epoch};
	cur->pass.n_samples = feed->n_positions;
	cur->pass.start = position;
	cur->pass.world = g->world;
	cur->pass.batch = s->batch ? s->batch : feed->batch_size ? feed->batch_size : feed->batch_global / g->world;
	cur->pass.last = feed->last;
}

void cursor_next_batch(struct cursor *cur)
{
	cur->row = 0;
	if (++cur->step < pass_n_batches(&cur->pass))
		return;
	cur->step = 0;
	cur->epoch++;
	cur->pass.start = 0;
}

/* ---- opening ---- */

static uint32_t find_free_slot(const struct core *c, const struct stream *s)
{
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (c->slots[s->slots[i]].state == SLOT_FREE)
			return s->slots[i];
	return NONE;
}

/* The job of the next row of the opening batch: read ahead already, or made now. */
static uint32_t take_job(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	uint32_t job;

	while (s->ahead.head == NONE) {
		job = job_make(c, stream);
		if (job != NONE)
			job_push_front(c, &s->unread_ahead, job); /* state and list agree */
	}
	job = s->ahead.head;
	s->ahead.head = c->jobs[job].next_ahead;
	if (s->ahead.head == NONE)
		s->ahead.tail = NONE;
	c->n_ahead--;
	return job;
}

static void add_row(struct core *c, uint32_t stream, uint32_t slot, uint32_t row)
{
	struct stream *s = &c->streams[stream];
	uint32_t job = take_job(c, stream);
	struct job *j = &c->jobs[job];

	assert(j->row == row && j->epoch == c->slots[slot].epoch);
	j->slot = slot;
	c->slots[slot].n_padded += j->is_padded;
	if (j->state == JOB_UNREAD) {
		job_remove(c, &s->unread_ahead, job);
		job_push(c, &s->unread, job);
		return;
	}
	assert(s->ahead_bytes >= j->bytes);
	s->ahead_bytes -= j->bytes;
	j->bytes = 0;
	if (j->state == JOB_STAGED)
		job_staged(c, job);
}

static void slot_append(struct core *c, struct list *l, uint32_t slot)
{
	c->slots[slot].next = NONE;
	if (l->tail == NONE)
		l->head = slot;
	else
		c->slots[l->tail].next = slot;
	l->tail = slot;
}

static void open_batch(struct core *c, uint32_t stream, uint32_t slot)
{
	struct stream *s = &c->streams[stream];
	struct cursor *cur = &s->open;
	struct slot *to = &c->slots[slot];
	uint32_t n = (uint32_t)pass_batch_length(&cur->pass, cur->step, s->rank);

	memset(to->causes, 0, sizeof(to->causes));
	to->state = SLOT_FILLING;
	to->opened_ns = to->staged_ns = to->ready_ns = c->now_ns;
	to->epoch = cur->epoch;
	/* From the position, not from the pass: a resumed one goes on counting. */
	to->step = cur->pass.start / (cur->pass.batch * cur->pass.world) + cur->step;
	to->position = cur->pass.start + cur->step * cur->pass.batch * cur->pass.world;
	to->n_rows = n;
	to->n_filled = to->n_tasked = to->n_padded = 0;
	to->staged = list_empty();
	to->is_draining = false;
	to->is_last = cur->step + 1 == pass_n_batches(&cur->pass);
	pass_after(&cur->pass, cur->epoch, cur->step, &to->epoch_after, &to->position_after);
	slot_append(c, &s->batches, slot);
	for (uint32_t i = 0; i < n; i++)
		add_row(c, stream, slot, i);
	if (n == 0)
		to->state = SLOT_READY;
	cursor_next_batch(cur);
}

void batches_open(struct core *c, uint32_t stream)
{
	uint32_t slot;

	if (!is_live(&c->streams[stream]))
		return; /* lending has just failed it */
	while ((slot = find_free_slot(c, &c->streams[stream])) != NONE)
		open_batch(c, stream, slot);
	batches_lend(c, stream); /* empty ones are full at once */
}

/* ---- lending ---- */

static bool is_over_limit(struct core *c, uint32_t stream, uint64_t bad_here, struct core_action *what)
{
	const struct stream *s = &c->streams[stream];
	const struct core_feed *feed = &c->feeds[s->feed].feed;
	double share = feed->bad_limit * (double)feed->n_positions;
	uint64_t allowed = share < 1 ? 1 : (uint64_t)share, n = bad_here;

	for (uint32_t i = 0; i < c->spec.n_streams; i++) {
		const struct stream *other = &c->streams[i];

		/* A dead one's count came back with the token of whoever took its place. */
		if (is_live(other) && other->group == s->group && other->lend_epoch == s->lend_epoch)
			n += other->bad;
	}
	*what = (struct core_action){.kind = CORE_FAIL, .stream = stream};
	what->bad.failure = CORE_FAIL_TOO_MANY_BAD;
	what->bad.feed = s->feed;
	what->bad.epoch = s->lend_epoch;
	what->bad.count = n;
	what->bad.allowed = allowed;
	return n > allowed;
}

static uint64_t count_bad(const struct slot *slot)
{
	uint64_t n = 0;

	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		n += slot->causes[i];
	return n;
}

static void end_epoch(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	struct core_action *a = action_add(c, CORE_EPOCH_END, stream);
	struct pass next = s->open.pass;

	next.start = 0;
	a->lend.n_batches = pass_n_batches(&next);
	a->lend.serial = s->serial;
	a->lend.epoch = s->lend_epoch;
	a->lend.epoch_after = ++s->lend_epoch;
	s->lend_start = s->bad = 0;
}

static void lend(struct core *c, uint32_t stream, uint32_t slot)
{
	struct stream *s = &c->streams[stream];
	struct feed_state *f = &c->feeds[s->feed];
	struct slot *from = &c->slots[slot];
	uint64_t bad = count_bad(from);
	struct core_action *a = action_add(c, CORE_LEND, stream);

	s->batches.head = from->next;
	if (s->batches.head == NONE)
		s->batches.tail = NONE;
	from->state = SLOT_LEASED;
	from->lease = c->next_lease++;
	s->n_lent++;
	s->bad += bad;
	s->n_bad += bad;
	s->n_due += from->n_rows;
	s->n_padded += from->n_padded;
	f->n_batches++;
	f->n_bad += bad;
	f->n_due += from->n_rows;
	f->n_padded += from->n_padded;
	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		f->causes[i] += from->causes[i];
	a->lend.slot = slot - f->first_slot;
	a->lend.n_rows = from->n_rows;
	a->lend.serial = s->serial;
	a->lend.lease = from->lease;
	a->lend.epoch = from->epoch;
	a->lend.step = from->step;
	a->lend.epoch_after = from->epoch_after;
	a->lend.position_after = from->position_after;
	a->lend.bad = from->is_last ? 0 : s->bad;
	a->lend.opened_ns = from->opened_ns;
	a->lend.staged_ns = from->staged_ns;
	a->lend.ready_ns = from->ready_ns;
	for (unsigned i = 0; i < CORE_WAITS; i++) {
		a->lend.waits_ns[i] = s->waits_ns[i] - s->lent_waits_ns[i];
		s->lent_waits_ns[i] = s->waits_ns[i];
	}
	if (from->is_last)
		end_epoch(c, stream);
}

void batches_lend(struct core *c, uint32_t stream)
{
	struct stream *s = &c->streams[stream];
	struct core_action what;

	if (s->is_empty_pass && is_live(s)) {
		s->is_empty_pass = false;
		end_epoch(c, stream);
	}
	while (is_live(s) && s->batches.head != NONE && s->n_lent < s->credit) {
		uint32_t slot = s->batches.head;
		uint64_t bad = count_bad(&c->slots[slot]);

		if (c->slots[slot].state != SLOT_READY)
			return;
		if (actions_left(c) < ACTIONS_SLACK) {
			c->is_dirty = true;
			return;
		}
		if (bad && is_over_limit(c, stream, bad, &what)) {
			stream_fail(c, stream, &what);
			return;
		}
		lend(c, stream, slot);
	}
}

bool core_on_release(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t lease)
{
	struct stream *s = &c->streams[stream];

	core_begin(c, now_ns);
	for (uint32_t i = 0; i < s->n_slots; i++) {
		struct slot *slot = &c->slots[s->slots[i]];

		if (slot->state != SLOT_LEASED || slot->lease != lease)
			continue;
		slot->state = SLOT_FREE;
		s->n_lent--;
		stream_settle(c, stream);
		return true;
	}
	return false;
}

void slot_untask(struct core *c, uint32_t slot)
{
	struct slot *s = &c->slots[slot];

	assert(s->n_tasked > 0);
	s->n_tasked--;
	if (s->is_draining && s->n_tasked == 0) {
		s->is_draining = false;
		s->state = SLOT_FREE;
		if (s->stream != NONE)
			stream_settle(c, s->stream);
	}
}
