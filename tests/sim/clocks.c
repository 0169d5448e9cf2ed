/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The CPU time of workers, where the core is told of it: a task that uses some does not stand still, and one that
 * uses too much is to be killed at once. Some tasks wait all the time instead.
 */
#include "sim.h"

static void tell_later(struct sim *s, uint32_t worker)
{
	sim_later(s, sim_between(s, 1 * MS, s->world.spec.task_timeout_ns / 3), EVENT_CPU, worker,
		  s->workers[worker].tasks[0].head.id);
}

void clock_begin(struct sim *s, uint32_t worker)
{
	struct sim_worker *w = &s->workers[worker];

	w->moved_ns = w->counted_ns = s->now;
	w->is_watched = w->is_working = w->has_burnt = false;
	if (!s->world.is_cpu_told)
		return;
	w->is_working = sim_odds(s, 7000);
	tell_later(s, worker);
}

void clock_told(struct sim *s, uint32_t worker, uint64_t task)
{
	struct sim_worker *w = &s->workers[worker];
	const uint64_t used = w->is_working ? s->now - w->counted_ns : 0, before = w->cpu_ns;

	if (!w->is_up || !w->n_tasks || w->tasks[0].head.id != task)
		return;
	w->cpu_ns += used;
	w->counted_ns = s->now;
	if (w->is_watched && w->cpu_ns - w->cpu_began_ns > s->world.spec.task_cpu_ns && sim_odds(s, 3000)) /* not more */
		w->cpu_ns = w->cpu_began_ns + s->world.spec.task_cpu_ns;
	if (!w->is_watched)
		w->cpu_began_ns = w->cpu_ns;
	else if (w->cpu_ns - w->cpu_began_ns > s->world.spec.task_cpu_ns)
		w->has_burnt = true;
	else if (w->cpu_ns > before)
		w->moved_ns = s->now;
	w->is_watched = true;
	if (w->has_burnt && !w->is_condemned)
		sim_fault(s, FAULT_worker_burns);
	core_on_worker_cpu(s->core, sim_tells(s), worker, w->cpu_ns);
	tell_later(s, worker);
}

void clock_judge_kill(const struct sim *s, uint32_t worker)
{
	const struct sim_worker *w = &s->workers[worker];

	SIM_CHECK(s, w->has_burnt || s->now >= w->moved_ns + s->world.spec.task_timeout_ns, "killed before its time");
}

void clock_judge(const struct sim *s)
{
	for (uint32_t i = 0; i < s->world.spec.n_workers; i++) {
		const struct sim_worker *w = &s->workers[i];

		if (!w->is_up || !w->n_tasks || w->is_condemned)
			continue;
		SIM_CHECK(s, !w->has_burnt, "worker %u has used too much, and lives", i);
		SIM_CHECK(s, core_deadline(s->core) <= w->moved_ns + s->world.spec.task_timeout_ns,
			  "worker %u may stand still for too long", i);
	}
}
