/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A ring of notes; a view compares the counters of now with the oldest note. */
#include "watch/trend.h"

#include "base/fault.h"
#include "watch/limit.h"

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

bool trend_is_due(const struct trend *t, uint64_t now_ns)
{
	return !t->n || now_ns - t->at_ns[(t->next + TREND_NOTES - 1) % TREND_NOTES] >= SECOND_NS;
}

static void count(const struct snapshot_feed *f, struct trend_counts *ret)
{
	ret->n_samples = f->lent.n_due;
	ret->n_batches = f->n_batches;
	memcpy(ret->waits_ns, f->lent.waits_ns, sizeof(ret->waits_ns));
}

void trend_note(struct trend *t, const struct snapshot *s)
{
	t->at_ns[t->next] = s->now_ns;
	t->workers_ns[t->next] = s->workers_cpu_ns;
	for (unsigned i = 0; i < s->n_feeds; i++)
		count(&s->feeds[i], &t->feeds[i * TREND_NOTES + t->next]);
	t->next = (t->next + 1) % TREND_NOTES;
	if (t->n < TREND_NOTES)
		t->n++;
}

static bool has_trainers(const struct snapshot *s, unsigned feed)
{
	for (unsigned i = 0; i < s->n_ranks; i++)
		if (s->ranks[i].feed == feed && s->ranks[i].state == SNAPSHOT_ATTACHED)
			return true;
	return false;
}

static void say_limit(const struct snapshot *s, unsigned feed, const struct trend_counts *from,
		      const struct trend_counts *to, double busy, struct snapshot_trend *ret)
{
	struct limit_view v = {.feed = s->feeds[feed].name, .busy = busy, .n_workers = s->n_wanted, .n_cpus = s->n_cpus};
	double all = 0;

	for (unsigned i = 0; i < SNAPSHOT_WAITS; i++) {
		v.waits[i] = (double)(to->waits_ns[i] - from->waits_ns[i]) / 1e9;
		all += v.waits[i];
	}
	if (!has_trainers(s, feed))
		snprintf(ret->limit, sizeof(ret->limit), "no trainer is attached");
	else if (all <= 0)
		snprintf(ret->limit, sizeof(ret->limit), "too early to say");
	else
		limit_sentence(&v, ret->limit, sizeof(ret->limit));
}

static void tell(const struct trend *t, struct snapshot *s, unsigned feed)
{
	unsigned oldest = t->n < TREND_NOTES ? 0 : t->next;
	const struct trend_counts *from = &t->feeds[feed * TREND_NOTES + oldest];
	struct snapshot_trend *ret = &s->feeds[feed].trend;
	struct trend_counts to;
	double seconds = t->n ? (double)(s->now_ns - t->at_ns[oldest]) / 1e9 : 0, busy = 0;

	count(&s->feeds[feed], &to);
	*ret = (struct snapshot_trend){0};
	if (seconds > 0) {
		ret->samples_per_second = (double)(to.n_samples - from->n_samples) / seconds;
		ret->batches_per_second = (double)(to.n_batches - from->n_batches) / seconds;
		busy = (double)(s->workers_cpu_ns - t->workers_ns[oldest]) / 1e9 / seconds / s->n_wanted;
	}
	say_limit(s, feed, from, &to, busy, ret);
}

void trend_tell(const struct trend *t, struct snapshot *s)
{
	for (unsigned i = 0; i < s->n_feeds; i++)
		tell(t, s, i);
}
