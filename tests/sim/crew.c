/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The workers: what they have in hand, in the order they got it, and what becomes of the oldest: an answer,
 * a death, a hang, a lie.
 */
#include "sim.h"

#include <string.h>

enum { RESIZES = 3000 }; /* how often a worker that is up again comes with another number of them, as sim_odds has it */

struct said {
	struct answer head;
	struct answer_sample samples[TASK_SAMPLES_MAX + 2];
	size_t n;
};

/* Which sample of the task has a row of zeros, or NOBODY. */
static uint32_t find_masked(const struct sim_task *t)
{
	for (uint32_t i = 0; t->head.kind == TASK_ROWS && i < t->head.n_samples; i++)
		if (t->samples[i].flags & TASK_SAMPLE_MASK)
			return i;
	return NOBODY;
}

static void claim(struct said *a, uint32_t n_samples)
{
	a->head.n_samples = n_samples;
	a->n = sizeof(a->head) + n_samples * sizeof(a->samples[0]);
}

/* About which task, and how much. false: this lie is not to be had here. */
static bool lie_about_shape(struct sim *s, const struct sim_worker *w, enum fault lie, struct said *a)
{
	switch (lie) {
	case FAULT_lie_other_task:
		a->head.id += sim_between(s, CORE_HAND, 1000);
		return true;
	case FAULT_lie_older_task:
		a->head.id = w->answered;
		return w->answered != 0;
	case FAULT_lie_newer_task:
		a->head.id = w->tasks[1].head.id;
		claim(a, w->tasks[1].head.n_samples);
		return w->n_tasks > 1;
	case FAULT_lie_count:
		claim(a, a->head.n_samples + 1);
		return true;
	case FAULT_lie_fewer:
		claim(a, a->head.n_samples - 1);
		return true;
	case FAULT_lie_short:
		a->n -= sim_odds(s, 5000) ? 1 : sizeof(a->samples[0]);
		return true;
	case FAULT_lie_long:
		a->n += sim_odds(s, 5000) ? 1 : sizeof(a->samples[0]);
		return true;
	default:
		a->n = sim_odds(s, 5000) ? sizeof(a->head) - 1 : sim_below(s, sizeof(a->head));
		return lie == FAULT_lie_torn;
	}
}

/* What became of one of the samples. */
static bool lie_about_sample(struct sim *s, const struct sim_task *t, enum fault lie, struct answer_sample *a)
{
	switch (lie) {
	case FAULT_lie_code:
		a->code = sim_odds(s, 5000) ? ANSWER_CHANGED + 1 : (uint32_t)sim_between(s, ANSWER_CHANGED + 1, UINT32_MAX);
		return true;
	case FAULT_lie_cause:
		a->code = t->head.kind == TASK_ROWS && sim_odds(s, 5000) ? a->code : ANSWER_BAD;
		a->cause = sim_odds(s, 5000) ? CAUSE_COUNT : (uint32_t)sim_between(s, CAUSE_COUNT, UINT32_MAX);
		return true;
	case FAULT_lie_no_cause:
		a->code = ANSWER_BAD;
		a->cause = CAUSE_none;
		return true;
	case FAULT_lie_detail:
		memset(a->detail, 'x', sizeof(a->detail));
		return true;
	case FAULT_lie_need_large:
		a->code = ANSWER_NEED_LARGE;
		a->cause = CAUSE_none;
		return t->head.has_large;
	case FAULT_lie_unit:
		a->code = sim_odds(s, 3000) ? ANSWER_NEED_LARGE : sim_odds(s, 5000) ? ANSWER_BAD : ANSWER_CHANGED;
		a->cause = a->code == ANSWER_BAD ? CAUSE_damaged_image : CAUSE_none;
		return t->head.kind == TASK_INFLATE;
	default:
		return false;
	}
}

static void tell_lie(struct sim *s, const struct sim_worker *w, struct said *a)
{
	const struct sim_task *t = &w->tasks[0];
	const struct said truth = *a;

	for (;;) {
		enum fault lie = (enum fault)sim_between(s, FAULT_lie_other_task, FAULT_lie_unit);
		const uint32_t masked = find_masked(t);
		bool is_told;

		if (sim_odds(s, 3000)) /* where those can be told that can be so seldom */
			lie = t->head.has_large ? FAULT_lie_need_large : masked != NOBODY ? FAULT_lie_masked : lie;

		*a = truth;
		if (lie == FAULT_lie_unasked)
			continue;
		if (lie == FAULT_lie_masked && masked != NOBODY) {
			a->samples[masked].code = sim_odds(s, 5000) ? ANSWER_BAD : ANSWER_CHANGED;
			a->samples[masked].cause = a->samples[masked].code == ANSWER_BAD ? CAUSE_damaged_image : CAUSE_none;
			is_told = true;
		} else if (lie <= FAULT_lie_torn) {
			is_told = lie_about_shape(s, w, lie, a);
		} else {
			is_told = lie_about_sample(s, t, lie, &a->samples[sim_below(s, truth.head.n_samples)]);
		}
		if (is_told) {
			sim_fault(s, lie);
			return;
		}
	}
}

static void answer_sample(struct sim *s, const struct sim_task *t, uint32_t i,
			  struct answer_sample *ret)
{
	const struct task_sample *sample = &t->samples[i];
	bool is_again;

	*ret = (struct answer_sample){.code = ANSWER_DONE, .n_warnings = (uint32_t)(sample->sample % 3)};
	if (sample->flags & TASK_SAMPLE_MASK)
		return;
	if (world_is_large(s, t->head.feed, sample->sample) && !t->head.has_large) {
		ret->code = ANSWER_NEED_LARGE;
		sim_fault(s, FAULT_worker_need_large);
	} else if (disk_is_damaged(s, t, i, &is_again)) {
		ret->code = sim_odds(s, 2000) ? ANSWER_CHANGED : ANSWER_BAD;
		ret->cause = ret->code == ANSWER_BAD ? CAUSE_damaged_image : CAUSE_none;
		if (ret->code == ANSWER_CHANGED)
			sim_fault(s, FAULT_header_damaged);
	} else if (world_cause(s, t->head.feed, sample->sample) != CAUSE_none) {
		ret->code = ANSWER_BAD;
		ret->cause = world_cause(s, t->head.feed, sample->sample);
		sim_fault(s, FAULT_sample_bad);
	}
	if (ret->code == ANSWER_BAD)
		strcpy(ret->detail, SIM_DETAIL);
}

static void choose_fate(struct sim *s, uint32_t worker, uint64_t *ret_ns)
{
	struct sim_worker *w = &s->workers[worker];
	struct sim_task *t = &w->tasks[0];
	const struct odds *o = &s->world.odds;

	w->fate = WORKER_ANSWERS;
	*ret_ns = 10 * US;
	for (uint32_t i = 0; i < t->head.n_samples; i++)
		*ret_ns += sim_below(s, s->world.task_ns_max);
	if (*ret_ns > s->world.spec.task_timeout_ns * 9 / 10)
		*ret_ns = s->world.spec.task_timeout_ns * 9 / 10;
	for (w->victim = 0; t->head.kind == TASK_ROWS && w->victim < t->head.n_samples; w->victim++)
		if (!(t->samples[w->victim].flags & TASK_SAMPLE_MASK) &&
		    world_is_poison(s, t->head.feed, t->samples[w->victim].sample)) {
			w->fate = WORKER_DIES;
			return;
		}
	if (s->is_ending || s->is_calm)
		return;
	if (sim_odds(s, o->die))
		w->fate = WORKER_DIES;
	else if (sim_odds(s, o->hang))
		w->fate = WORKER_HANGS;
	else if (sim_odds(s, o->lie))
		w->fate = WORKER_LIES;
	else if (sim_odds(s, o->slow)) /* sometimes the answer crosses the kill */
		*ret_ns = s->world.spec.task_timeout_ns * sim_between(s, 90, w->is_working ? 500 : 110) / 100;
}

static void begin(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];
	uint64_t ns;

	if (w->n_tasks == 0 || w->is_doomed)
		return;
	clock_begin(s, worker);
	choose_fate(s, worker, &ns);
	w->began_ns = s->now;
	if (w->fate == WORKER_HANGS)
		sim_fault(s, w->tasks[0].head.kind == TASK_INFLATE ? FAULT_worker_hangs_inflating : FAULT_worker_hangs);
	if (ns > s->world.spec.task_timeout_ns && w->fate == WORKER_ANSWERS)
		sim_fault(s, w->is_working ? FAULT_worker_works_long : FAULT_worker_crosses);
	if (w->fate == WORKER_DIES) {
		w->is_doomed = true;
		sim_later(s, ns, EVENT_DEAD, worker, w->incarnation);
	} else if (w->fate != WORKER_HANGS) {
		sim_later(s, ns, EVENT_ANSWER, worker, w->incarnation);
	}
}

/* The rows of its samples and of their targets; returns how many targets. */
static size_t read_writes(struct sim *s, struct sim_task *t, const unsigned char *bytes, size_t n_bytes)
{
	struct task_target target;
	size_t n = 0;

	t->n_writes = 0;
	for (uint32_t i = 0; i < t->head.n_samples; i++) {
		t->writes[t->n_writes++] = (struct sim_write){.feed = t->head.feed, .slot = t->head.slot,
							      .row = t->samples[i].row, .sample = i};
		SIM_CHECK(s, n + t->samples[i].n_more <= TASK_TARGETS_MAX &&
			  (n + t->samples[i].n_more) * sizeof(target) <= n_bytes, "too many targets");
		for (uint32_t k = 0; k < t->samples[i].n_more; k++) {
			memcpy(&target, bytes + n++ * sizeof(target), sizeof(target));
			SIM_CHECK(s, target.reserved == 0, "a target");
			t->writes[t->n_writes++] = (struct sim_write){.feed = target.feed, .slot = target.slot,
								      .row = target.row, .sample = i};
		}
	}
	return n;
}

static void read_message(struct sim *s, uint32_t worker, uint64_t id, struct sim_task *t)
{
	static _Alignas(16) unsigned char bytes[SIM_MESSAGE_MAX];
	size_t n = core_task_message(s->core, worker, id, bytes, sizeof(bytes)), at = sizeof(t->head);
	size_t n_extents, n_targets;

	SIM_CHECK(s, n >= sizeof(t->head), "a task of %zu bytes", n);
	memcpy(&t->head, bytes, sizeof(t->head));
	if (t->head.kind == TASK_INFLATE) {
		SIM_CHECK(s, t->head.id == id && t->head.n_samples == 1 && t->head.feed < s->world.spec.n_feeds &&
			  !t->head.has_large && n == at + sizeof(t->inflate), "a piece");
		memcpy(&t->inflate, bytes + at, sizeof(t->inflate));
		return;
	}
	SIM_CHECK(s, t->head.kind == TASK_ROWS && t->head.id == id && t->head.n_samples > 0 &&
		  t->head.n_samples <= TASK_SAMPLES_MAX && t->head.feed < s->world.spec.n_feeds,
		  "a task of %u samples of feed %u", t->head.n_samples, t->head.feed);
	n_extents = t->head.n_samples * s->world.more[t->head.feed].samples.n_fields;
	SIM_CHECK(s, n >= at + t->head.n_samples * sizeof(t->samples[0]) +
		  n_extents * sizeof(t->extents[0]), "its length");
	memcpy(t->samples, bytes + at, t->head.n_samples * sizeof(t->samples[0]));
	at += t->head.n_samples * sizeof(t->samples[0]);
	memcpy(t->extents, bytes + at, n_extents * sizeof(t->extents[0]));
	at += n_extents * sizeof(t->extents[0]);
	n_targets = read_writes(s, t, bytes + at, n - at);
	SIM_CHECK(s, n == at + n_targets * sizeof(struct task_target), "its length");
	s->n_riders += n_targets;
}

void crew_take(struct sim *s, const struct core_action *a)
{
	struct sim_worker *w = &s->workers[a->task.worker];
	struct sim_task *t;

	SIM_CHECK(s, a->task.worker < s->world.spec.n_workers && w->is_up, "a task for no worker");
	SIM_CHECK(s, !w->is_condemned, "a task for a worker that is to be killed");
	SIM_CHECK(s, w->n_tasks < CORE_HAND, "a third task in hand");
	t = &w->tasks[w->n_tasks];
	read_message(s, a->task.worker, a->task.id, t);
	SIM_CHECK(s, a->task.worker < s->world.spec.n_workers - s->n_idle_workers ||
		  (t->head.kind == TASK_INFLATE && !(t->inflate.flags & TASK_INFLATE_FIRST)),
		  "a task for a worker that is not wanted");
	if (t->head.has_large)
		SIM_CHECK(s, ++s->n_large == 1 && t->head.n_samples == 1 &&
			  world_is_large(s, t->head.feed, t->samples[0].sample), "the large scratch is lent twice, or in vain");
	s->n_tasks++;
	if (t->head.kind == TASK_INFLATE) {
		inflate_take(s, a->task.worker, t);
	} else {
		s->n_task_samples += t->head.n_samples;
		oracle_task(s, t, w->n_tasks == 0);
		disk_pin(s, t);
	}
	if (w->n_tasks++ == 0)
		begin(s, a->task.worker);
}

/* Takes the oldest task out of the worker's hand. */
static void put_down(struct sim *s, struct sim_worker *w, const bool *is_done)
{
	if (w->tasks[0].head.kind == TASK_INFLATE) {
		inflate_over(s, (uint32_t)(w - s->workers), &w->tasks[0], is_done[0]);
	} else {
		disk_unpin(s, &w->tasks[0]);
		oracle_task_over(s, &w->tasks[0], is_done);
	}
	s->n_large -= w->tasks[0].head.has_large != 0;
	w->n_tasks--;
	memmove(&w->tasks[0], &w->tasks[1], w->n_tasks * sizeof(w->tasks[0]));
}

static void doom(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];

	if (w->is_doomed)
		return;
	w->is_doomed = true;
	sim_later(s, sim_between(s, 10 * US, 5 * MS), EVENT_DEAD, worker, w->incarnation);
}

void crew_kill(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];

	SIM_CHECK(s, worker < s->world.spec.n_workers && w->is_up && w->n_tasks, "who is to be killed?");
	clock_judge_kill(s, worker);
	SIM_CHECK(s, !w->is_condemned, "killed twice");
	w->is_condemned = w->has_overrun = true;
	doom(s, worker);
}

/* It has said the truth: which samples are bad, or seem so until they have been read once more. */
static void note_bad(struct sim *s, const struct sim_task *t, const struct said *said)
{
	struct world_feed *w = &s->world.more[world_base(s, t->head.feed)];
	bool is_again;

	for (uint32_t i = 0; t->head.kind == TASK_ROWS && i < t->head.n_samples; i++)
		w->is_certain[t->samples[i].sample] = false; /* it may be there twice, read for the first time and for the second */
	for (uint32_t i = 0; t->head.kind == TASK_ROWS && i < t->head.n_samples; i++) {
		const struct answer_sample *a = &said->samples[i];
		const uint64_t sample = t->samples[i].sample;
		bool is_doubtful = a->code == ANSWER_CHANGED || (a->code == ANSWER_BAD && cause_is_doubtful(a->cause));

		if (a->code != ANSWER_BAD && a->code != ANSWER_CHANGED)
			continue;
		is_doubtful = is_doubtful && packing_is_plain(s, t->head.feed, sample);
		oracle_doubt(s, t, i, !is_doubtful);
		if (!is_doubtful)
			continue;
		w->n_doubts[sample]++;
		disk_is_damaged(s, t, i, &is_again);
		w->is_certain[sample] = w->is_certain[sample] || is_again;
		w->n_changes += a->code == ANSWER_CHANGED && is_again;
	}
}

void crew_answer(struct sim *s, uint32_t worker, uint64_t tag)
{
	static struct said said;
	struct sim_worker *w = &s->workers[worker];
	struct sim_task *t = &w->tasks[0];
	bool is_done[TASK_SAMPLES_MAX] = {false}, is_lie = w->fate == WORKER_LIES, is_believed;

	if (!w->is_up || w->incarnation != tag)
		return;
	memset(&said, 0, sizeof(said));
	said.n = sizeof(said.head) + t->head.n_samples * sizeof(said.samples[0]);
	said.head = (struct answer){.id = t->head.id, .cpu_ns = s->now - w->began_ns,
				    .n_samples = t->head.n_samples};
	for (uint32_t i = 0; i < t->head.n_samples; i++) {
		if (t->head.kind == TASK_INFLATE && !is_lie && !w->is_doomed)
			inflate_answer(s, t, &w->inflation, &said.samples[i]);
		else if (t->head.kind == TASK_INFLATE)
			said.samples[i] = (struct answer_sample){.code = ANSWER_DONE};
		else
			answer_sample(s, t, i, &said.samples[i]);
		is_done[i] = said.samples[i].code == ANSWER_DONE;
	}
	if (w->is_doomed) { /* it was told to die meanwhile */
		is_believed = core_on_answer(s->core, sim_tells(s), worker, &said, said.n);
		SIM_CHECK(s, !is_believed, "an answer counted after the kill");
		return;
	}
	if (is_lie) {
		tell_lie(s, w, &said);
		is_believed = core_on_answer(s->core, sim_tells(s), worker, &said, said.n);
		SIM_CHECK(s, !is_believed, "a lie was believed");
		w->is_condemned = true;
		doom(s, worker);
		return;
	}
	w->answered = t->head.id;
	for (uint32_t i = 0; i < t->head.n_samples; i++)
		s->n_warnings[t->head.feed] += said.samples[i].n_warnings;
	note_bad(s, t, &said);
	put_down(s, w, is_done);
	is_believed = core_on_answer(s->core, sim_tells(s), worker, &said, said.n);
	SIM_CHECK(s, is_believed, "the truth was not believed");
	begin(s, worker);
}

static void charge_death(struct sim *s, const struct sim_worker *w, const struct sim_task *t)
{
	struct world_feed *f = &s->world.more[t->head.feed];
	uint32_t *n = w->has_overrun ? f->n_overruns : f->n_deaths;

	if (!w->has_overrun)
		sim_fault(s, t->head.kind == TASK_INFLATE ? FAULT_worker_dies_inflating
			     : w->fate == WORKER_DIES && w->victim < t->head.n_samples ? FAULT_worker_poisoned : FAULT_worker_dies);
	if (t->head.kind == TASK_INFLATE) {
		(w->has_overrun ? f->unit_overruns : f->unit_deaths)[t->inflate.unit]++;
		return;
	}
	for (uint32_t i = 0; i < t->head.n_samples; i++)
		n[t->samples[i].sample]++;
	oracle_blame(s, t);
}

void crew_dead(struct sim *s, uint32_t worker, uint64_t tag)
{
	static const bool none[TASK_SAMPLES_MAX];
	struct sim_worker *w = &s->workers[worker];
	const struct sim_task *t = &w->tasks[0];

	if (!w->is_up || w->incarnation != tag)
		return;
	if (w->n_tasks)
		charge_death(s, w, t);
	else
		sim_fault(s, FAULT_worker_dies_idle);
	w->inflation.is_active = false;
	while (w->n_tasks)
		put_down(s, w, none);
	w->is_up = w->is_doomed = w->is_condemned = w->has_overrun = false;
	w->incarnation++;
	sim_later(s, sim_between(s, 1 * MS, 20 * MS), EVENT_UP, worker, 0);
	core_on_worker_dead(s->core, sim_tells(s), worker);
}

/* An operator changes what may be changed on the way. */
static void reload(struct sim *s)
{
	struct world *w = &s->world;
	const uint32_t base = world_base(s, (uint32_t)sim_below(s, w->spec.n_feeds));
	const bool is_transient_bad = sim_odds(s, 5000);

	s->n_idle_workers = s->is_ending ? 0 : (uint32_t)sim_below(s, w->spec.n_workers);
	sim_fault(s, FAULT_workers_resized);
	core_set_workers(s->core, sim_tells(s), w->spec.n_workers - s->n_idle_workers);
	if (sim_odds(s, 5000)) {
		sim_fault(s, FAULT_read_timeout_set);
		w->spec.read_timeout_ns = sim_between(s, 50 * MS, 500 * MS);
		core_set_read_timeout(s->core, w->spec.read_timeout_ns);
	}
	for (uint32_t f = 0; w->may_set_bad && f < w->spec.n_feeds; f++) {
		if (world_base(s, f) != base)
			continue;
		sim_fault(s, FAULT_bad_limit_set);
		w->feeds[f].bad_limit = 0.001 * (double)sim_below(s, 500);
		w->feeds[f].is_transient_bad = is_transient_bad;
		core_set_bad(s->core, f, w->feeds[f].bad_limit, is_transient_bad);
	}
}

/* It says something before it was asked anything. */
static void speak_unasked(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];
	const struct said said = {.head = {.id = w->answered, .n_samples = (uint32_t)sim_below(s, 2)}};

	sim_fault(s, FAULT_lie_unasked);
	SIM_CHECK(s, !core_on_answer(s->core, sim_tells(s), worker, &said, sizeof(said.head) + said.head.n_samples *
				     sizeof(said.samples[0])), "an answer to nothing was believed");
	w->is_condemned = true;
	doom(s, worker);
}

void crew_up(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];

	w->is_up = true;
	core_on_worker_up(s->core, sim_tells(s), worker);
	if (!s->is_ending && sim_odds(s, s->world.odds.lie))
		speak_unasked(s, worker);
	else if (!s->is_ending && s->world.odds.die && sim_odds(s, 1000))
		sim_later(s, sim_below(s, 20 * MS), EVENT_DEAD, worker, w->incarnation); /* whatever it does by then */
	if (s->is_ending || !s->is_calm ? sim_odds(s, RESIZES) : s->n_idle_workers > 0)
		reload(s);
}

bool crew_is_idle(const struct sim *s)
{
	for (uint32_t i = 0; i < s->world.spec.n_workers; i++)
		if (!s->workers[i].is_up || s->workers[i].is_doomed || s->workers[i].n_tasks)
			return false;
	return true;
}
