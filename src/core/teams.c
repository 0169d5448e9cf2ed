/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Teams: where groups share a pass but not their tracks (another world size, batch, view), a sample is read and
 * decoded once all the same. The first track that comes to a position makes the job that leads; jobs of the
 * others ride on it: they have a row of their own and nothing else. The leader is due, and goes to a worker, when
 * every track that wants the position has a row for it; until then it is read ahead, whatever rows it has. So the
 * slowest track holds the others back, and no cycle can arise: all come to the positions in the same order.
 *
 * Leaders that are not due are found by their position in a table of chains.
 */
#include "core/state.h"

#include <assert.h>

static bool is_coupled(const struct core *c, uint32_t feed)
{
	return c->feeds[feed].feed.window > 0;
}

static uint32_t *chain_of(struct core *c, const struct job *j)
{
	uint64_t h = (j->position + j->epoch * 0x9E3779B97F4A7C15u + j->feed) * 0xBF58476D1CE4E5B9u;

	return &c->chains[(h >> 32) & (c->n_chains - 1)];
}

static void unchain(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	uint32_t *link;

	if (!j->is_chained)
		return;
	link = chain_of(c, j);
	while (*link != job)
		link = &c->jobs[*link].next_alike;
	*link = j->next_alike;
	j->is_chained = false;
}

/* Has the track still to open the batch that holds the position? */
static bool will_want(const struct track *t, const struct job *j)
{
	struct pass pass = t->open.pass;

	if (j->position % t->world != t->rank ||
	    place_compare((struct place){j->epoch, j->position}, cursor_place(&t->open)) < 0)
		return false;
	if (j->epoch != t->open.epoch)
		pass.start = 0;
	return j->position < pass.start + pass_n_batches(&pass) * pass.batch * pass.world;
}

bool team_is_complete(const struct core *c, uint32_t job)
{
	const struct job *j = &c->jobs[job];

	if (j->slot == NONE)
		return false;
	for (uint32_t i = j->first_rider; i != NONE; i = c->jobs[i].next_rider)
		if (c->jobs[i].slot == NONE)
			return false;
	for (uint32_t i = 0; is_coupled(c, j->feed) && i < c->n_tracks; i++) {
		const struct track *t = &c->tracks[i];

		/* One that has a row for it has opened that batch. */
		if (t->is_used && c->feeds[t->feed].feed.base == j->feed && will_want(t, j))
			return false;
	}
	return true;
}

/* Its rows are all there, or there is only one: from now on it is wanted at once. */
static void make_due(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	struct track *t = &c->tracks[j->track];

	j->is_due = true;
	unchain(c, job);
	for (uint32_t i = job; i != NONE; i = i == job ? j->first_rider : c->jobs[i].next_rider)
		c->slots[c->jobs[i].slot].n_waiting--;
	assert(t->ahead_bytes >= j->bytes);
	t->ahead_bytes -= j->bytes;
	j->bytes = 0;
	if (j->state == JOB_UNREAD) {
		job_remove(c, &t->unread_ahead, job);
		job_push(c, &t->unread, job);
	} else if (j->state == JOB_STAGED) {
		job_staged(c, job);
	}
}

void team_check(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	if (j->state == JOB_RIDING)
		job = j->leader;
	if (!c->jobs[job].is_due && team_is_complete(c, job))
		make_due(c, job);
}

void team_check_all(struct core *c, uint32_t feed)
{
	for (uint32_t i = 0; is_coupled(c, feed) && i < c->n_jobs; i++) {
		const struct job *j = &c->jobs[i];

		if (j->state != JOB_FREE && j->state != JOB_RIDING && j->feed == c->feeds[feed].feed.base)
			team_check(c, i);
	}
}

void team_join(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	uint32_t *chain;

	if (!is_coupled(c, j->feed))
		return;
	chain = chain_of(c, j);
	for (uint32_t i = *chain; i != NONE; i = c->jobs[i].next_alike) {
		struct job *leader = &c->jobs[i];

		if (leader->position != j->position || leader->epoch != j->epoch || leader->feed != j->feed ||
		    leader->track == j->track)
			continue;
		j->state = JOB_RIDING;
		j->leader = i;
		j->next_rider = leader->first_rider;
		leader->first_rider = job;
		leader->n_riders++;
		return;
	}
	j->next_alike = *chain;
	*chain = job;
	j->is_chained = true;
}

void team_leave(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];
	uint32_t *link;

	unchain(c, job);
	if (j->leader == NONE)
		return;
	link = &c->jobs[j->leader].first_rider;
	while (*link != job)
		link = &c->jobs[*link].next_rider;
	*link = j->next_rider;
	c->jobs[j->leader].n_riders--;
	j->leader = NONE;
}

/* In the rider's track, the leader takes the rider's place. */
static void replace_ahead(struct core *c, struct track *t, uint32_t rider, uint32_t leader)
{
	uint32_t *link = &t->ahead.head;

	while (*link != rider)
		link = &c->jobs[*link].next_ahead;
	c->jobs[leader].next_ahead = c->jobs[rider].next_ahead;
	*link = leader;
	if (t->ahead.tail == rider)
		t->ahead.tail = leader;
}

void team_hand_over(struct core *c, uint32_t job, bool is_listed)
{
	struct job *j = &c->jobs[job], *heir = &c->jobs[j->first_rider];
	uint32_t rider = j->first_rider;
	struct track *from = &c->tracks[j->track], *to = &c->tracks[heir->track];
	bool is_in_slot = is_listed && j->state == JOB_STAGED && j->is_due && !j->is_alone && !j->is_large;

	if (is_listed && j->state == JOB_UNREAD)
		job_remove(c, j->is_due ? &from->unread : &from->unread_ahead, job);
	if (is_in_slot)
		job_remove(c, &c->slots[j->slot].staged, job);
	from->ahead_bytes -= j->bytes;
	to->ahead_bytes += j->bytes;
	if (j->slot == NONE)
		c->n_ahead--;
	if (heir->slot == NONE)
		replace_ahead(c, to, rider, job);
	j->track = heir->track;
	j->slot = heir->slot;
	j->row = heir->row;
	j->is_cancelled = false;
	if (is_listed && j->state == JOB_UNREAD)
		job_push(c, j->is_due ? &to->unread : &to->unread_ahead, job);
	if (is_in_slot)
		job_push(c, &c->slots[j->slot].staged, job);
	heir->slot = 0; /* it was counted ahead as whoever takes its place is now */
	heir->bytes = 0;
	job_free(c, rider);
}
