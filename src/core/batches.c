/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Batches of a track: opened in its order when a slot is free, filled row by row in any order. */
#include "core/state.h"

#include <assert.h>
#include <string.h>

bool slot_is_free(const struct slot *slot)
{
	return slot->state == SLOT_FREE && slot->n_holders == 0 && !slot->is_draining;
}

static uint32_t find_free_slot(const struct core *c, const struct track *t)
{
	for (uint32_t i = 0; i < t->n_slots; i++)
		if (slot_is_free(&c->slots[t->slots[i]]))
			return t->slots[i];
	return NONE;
}

/* The job of the next row of the opening batch: read ahead already, or made now. */
static uint32_t take_job(struct core *c, uint32_t track)
{
	struct track *t = &c->tracks[track];
	uint32_t job;

	while (t->ahead.head == NONE) {
		job = job_make(c, track);
		if (job != NONE && c->jobs[job].state == JOB_UNREAD)
			job_push_front(c, &t->unread_ahead, job); /* state and list agree */
	}
	job = t->ahead.head;
	t->ahead.head = c->jobs[job].next_ahead;
	if (t->ahead.head == NONE)
		t->ahead.tail = NONE;
	c->n_ahead--;
	return job;
}

static void add_row(struct core *c, uint32_t track, uint32_t slot, uint32_t row)
{
	uint32_t job = take_job(c, track);
	struct job *j = &c->jobs[job];

	assert(j->row == row && j->epoch == c->slots[slot].place.epoch);
	j->slot = slot;
	c->slots[slot].n_padded += j->is_padded;
	c->slots[slot].n_waiting++;
	team_check(c, job);
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

static void open_batch(struct core *c, uint32_t track, uint32_t slot)
{
	struct track *t = &c->tracks[track];
	struct cursor *cur = &t->open;
	struct slot *to = &c->slots[slot];
	uint32_t n = (uint32_t)pass_batch_length(&cur->pass, cur->step, t->rank);

	memset(to->causes, 0, sizeof(to->causes));
	to->state = SLOT_FILLING;
	to->opened_ns = to->staged_ns = to->ready_ns = c->now_ns;
	to->place = cursor_place(cur);
	to->step = step_at(&cur->pass, to->place.position);
	to->n_rows = n;
	to->n_filled = to->n_tasked = to->n_padded = to->n_waiting = 0;
	to->staged = list_empty();
	to->is_last = cur->step + 1 == pass_n_batches(&cur->pass);
	pass_after(&cur->pass, cur->epoch, cur->step, &to->after.epoch, &to->after.position);
	slot_append(c, &t->batches, slot);
	cursor_next_batch(cur); /* first: to the rows' teams this batch is open */
	for (uint32_t i = 0; i < n; i++)
		add_row(c, track, slot, i);
	if (n == 0)
		to->state = SLOT_READY;
}

void batches_open(struct core *c, uint32_t track)
{
	uint32_t slot;

	while ((slot = find_free_slot(c, &c->tracks[track])) != NONE)
		open_batch(c, track, slot);
}

void slot_untask(struct core *c, uint32_t slot)
{
	struct slot *s = &c->slots[slot];

	assert(s->n_tasked > 0);
	s->n_tasked--;
	if (s->n_tasked == 0)
		s->is_draining = false;
}
