/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A ring of notes; a view compares the counters of now with the oldest note. */
#include "serve/trend.h"

#include "base/fault.h"
#include "serve/daemon.h"
#include "serve/footprint.h"
#include "serve/limit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS UINT64_C(1000000000)

int trend_init(struct trend *t, unsigned n_feeds)
{
	*t = (struct trend){.feeds = calloc((size_t)n_feeds * TREND_NOTES, sizeof(*t->feeds))};
	return t->feeds ? 0 : fail(-ENOMEM);
}

void trend_deinit(struct trend *t)
{
	free(t->feeds);
	*t = (struct trend){0};
}

uint64_t trend_workers_cpu(const struct daemon *d)
{
	uint64_t n = footprint_cpu_with_reaped(d->parent.pid);

	for (unsigned i = 0; i < d->n_workers; i++)
		if (d->helpers[i].pid)
			n += footprint_cpu(d->helpers[i].pid);
	return n;
}

static void count(const struct daemon *d, unsigned feed, struct trend_counts *ret)
{
	struct core_feed_view v;

	core_view_feed(d->core, feed, &v);
	ret->n_samples = v.n_due;
	ret->n_batches = v.n_batches;
	memcpy(ret->waits_ns, v.waits_ns, sizeof(ret->waits_ns));
}

void trend_time(struct daemon *d)
{
	struct trend *t = &d->trend;
	unsigned last = (t->next + TREND_NOTES - 1) % TREND_NOTES;

	if (t->n && d->now_ns - t->at_ns[last] < SECOND_NS)
		return;
	daemon_glance(d);
	t->at_ns[t->next] = d->now_ns;
	t->workers_ns[t->next] = trend_workers_cpu(d);
	for (unsigned i = 0; i < d->n_feeds; i++)
		count(d, i, &t->feeds[i * TREND_NOTES + t->next]);
	t->next = (t->next + 1) % TREND_NOTES;
	if (t->n < TREND_NOTES)
		t->n++;
}

static bool has_trainers(const struct daemon *d, unsigned feed)
{
	struct core_stream_view v;

	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		core_view_stream(d->core, i, &v);
		if (v.is_used && v.feed == feed && !v.is_detached && !v.has_hung_up && !v.has_exited && !v.has_failed)
			return true;
	}
	return false;
}

static void say_limit(const struct daemon *d, unsigned feed, const struct trend_counts *from,
		      const struct trend_counts *to, double busy, struct trend_view *ret)
{
	struct limit_view v = {.feed = d->feeds[feed].config->name, .busy = busy, .n_workers = d->n_wanted,
			       .n_cpus = d->n_cpus};
	double all = 0;

	for (unsigned i = 0; i < CORE_WAITS; i++) {
		v.waits[i] = (double)(to->waits_ns[i] - from->waits_ns[i]) / 1e9;
		all += v.waits[i];
	}
	if (!has_trainers(d, feed))
		snprintf(ret->limit, sizeof(ret->limit), "no trainer is attached");
	else if (all <= 0)
		snprintf(ret->limit, sizeof(ret->limit), "too early to say");
	else
		limit_sentence(&v, ret->limit, sizeof(ret->limit));
}

void trend_feed(struct daemon *d, unsigned feed, struct trend_view *ret)
{
	const struct trend *t = &d->trend;
	unsigned oldest = t->n < TREND_NOTES ? 0 : t->next;
	const struct trend_counts *from = &t->feeds[feed * TREND_NOTES + oldest];
	struct trend_counts to;
	double seconds = t->n ? (double)(d->now_ns - t->at_ns[oldest]) / 1e9 : 0, busy = 0;

	count(d, feed, &to);
	*ret = (struct trend_view){.seconds = seconds};
	if (seconds > 0) {
		ret->samples_per_second = (double)(to.n_samples - from->n_samples) / seconds;
		ret->batches_per_second = (double)(to.n_batches - from->n_batches) / seconds;
		busy = (double)(d->workers_cpu_ns - t->workers_ns[oldest]) / 1e9 / seconds / d->n_wanted;
	}
	say_limit(d, feed, from, &to, busy, ret);
}
