/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Leases are numbered without gaps, so a batch is found again by its lease alone. */
#include "serve/trace.h"

#include "serve/daemon.h"

void trace_lent(struct daemon *d, const struct core_action *a)
{
	struct core_stream_view v;

	core_view_stream(d->core, a->stream, &v);
	d->trace.n_leases = a->lend.lease;
	d->trace.batches[a->lend.lease % TRACE_BATCHES] = (struct trace_batch){
		.lease = a->lend.lease, .opened_ns = a->lend.opened_ns, .staged_ns = a->lend.staged_ns,
		.ready_ns = a->lend.ready_ns, .lent_ns = d->now_ns, .epoch = a->lend.epoch, .step = a->lend.step,
		.stream = a->stream, .feed = v.feed, .rank = v.rank, .slot = a->lend.slot, .n_rows = a->lend.n_rows};
}

void trace_released(struct daemon *d, uint64_t lease)
{
	struct trace_batch *b = &d->trace.batches[lease % TRACE_BATCHES];

	if (b->lease == lease && !b->released_ns)
		b->released_ns = d->now_ns;
}

void trace_gone(struct daemon *d, uint32_t stream)
{
	for (unsigned i = 0; i < TRACE_BATCHES; i++)
		if (d->trace.batches[i].lease && d->trace.batches[i].stream == stream)
			trace_released(d, d->trace.batches[i].lease);
}

void trace_work(struct daemon *d, const struct trace_work *w)
{
	d->trace.works[d->trace.n_works++ % TRACE_WORKS] = *w;
	d->trace.n_of_kind[w->kind]++;
}
