/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Leases are numbered without gaps, so a batch is found again by its lease alone. */
#include "watch/trace.h"

void trace_lent(struct trace *t, const struct trace_batch *b)
{
	t->n_leases = b->lease;
	t->batches[b->lease % TRACE_BATCHES] = *b;
}

void trace_released(struct trace *t, uint64_t now_ns, uint64_t lease)
{
	struct trace_batch *b = &t->batches[lease % TRACE_BATCHES];

	if (b->lease == lease && !b->released_ns)
		b->released_ns = now_ns;
}

void trace_gone(struct trace *t, uint64_t now_ns, uint32_t stream)
{
	for (unsigned i = 0; i < TRACE_BATCHES; i++)
		if (t->batches[i].lease && t->batches[i].stream == stream)
			trace_released(t, now_ns, t->batches[i].lease);
}

void trace_work(struct trace *t, const struct trace_work *w)
{
	t->works[t->n_works++ % TRACE_WORKS] = *w;
	t->n_of_kind[w->kind]++;
}
