/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One function per kind of row; what the table calls `value` becomes a function here by the macros below. */
#include "watch/metrics.h"

#include "base/reason.h"
#include "watch/snapshot.h"
#include "watch/text.h"

#include <stdbool.h>
#include <stdio.h>

/* From what, and where to. */
struct look {
	const struct snapshot *s;
	struct text *to;
};

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

/* ---- samples of one row; `name` is the metric's ---- */

static void put_value(struct text *to, double value)
{
	text_add(to, " %.17g\n", value);
}

static void put_label(struct text *to, const char *before, const char *label, const char *value)
{
	char clean[512];

	snprintf(clean, sizeof(clean), "%s", value);
	reason_clean(clean);
	text_add(to, "%s%s=\"", before, label);
	text_add_label(to, clean);
	text_add(to, "\"");
}

static void put_labelled(struct text *to, const char *name, const char *label, const char *value, double n)
{
	text_add(to, "%s", name);
	put_label(to, "{", label, value);
	text_add(to, "}");
	put_value(to, n);
}

/* NAME{feed="…",label="value"} n */
static void put_of_feed(const struct look *l, const struct snapshot_feed *f, const char *name, const char *label, const char *value,
			double n)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "feed", f->name);
	put_label(l->to, ",", label, value);
	text_add(l->to, "}");
	put_value(l->to, n);
}

static void put_info(const struct look *l, const char *name)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "version", l->s->version);
	put_label(l->to, ",", "engine", l->s->engine);
	put_label(l->to, ",", "kernels", l->s->kernels);
	text_add(l->to, "} 1\n");
}

static void put_cpu(const struct look *l, const char *name)
{
	put_labelled(l->to, name, "process", "core", seconds(l->s->core_cpu_ns));
	put_labelled(l->to, name, "process", "workers", seconds(l->s->workers_cpu_ns));
}

static void put_bad(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->s->n_feeds; i++)
		for (unsigned cause = CAUSE_none + 1; cause < CAUSE_COUNT; cause++)
			put_of_feed(l, &l->s->feeds[i], name, "cause", cause_name(cause),
				    (double)l->s->feeds[i].causes[cause]);
}

static void put_feed_waits(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->s->n_feeds; i++)
		for (unsigned w = 0; w < SNAPSHOT_WAITS; w++)
			put_of_feed(l, &l->s->feeds[i], name, "for", snapshot_wait_name(w),
				    seconds(l->s->feeds[i].lent.waits_ns[w]));
}

static void put_slots(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->s->n_feeds; i++) {
		const struct snapshot_feed *f = &l->s->feeds[i];

		put_of_feed(l, f, name, "state", "free", f->slots.free);
		put_of_feed(l, f, name, "state", "filling", f->slots.filling);
		put_of_feed(l, f, name, "state", "ready", f->slots.ready);
		put_of_feed(l, f, name, "state", "leased", f->slots.leased);
		put_of_feed(l, f, name, "state", "quarantined", f->slots.quarantined);
	}
}

/* NAME{feed=…,group=…,rank=…,replica=…,pid=… : the brace is left open. */
static void open_rank(const struct look *l, const char *name, const struct snapshot_rank *r)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "feed", l->s->feeds[r->feed].name);
	put_label(l->to, ",", "group", r->group);
	text_add(l->to, ",rank=\"%u\",replica=\"%u\",pid=\"%d\"", r->rank, r->replica, (int)r->pid);
}

#define RANK_ROW(function, value)                                                                  \
	static void function(const struct look *l, const char *name)                               \
	{                                                                                          \
		for (unsigned i = 0; i < l->s->n_ranks; i++) {                                     \
			const struct snapshot_rank *r = &l->s->ranks[i];                           \
                                                                                                   \
			open_rank(l, name, r);                                                     \
			text_add(l->to, "}");                                                      \
			put_value(l->to, (double)(value));                                         \
		}                                                                                  \
	}
RANK_ROW(put_rank_leases, r->n_leases)
RANK_ROW(put_rank_slots, r->n_slots)
RANK_ROW(put_rank_quarantined, r->n_quarantined)
RANK_ROW(put_rank_epoch, r->epoch)
RANK_ROW(put_rank_step, r->step)
RANK_ROW(put_rank_batches, r->n_batches)
RANK_ROW(put_rank_lag, r->lag)
RANK_ROW(put_rank_shared, r->is_shared)

static void put_rank_waits(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->s->n_ranks; i++)
		for (unsigned w = 0; w < SNAPSHOT_WAITS; w++) {
			open_rank(l, name, &l->s->ranks[i]);
			put_label(l->to, ",", "for", snapshot_wait_name(w));
			text_add(l->to, "}");
			put_value(l->to, seconds(l->s->ranks[i].lent.waits_ns[w]));
		}
}

static void put_read_latency(const struct look *l, const char *name)
{
	const struct latency *latency = &l->s->reads.latency;
	uint64_t n = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		n += latency->counts[i];
		text_add(l->to, "%s_bucket{le=\"%s\"} %llu\n", name, latency_end(i), (unsigned long long)n);
	}
	text_add(l->to, "%s_sum", name);
	put_value(l->to, seconds(latency->sum_ns));
	text_add(l->to, "%s_count %llu\n", name, (unsigned long long)n);
}

static void put_workers(const struct look *l, const char *name)
{
	unsigned n_up = snapshot_workers_up(l->s);

	put_labelled(l->to, name, "state", "up", n_up);
	put_labelled(l->to, name, "state", "down", n_up < l->s->n_wanted ? l->s->n_wanted - n_up : 0);
}

static void put_reloads(const struct look *l, const char *name)
{
	put_labelled(l->to, name, "outcome", "applied", (double)l->s->reload.n_applied);
	put_labelled(l->to, name, "outcome", "refused", (double)l->s->reload.n_refused);
}

static void put_plan(const struct look *l, const char *name)
{
	for (size_t i = 0; i < l->s->memory.n_lines; i++)
		put_labelled(l->to, name, "line", l->s->memory.lines[i].name, (double)l->s->memory.lines[i].n_bytes);
}

/* ---- the table ---- */

static const struct metric_text rows[] = {
#define DAEMON(type, name, help, value) {#type, name, "", help},
#define FEED(type, name, help, value) {#type, name, "feed", help},
#define OWN(type, name, labels, help, function) {#type, name, labels, help},
#include "watch/metrics.def"
#undef DAEMON
#undef FEED
#undef OWN
};

static const char *begin(const struct look *l, size_t *row)
{
	const struct metric_text *r = &rows[(*row)++];

	text_add(l->to, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name, r->type);
	return r->name;
}

/* A flat list: one block a row, in the order of the table. */
static void put_rows(const struct look *l)
{
	const struct snapshot *s = l->s;
	const char *name;
	size_t row = 0;

#define DAEMON(type, name_, help, value)                                                           \
	name = begin(l, &row);                                                                     \
	text_add(l->to, "%s", name);                                                               \
	put_value(l->to, (double)(value));
#define FEED(type, name_, help, value)                                                             \
	name = begin(l, &row);                                                                     \
	for (unsigned i = 0; i < s->n_feeds; i++) {                                                \
		const struct snapshot_feed *f = &s->feeds[i];                                      \
                                                                                                   \
		put_labelled(l->to, name, "feed", f->name, (double)(value));                       \
	}
#define OWN(type, name_, labels, help, function)                                                   \
	name = begin(l, &row);                                                                     \
	function(l, name);
#include "watch/metrics.def"
#undef DAEMON
#undef FEED
#undef OWN
}

void metrics_write(const struct snapshot *s, struct text *to)
{
	put_rows(&(struct look){.s = s, .to = to});
}

bool metric_text(size_t i, struct metric_text *ret)
{
	if (i >= sizeof(rows) / sizeof(rows[0]))
		return false;
	*ret = rows[i];
	return true;
}
