/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The state of the daemon as JSON; README names the keys. */
#include "serve/daemon.h"
#include "worker/maker.h"

#include <jansson.h>
#include <unistd.h>

static void put(json_t *to, const char *name, uint64_t n)
{
	json_object_set_new(to, name, json_integer((json_int_t)n));
}

static void put_seconds(json_t *to, const char *name, uint64_t ns)
{
	json_object_set_new(to, name, json_real((double)ns / 1e9));
}

static json_t *memory_json(const struct daemon *d)
{
	json_t *m = json_object(), *lines = json_array();

	put(m, "budget_bytes", d->planning.plan.memory);
	put(m, "planned_bytes", d->planning.plan.total);
	put(m, "resident_bytes", d->resident_bytes);
	put(m, "peak_bytes", d->peak_bytes);
	for (size_t i = 0; i < d->planning.plan.n_lines; i++) {
		json_t *line = json_object();

		json_object_set_new(line, "name", json_string(d->planning.plan.lines[i].name));
		put(line, "bytes", d->planning.plan.lines[i].n_bytes);
		json_array_append_new(lines, line);
	}
	json_object_set_new(m, "plan", lines);
	return m;
}

static json_t *workers_json(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < d->n_workers; i++) {
		json_t *w = json_object();

		put(w, "pid", (uint64_t)d->helpers[i].pid);
		json_object_set_new(w, "up", json_boolean(d->helpers[i].is_up));
		json_array_append_new(list, w);
	}
	return list;
}

static json_t *reads_json(const struct daemon *d)
{
	struct core_totals t;
	json_t *r = json_object();

	core_view_totals(d->core, &t);
	put(r, "requests", t.n_reads);
	put(r, "bytes", t.read_bytes);
	put(r, "sample_bytes", t.sample_bytes);
	put(r, "retries", t.n_retries);
	put(r, "staging_bytes_used", t.staging_used);
	put(r, "units_inflated", t.n_units);
	put(r, "bytes_inflated", t.inflated_bytes);
	put(r, "tasks", t.n_tasks);
	put(r, "worker_deaths", t.n_worker_deaths);
	return r;
}

static json_t *waits_json(const struct core_stream_view *v)
{
	json_t *w = json_object();

	put_seconds(w, "read", v->waits_ns[CORE_WAIT_READ]);
	put_seconds(w, "decode", v->waits_ns[CORE_WAIT_DECODE]);
	put_seconds(w, "slots", v->waits_ns[CORE_WAIT_SLOTS]);
	put_seconds(w, "trainer", v->waits_ns[CORE_WAIT_TRAINER]);
	return w;
}

static const char *state_name(const struct core_stream_view *v)
{
	if (v->n_quarantined)
		return "quarantined";
	if (v->has_failed)
		return "failed";
	return v->is_detached || v->has_hung_up || v->has_exited ? "leaving" : "attached";
}

static json_t *rank_json(const struct daemon *d, uint32_t stream, const struct core_stream_view *v,
			 uint64_t most_steps)
{
	const struct session *s = &d->sessions[d->stream_session[stream]];
	json_t *r = json_object(), *holders = json_array();
	uint64_t steps = v->epoch * v->n_batches + v->step;

	put(r, "rank", v->rank);
	put(r, "pid", (uint64_t)s->pid);
	json_object_set_new(r, "state", json_string(state_name(v)));
	put(r, "epoch", v->epoch);
	put(r, "step", v->step);
	put(r, "batches_in_epoch", v->n_batches);
	put(r, "lag", most_steps > steps ? most_steps - steps : 0);
	put(r, "batches", s->n_batches);
	put(r, "slots", v->n_slots);
	put(r, "leases", v->n_lent);
	put(r, "quarantined_slots", v->n_quarantined);
	for (uint32_t i = 0; i < s->n_holders; i++)
		json_array_append_new(holders, json_integer(s->holders[i]));
	json_object_set_new(r, "held_by", holders);
	put(r, "due", v->n_due);
	put(r, "delivered", v->n_good);
	put(r, "bad", v->n_bad);
	put(r, "padded", v->n_padded);
	json_object_set_new(r, "waits", waits_json(v));
	return r;
}

/* The group of the stream as JSON, if the stream is its first member; else NULL. */
static json_t *group_json(const struct daemon *d, uint32_t first)
{
	struct core_stream_view v, other;
	json_t *g, *ranks;
	uint64_t most = 0;

	core_view_stream(d->core, first, &v);
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		core_view_stream(d->core, i, &other);
		if (!other.is_used || other.group_number != v.group_number)
			continue;
		if (i < first)
			return NULL;
		if (other.epoch * other.n_batches + other.step > most)
			most = other.epoch * other.n_batches + other.step;
	}
	g = json_object();
	ranks = json_array();
	json_object_set_new(g, "name", json_string(v.group));
	put(g, "number", v.group_number);
	put(g, "world", v.world);
	for (uint32_t i = first; i < STREAMS_MAX; i++) {
		core_view_stream(d->core, i, &other);
		if (other.is_used && other.group_number == v.group_number)
			json_array_append_new(ranks, rank_json(d, i, &other, most));
	}
	json_object_set_new(g, "ranks", ranks);
	return g;
}

static json_t *feed_json(const struct daemon *d, unsigned feed)
{
	const struct served_feed *f = &d->feeds[feed];
	json_t *j = json_object(), *slots = json_object(), *bad = json_object(), *groups = json_array();
	struct core_feed_view v;

	core_view_feed(d->core, feed, &v);
	json_object_set_new(j, "name", json_string(f->config->name));
	put(j, "samples", f->dataset->samples.n_samples);
	put(j, "shards", f->dataset->samples.n_shards);
	put(slots, "all", v.slots.all);
	put(slots, "free", v.slots.free);
	put(slots, "filling", v.slots.filling);
	put(slots, "ready", v.slots.ready);
	put(slots, "leased", v.slots.leased);
	put(slots, "quarantined", v.slots.quarantined);
	json_object_set_new(j, "slots", slots);
	put(j, "slot_bytes", f->layout.n_bytes);
	put(j, "slots_on_huge_pages", slots_huge(&f->pool));
	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		if (v.causes[i])
			put(bad, cause_name(i), v.causes[i]);
	json_object_set_new(j, "bad_samples", bad);
	put(j, "jpeg_warnings", v.n_warnings);
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct core_stream_view stream;
		json_t *group;

		core_view_stream(d->core, i, &stream);
		if (!stream.is_used || stream.feed != feed)
			continue;
		group = group_json(d, i);
		if (group)
			json_array_append_new(groups, group);
	}
	json_object_set_new(j, "groups", groups);
	return j;
}

char *status_json(struct daemon *d)
{
	json_t *j = json_object(), *feeds = json_array();
	char *text;

	footprint_sample(d);
	json_object_set_new(j, "version", json_string(RINGFEED_VERSION));
	put(j, "pid", (uint64_t)getpid());
	put(j, "clean_parent_pid", (uint64_t)d->parent.pid);
	json_object_set_new(j, "socket", json_string(d->socket_path));
	put_seconds(j, "uptime_seconds", d->now_ns - d->started_ns);
	json_object_set_new(j, "engine", json_string(io_engine_kind(d->engine) == IO_URING ? "uring" : "threads"));
	put(j, "registered_bytes", io_engine_registered(d->engine));
	json_object_set_new(j, "engine_reason", json_string(d->io_reason));
	json_object_set_new(j, "kernels", json_string(maker_kernels()));
	json_object_set_new(j, "memory", memory_json(d));
	json_object_set_new(j, "workers", workers_json(d));
	json_object_set_new(j, "reads", reads_json(d));
	for (unsigned i = 0; i < d->n_feeds; i++)
		json_array_append_new(feeds, feed_json(d, i));
	json_object_set_new(j, "feeds", feeds);
	text = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(j);
	return text;
}
