/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One function per kind of row; what the table calls `value` becomes a function here by the macros below. */
#include "serve/metrics.h"

#include "serve/daemon.h"
#include "serve/footprint.h"
#include "serve/status.h"
#include "serve/text.h"
#include "worker/maker.h"

#include <stdbool.h>
#include <unistd.h>

/* What a page is made from: looked at once, so that all rows are of one moment. */
struct look {
	struct daemon *d;
	struct core_totals totals;
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
static void put_of_feed(const struct look *l, unsigned feed, const char *name, const char *label, const char *value,
			double n)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "feed", l->d->feeds[feed].config->name);
	put_label(l->to, ",", label, value);
	text_add(l->to, "}");
	put_value(l->to, n);
}

static void put_info(const struct look *l, const char *name)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "version", RINGFEED_VERSION);
	put_label(l->to, ",", "engine", io_engine_kind(l->d->engine) == IO_URING ? "uring" : "threads");
	put_label(l->to, ",", "kernels", maker_kernels());
	text_add(l->to, "} 1\n");
}

static void put_cpu(const struct look *l, const char *name)
{
	put_labelled(l->to, name, "process", "core", seconds(footprint_cpu(getpid())));
	put_labelled(l->to, name, "process", "workers", seconds(trend_workers_cpu(l->d)));
}

static void put_bad(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->d->n_feeds; i++) {
		struct core_feed_view v;

		core_view_feed(l->d->core, i, &v);
		for (unsigned cause = CAUSE_none + 1; cause < CAUSE_COUNT; cause++)
			put_of_feed(l, i, name, "cause", cause_name(cause), (double)v.causes[cause]);
	}
}

static void put_feed_waits(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->d->n_feeds; i++) {
		struct core_feed_view v;

		core_view_feed(l->d->core, i, &v);
		for (unsigned w = 0; w < CORE_WAITS; w++)
			put_of_feed(l, i, name, "for", status_wait_name(w), seconds(v.waits_ns[w]));
	}
}

static void put_slots(const struct look *l, const char *name)
{
	for (unsigned i = 0; i < l->d->n_feeds; i++) {
		struct core_feed_view v;

		core_view_feed(l->d->core, i, &v);
		put_of_feed(l, i, name, "state", "free", v.slots.free);
		put_of_feed(l, i, name, "state", "filling", v.slots.filling);
		put_of_feed(l, i, name, "state", "ready", v.slots.ready);
		put_of_feed(l, i, name, "state", "leased", v.slots.leased);
		put_of_feed(l, i, name, "state", "quarantined", v.slots.quarantined);
	}
}

/* The next stream that is used from *stream on, with its view and session; false: there is none. */
static bool next_rank(const struct look *l, uint32_t *stream, struct core_stream_view *v, const struct session **s)
{
	for (; *stream < STREAMS_MAX; ++*stream) {
		core_view_stream(l->d->core, *stream, v);
		if (!v->is_used)
			continue;
		*s = &l->d->sessions[l->d->stream_session[(*stream)++]];
		return true;
	}
	return false;
}

/* NAME{feed=…,group=…,rank=…,pid=… : the brace is left open. */
static void open_rank(const struct look *l, const char *name, const struct core_stream_view *v, const struct session *s)
{
	text_add(l->to, "%s", name);
	put_label(l->to, "{", "feed", l->d->feeds[v->feed].config->name);
	put_label(l->to, ",", "group", v->group);
	text_add(l->to, ",rank=\"%u\",pid=\"%d\"", v->rank, (int)s->pid);
}

#define RANK_ROW(function, value)                                                                  \
	static void function(const struct look *l, const char *name)                               \
	{                                                                                          \
		struct core_stream_view v;                                                         \
		const struct session *s;                                                           \
                                                                                                   \
		for (uint32_t i = 0; next_rank(l, &i, &v, &s);) {                                  \
			open_rank(l, name, &v, s);                                                 \
			text_add(l->to, "}");                                                      \
			put_value(l->to, (double)(value));                                         \
		}                                                                                  \
	}
RANK_ROW(put_rank_leases, v.n_lent)
RANK_ROW(put_rank_slots, v.n_slots)
RANK_ROW(put_rank_quarantined, v.n_quarantined)
RANK_ROW(put_rank_epoch, v.epoch)
RANK_ROW(put_rank_step, v.step)
RANK_ROW(put_rank_batches, s->n_batches)

static void put_rank_waits(const struct look *l, const char *name)
{
	struct core_stream_view v;
	const struct session *s;

	for (uint32_t i = 0; next_rank(l, &i, &v, &s);)
		for (unsigned w = 0; w < CORE_WAITS; w++) {
			open_rank(l, name, &v, s);
			put_label(l->to, ",", "for", status_wait_name(w));
			text_add(l->to, "}");
			put_value(l->to, seconds(v.waits_ns[w]));
		}
}

static void put_read_latency(const struct look *l, const char *name)
{
	const struct latency *latency = &l->d->read_latency;
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
	unsigned n_up = 0;

	for (unsigned i = 0; i < l->d->n_workers; i++)
		n_up += l->d->helpers[i].is_up;
	put_labelled(l->to, name, "state", "up", n_up);
	put_labelled(l->to, name, "state", "down", n_up < l->d->n_wanted ? l->d->n_wanted - n_up : 0);
}

static void put_reloads(const struct look *l, const char *name)
{
	put_labelled(l->to, name, "outcome", "applied", (double)l->d->reload.n_applied);
	put_labelled(l->to, name, "outcome", "refused", (double)l->d->reload.n_refused);
}

static void put_plan(const struct look *l, const char *name)
{
	const struct plan *plan = &l->d->planning.plan;

	for (size_t i = 0; i < plan->n_lines; i++)
		put_labelled(l->to, name, "line", plan->lines[i].name, (double)plan->lines[i].n_bytes);
}

/* ---- the table ---- */

static const struct metric_text rows[] = {
#define DAEMON(type, name, help, value) {#type, name, "", help},
#define FEED(type, name, help, value) {#type, name, "feed", help},
#define OWN(type, name, labels, help, function) {#type, name, labels, help},
#include "serve/metrics.def"
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
	const struct daemon *d = l->d;
	const struct core_totals *t = &l->totals;
	const char *name;
	size_t row = 0;

#define DAEMON(type, name_, help, value)                                                           \
	name = begin(l, &row);                                                                     \
	text_add(l->to, "%s", name);                                                               \
	put_value(l->to, (double)(value));
#define FEED(type, name_, help, value)                                                             \
	name = begin(l, &row);                                                                     \
	for (unsigned i = 0; i < d->n_feeds; i++) {                                                \
		const struct served_feed *s = &d->feeds[i];                                        \
		struct core_feed_view view, *f = &view;                                            \
                                                                                                   \
		core_view_feed(d->core, i, f);                                                     \
		put_labelled(l->to, name, "feed", s->config->name, (double)(value));               \
	}
#define OWN(type, name_, labels, help, function)                                                   \
	name = begin(l, &row);                                                                     \
	function(l, name);
#include "serve/metrics.def"
#undef DAEMON
#undef FEED
#undef OWN
}

void metrics_write(struct daemon *d, struct text *to)
{
	struct look l = {.d = d, .to = to};

	daemon_glance(d);
	core_view_totals(d->core, &l.totals);
	put_rows(&l);
}

bool metric_text(size_t i, struct metric_text *ret)
{
	if (i >= sizeof(rows) / sizeof(rows[0]))
		return false;
	*ret = rows[i];
	return true;
}
