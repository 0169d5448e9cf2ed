/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Workers and what they have in hand. A worker works through its tasks in the order it got them, so
 * the oldest is the one it was on when it died: its samples are tried again one by one, the other
 * task goes back unblamed.
 */
#include "core/state.h"

#include <assert.h>
#include <string.h>

enum { TASK_NS = 1000000 }; /* work worth one message each way */

/* ---- giving out ---- */

static struct hand *new_hand(struct core *c, uint32_t worker, uint32_t slot, bool has_large)
{
	struct worker *w = &c->workers[worker];
	struct hand *h = &w->hands[w->n_hands];

	*h = (struct hand){.id = c->next_task++, .slot = slot, .has_large = has_large, .fill = NONE,
			   .cpu_began_ns = UINT64_MAX};
	w->had_piece = false;
	if (w->n_hands++ == 0)
		h->deadline_ns = c->now_ns + c->spec.task_timeout_ns;
	if (has_large)
		c->large_worker = worker;
	return h;
}

static void mark_tasked(struct core *c, uint32_t job)
{
	c->jobs[job].state = JOB_TASKED;
	c->slots[c->jobs[job].slot].n_tasked++;
}

static void hand_add(struct core *c, struct hand *h, uint32_t job)
{
	mark_tasked(c, job);
	for (uint32_t i = c->jobs[job].first_rider; i != NONE; i = c->jobs[i].next_rider)
		mark_tasked(c, i);
	h->n_targets += c->jobs[job].n_riders;
	h->jobs[h->n_jobs++] = job;
}

static void hand_out(struct core *c, uint32_t worker, const struct hand *h)
{
	struct core_action *a = action_add(c, CORE_TASK, NONE);

	a->task.worker = worker;
	a->task.id = h->id;
	c->totals.n_tasks++;
	c->totals.n_samples += h->n_jobs;
}

/* A job that must go by itself: one that killed a worker, or one that needs the large scratch. */
static bool give_single(struct core *c, uint32_t worker)
{
	bool is_idle = c->workers[worker].n_hands == 0, is_large_free = c->large_worker == NONE;
	struct hand *h;
	uint32_t job = NONE;

	if (c->alone.head != NONE && is_idle && (is_large_free || !c->jobs[c->alone.head].is_large))
		job = job_pop(c, &c->alone);
	else if (c->large.head != NONE && is_large_free)
		job = job_pop(c, &c->large);
	if (job == NONE)
		return false;
	h = new_hand(c, worker, c->jobs[job].slot, c->jobs[job].is_large);
	hand_add(c, h, job);
	hand_out(c, worker, h);
	return true;
}

/* The next piece of a unit: at once when rows wait for it, else in turns with rows, when they have had theirs. */
static bool give_piece(struct core *c, uint32_t worker, bool is_due)
{
	uint32_t fill = fill_for(c, worker, is_due);
	struct hand *h;

	if (fill == NONE)
		return false;
	h = new_hand(c, worker, NONE, false);
	h->fill = fill;
	h->piece = fill_take(c, fill, worker);
	c->workers[worker].had_piece = true;
	hand_out(c, worker, h);
	return true;
}

static uint32_t samples_per_task(const struct core *c, uint32_t feed)
{
	uint64_t ns = c->feeds[feed].ns_per_sample, n = ns ? TASK_NS / ns : 1;

	return n < 1 ? 1 : n > TASK_SAMPLES_MAX ? TASK_SAMPLES_MAX : (uint32_t)n;
}

/* The oldest batch of the track that has rows to make, or NONE. */
static uint32_t batch_to_do(const struct core *c, const struct track *t)
{
	for (uint32_t i = t->batches.head; i != NONE; i = c->slots[i].next)
		if (c->slots[i].staged.head != NONE)
			return i;
	return NONE;
}

static bool give_batch(struct core *c, uint32_t worker)
{
	for (uint32_t i = 0; i < c->n_tracks; i++) {
		uint32_t t = (c->task_turn + i) % c->n_tracks, slot, n;
		struct hand *h;

		if (!c->tracks[t].is_used)
			continue;
		slot = batch_to_do(c, &c->tracks[t]);
		if (slot == NONE)
			continue;
		h = new_hand(c, worker, slot, false);
		n = samples_per_task(c, c->tracks[t].feed);
		while (n-- && c->slots[slot].staged.head != NONE &&
		       h->n_targets + c->jobs[c->slots[slot].staged.head].n_riders <= TASK_TARGETS_MAX)
			hand_add(c, h, job_pop(c, &c->slots[slot].staged));
		hand_out(c, worker, h);
		c->task_turn = t + 1; /* tracks take turns */
		return true;
	}
	return false;
}

static bool give(struct core *c, uint32_t worker)
{
	if (worker >= c->n_working) /* it only ends what it has begun */
		return c->workers[worker].fill != NONE && give_piece(c, worker, false);
	if (give_single(c, worker) || give_piece(c, worker, true))
		return true;
	if (!c->workers[worker].had_piece && give_piece(c, worker, false))
		return true;
	return give_batch(c, worker) || give_piece(c, worker, false);
}

void tasks_dispatch(struct core *c)
{
	/* Idle workers first, then a second task in hand for the busy ones. */
	for (uint32_t n_hands = 0; n_hands < CORE_HAND; n_hands++) {
		if (n_hands > 0 && c->alone.head != NONE)
			return; /* it needs an idle worker: busy ones get no more until one is */
		for (uint32_t i = 0; i < c->spec.n_workers; i++) {
			const struct worker *w = &c->workers[i];

			if (!w->is_up || w->is_killed || w->n_hands != n_hands)
				continue;
			if (actions_left(c) < ACTIONS_SLACK) {
				c->is_dirty = true;
				return;
			}
			if (!give(c, i) && c->n_fills == 0 && i < c->n_working)
				return; /* the others would get none either; pieces are for one worker alone */
		}
	}
}

static size_t piece_message(const struct core *c, const struct hand *h, struct task *task, size_t room)
{
	struct task_inflate *inflate = (struct task_inflate *)(task + 1);

	assert(sizeof(*task) + sizeof(*inflate) <= room);
	*task = (struct task){.id = h->id, .kind = TASK_INFLATE, .n_samples = 1,
			      .feed = c->requests[c->fills[h->fill].request].feed};
	fill_message(c, h, inflate);
	return sizeof(*task) + sizeof(*inflate);
}

static struct task_target target_of(const struct core *c, const struct job *j)
{
	const uint32_t feed = c->slots[j->slot].feed;

	return (struct task_target){.feed = feed, .slot = j->slot - c->feeds[feed].first_slot, .row = j->row};
}

static size_t rows_message(const struct core *c, const struct hand *h, void *ret, size_t room)
{
	const struct slot *slot = &c->slots[h->slot];
	const struct feed_state *f = &c->feeds[slot->feed];
	unsigned n_fields = f->feed.samples->n_fields;
	size_t n = sizeof(struct task) + h->n_jobs * (sizeof(struct task_sample) +
						      n_fields * sizeof(struct task_extent)) +
		   h->n_targets * sizeof(struct task_target);
	struct task *task = ret;
	struct task_sample *samples = (struct task_sample *)(task + 1);
	struct task_extent *extents = (struct task_extent *)(samples + h->n_jobs);
	struct task_target *target = (struct task_target *)(extents + h->n_jobs * n_fields);

	assert(n <= room);
	*task = (struct task){.id = h->id, .seed = f->feed.order.seed, .epoch = slot->place.epoch,
			      .feed = slot->feed, .slot = h->slot - f->first_slot,
			      .n_samples = h->n_jobs, .has_large = h->has_large};
	for (uint32_t i = 0; i < h->n_jobs; i++) {
		const struct job *j = &c->jobs[h->jobs[i]];

		samples[i] = (struct task_sample){.position = j->position, .sample = j->sample,
						  .row = j->row, .n_more = j->n_riders};
		samples[i].flags = j->is_masked ? TASK_SAMPLE_MASK
				   : j->is_padded ? 0 : TASK_SAMPLE_VALID;
		for (unsigned k = 0; k < n_fields; k++) {
			const struct extent *x = &c->extents[h->jobs[i] * c->n_fields + k];
			struct task_extent *to = &extents[i * n_fields + k];

			*to = (struct task_extent){0};
			if (x->request == NONE)
				continue; /* masked */
			to->at = (uint64_t)c->requests[x->request].page * CORE_PAGE + x->at;
			to->n_bytes = x->n_bytes;
			to->size = x->size;
		}
		for (uint32_t k = j->first_rider; k != NONE; k = c->jobs[k].next_rider)
			*target++ = target_of(c, &c->jobs[k]);
	}
	return n;
}

size_t core_task_message(const struct core *c, unsigned worker, uint64_t id, void *ret, size_t room)
{
	const struct worker *w = &c->workers[worker];
	const struct hand *h = w->n_hands && w->hands[0].id == id ? &w->hands[0] : &w->hands[1];

	assert(w->n_hands && h->id == id);
	return h->fill != NONE ? piece_message(c, h, ret, room) : rows_message(c, h, ret, room);
}

/* ---- taking back ---- */

static void drop_hand(struct core *c, struct worker *w, uint32_t worker)
{
	if (w->hands[0].has_large && c->large_worker == worker)
		c->large_worker = NONE;
	w->n_hands--;
	memmove(&w->hands[0], &w->hands[1], w->n_hands * sizeof(w->hands[0]));
	if (w->n_hands)
		w->hands[0].deadline_ns = c->now_ns + c->spec.task_timeout_ns;
}

/* Takes the job, and those that ride on it, out of the worker's hand; false when nobody wants it any more. */
static bool untask(struct core *c, uint32_t job)
{
	struct job *j = &c->jobs[job];

	j->state = JOB_STAGED; /* in nobody's hand and in no list: the caller settles it */
	slot_untask(c, j->slot);
	for (uint32_t i = j->first_rider, next; i != NONE; i = next) {
		next = c->jobs[i].next_rider;
		c->jobs[i].state = JOB_RIDING;
		slot_untask(c, c->jobs[i].slot);
		if (c->jobs[i].is_cancelled)
			job_free(c, i);
	}
	if (!j->is_cancelled)
		return true;
	if (j->first_rider == NONE) {
		job_free(c, job);
		return false;
	}
	team_hand_over(c, job, false);
	return true;
}

static void fill_row(struct core *c, const struct job *j, uint8_t cause)
{
	struct slot *slot = &c->slots[j->slot];

	if (cause != CAUSE_none)
		slot->causes[cause]++;
	if (++slot->n_filled == slot->n_rows) {
		slot->state = SLOT_READY;
		slot->ready_ns = c->now_ns;
	}
}

static void row_done(struct core *c, uint32_t job)
{
	const struct job *j = &c->jobs[job];

	if (j->n_damaged)
		job_mended(c, job);
	c->feeds[j->feed].n_made++;
	while (j->first_rider != NONE) {
		fill_row(c, &c->jobs[j->first_rider], j->own_cause);
		job_free(c, j->first_rider);
	}
	fill_row(c, j, j->own_cause);
	job_free(c, job);
}

/* What was read may not be what is stored: then it is read once more. What was inflated has been checked. */
static bool is_doubted(struct core *c, uint32_t job, const struct answer_sample *said)
{
	if (said->code == ANSWER_BAD ? !cause_is_doubtful(said->cause) : said->code != ANSWER_CHANGED)
		return false;
	if (c->requests[c->extents[job * c->n_fields].request].unit != NONE)
		return false;
	return ++c->jobs[job].n_damaged < DAMAGE_TRIES;
}

static void settle_sample(struct core *c, uint32_t job, const struct answer_sample *said)
{
	if (is_doubted(c, job, said)) {
		c->totals.n_retries++;
		job_unread(c, job);
		return;
	}
	switch (said->code) {
	case ANSWER_DONE:
		row_done(c, job);
		break;
	case ANSWER_BAD:
		job_bad(c, job, said->cause, said->detail);
		break;
	case ANSWER_NEED_LARGE:
		c->jobs[job].is_large = true;
		job_staged(c, job);
		break;
	default:
		job_changed(c, job);
	}
}

static bool is_truthful(const struct core *c, const struct hand *h, const void *bytes, size_t n)
{
	const struct answer *a = bytes;
	const struct answer_sample *samples = (const struct answer_sample *)(a + 1);

	uint32_t n_samples = h->fill != NONE ? 1 : h->n_jobs;

	if (n < sizeof(*a) || a->id != h->id || a->n_samples != n_samples ||
	    n != sizeof(*a) + n_samples * sizeof(*samples))
		return false;
	if (h->fill != NONE) /* n_jobs is 0: its one answer is not for a job */
		return memchr(samples->detail, 0, sizeof(samples->detail)) &&
		       (samples->code == ANSWER_DONE ||
			(samples->code == ANSWER_BAD && samples->cause == CAUSE_damaged_unit));
	for (uint32_t i = 0; i < h->n_jobs; i++) {
		const struct answer_sample *s = &samples[i];

		if (s->code > ANSWER_CHANGED || s->cause >= CAUSE_COUNT ||
		    (s->code == ANSWER_BAD && s->cause == CAUSE_none) ||
		    (s->code == ANSWER_NEED_LARGE && h->has_large) ||
		    (s->code != ANSWER_DONE && c->jobs[h->jobs[i]].is_masked) ||
		    memchr(s->detail, 0, sizeof(s->detail)) == NULL)
			return false;
	}
	return true;
}

bool core_on_answer(struct core *c, uint64_t now_ns, unsigned worker, const void *bytes, size_t n)
{
	struct worker *w = &c->workers[worker];
	const struct answer *a = bytes;
	const struct answer_sample *samples = (const struct answer_sample *)(a + 1);
	struct feed_state *f;
	struct hand h;

	core_begin(c, now_ns);
	if (!w->n_hands || w->is_killed || !is_truthful(c, &w->hands[0], bytes, n)) {
		w->is_killed = true; /* no more tasks for it */
		return false;
	}
	h = w->hands[0];
	drop_hand(c, w, worker);
	if (h.fill != NONE) {
		fill_answered(c, h.fill, samples);
		return true;
	}
	f = &c->feeds[c->slots[h.slot].feed];
	if (!h.has_large && h.n_jobs) {
		uint64_t each = a->cpu_ns / h.n_jobs + 1;

		f->ns_per_sample = f->ns_per_sample ? (7 * f->ns_per_sample + each) / 8 : each;
	}
	for (uint32_t i = 0; i < h.n_jobs; i++) {
		f->n_warnings += samples[i].n_warnings;
		if (untask(c, h.jobs[i]))
			settle_sample(c, h.jobs[i], &samples[i]);
	}
	return true;
}

bool core_worker_is_idle(const struct core *c, unsigned worker)
{
	return c->workers[worker].is_up && c->workers[worker].n_hands == 0 && c->workers[worker].fill == NONE;
}

/* ---- workers come and go ---- */

void core_on_worker_up(struct core *c, uint64_t now_ns, unsigned worker)
{
	core_begin(c, now_ns);
	assert(!c->workers[worker].is_up);
	c->workers[worker] = (struct worker){.is_up = true, .fill = NONE};
}

static void blame(struct core *c, uint32_t job, bool has_overrun)
{
	struct job *j = &c->jobs[job];

	c->totals.n_retries++;
	j->is_alone = true;
	if (j->is_masked) { /* zero bytes: whatever killed the worker, it was not the sample */
		job_staged(c, job);
		return;
	}
	if (has_overrun ? ++j->n_overruns >= CRASH_TRIES : ++j->n_deaths >= CRASH_TRIES) {
		if (has_overrun)
			job_transient(c, job, CAUSE_overrun, 0);
		else
			job_bad(c, job, CAUSE_worker_died, "");
		return;
	}
	job_staged(c, job);
}

static void put_back(struct core *c, const struct hand *h, bool is_blamed, bool has_overrun)
{
	for (uint32_t i = 0; i < h->n_jobs; i++) {
		if (!untask(c, h->jobs[i]))
			continue;
		if (is_blamed)
			blame(c, h->jobs[i], has_overrun);
		else
			job_staged(c, h->jobs[i]);
	}
}

void core_on_worker_dead(struct core *c, uint64_t now_ns, unsigned worker)
{
	struct worker gone = c->workers[worker];

	core_begin(c, now_ns);
	c->workers[worker] = (struct worker){.fill = NONE};
	if (c->large_worker == worker)
		c->large_worker = NONE;
	c->totals.n_worker_deaths += gone.is_up && (worker < c->n_working || gone.n_hands);
	for (uint32_t i = 0; i < gone.n_hands; i++)
		if (gone.hands[i].fill == NONE)
			put_back(c, &gone.hands[i], i == 0, gone.has_overrun);
	if (gone.fill != NONE)
		fill_worker_dead(c, gone.fill, gone.n_hands && gone.hands[0].fill != NONE, gone.has_overrun);
}

static void end_overrun(struct core *c, uint32_t worker)
{
	c->workers[worker].is_killed = c->workers[worker].has_overrun = true;
	action_add(c, CORE_KILL_WORKER, NONE)->task.worker = worker;
}

void core_on_worker_cpu(struct core *c, uint64_t now_ns, unsigned worker, uint64_t cpu_ns)
{
	struct worker *w = &c->workers[worker];
	struct hand *h = &w->hands[0];

	core_begin(c, now_ns);
	if (!w->n_hands || w->is_killed)
		return;
	if (h->cpu_began_ns == UINT64_MAX)
		h->cpu_began_ns = cpu_ns;
	else if (cpu_ns - h->cpu_began_ns > c->spec.task_cpu_ns)
		end_overrun(c, worker);
	else if (cpu_ns > w->cpu_ns)
		h->deadline_ns = now_ns + c->spec.task_timeout_ns;
	w->cpu_ns = cpu_ns;
}

void tasks_time(struct core *c)
{
	for (uint32_t i = 0; i < c->spec.n_workers; i++) {
		const struct worker *w = &c->workers[i];

		if (w->n_hands && !w->is_killed && w->hands[0].deadline_ns <= c->now_ns)
			end_overrun(c, i);
	}
}
