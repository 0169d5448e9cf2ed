/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who may read a slot: who has a lease of it, and who is half dead or has failed and has it mapped for writing.
 * Who may write it: workers with a task for it in hand.
 */
#include "sim.h"

static bool has_lease(const struct oracle_stream *o, uint32_t slot)
{
	for (unsigned i = 0; i < o->n_leased; i++)
		if (o->leases[i].slot == slot)
			return true;
	return false;
}

/* Slots of its own, which it may still write, though nobody waits for what it does. */
static bool has_mapped(const struct oracle_stream *o, uint32_t slot)
{
	if (o->is_shared || o->is_detached || oracle_is_live(o))
		return false;
	for (unsigned i = 0; i < o->n_slots; i++)
		if (o->slots[i] == slot)
			return true;
	return false;
}

struct holders holders_of(const struct sim *s, uint32_t feed, uint32_t slot)
{
	struct holders h = {0};

	for (uint32_t i = 0; i < s->world.spec.n_streams; i++) {
		const struct oracle_stream *o = &s->streams[i];
		bool is_leased;

		if (!o->is_used || o->feed != feed)
			continue;
		is_leased = has_lease(o, slot);
		if (!is_leased && !has_mapped(o, slot))
			continue;
		h.n++;
		h.n_leases += is_leased;
		h.n_quarantined += !is_leased || o->has_hung_up != o->has_exited;
	}
	return h;
}

uint32_t holders_writers(const struct sim *s, uint32_t feed, uint32_t slot, uint64_t stamp)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->world.spec.n_workers; i++)
		for (unsigned k = 0; k < s->workers[i].n_tasks; k++) {
			const struct sim_task *t = &s->workers[i].tasks[k];

			for (unsigned w = 0; t->head.kind == TASK_ROWS && w < t->n_writes; w++)
				if (t->writes[w].feed == feed && t->writes[w].slot == slot &&
				    t->writes[w].stamp <= stamp) {
					n++;
					break;
				}
		}
	return n;
}

bool holders_is_gone(const struct oracle_stream *o)
{
	if (!o->has_hung_up)
		return false;
	return o->has_exited || (o->n_leased == 0 && (o->is_detached || o->is_shared));
}
