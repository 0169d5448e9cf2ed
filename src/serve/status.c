/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The state of the daemon as JSON: what `status`, `top` and the status page show. */
#include "serve/status.h"

#include "serve/daemon.h"
#include "serve/footprint.h"
#include "worker/maker.h"

#include <stdio.h>
#include <unistd.h>

static void put(json_t *to, const char *name, uint64_t n)
{
	json_object_set_new(to, name, json_integer((json_int_t)n));
}

static void put_seconds(json_t *to, const char *name, uint64_t ns)
{
	json_object_set_new(to, name, json_real((double)ns / 1e9));
}

/* Names of groups, keys and shards come from anywhere: what JSON or a terminal cannot take becomes '?'. */
static void put_text(json_t *to, const char *name, const char *text)
{
	char clean[4096];

	snprintf(clean, sizeof(clean), "%s", text);
	reason_clean(clean);
	json_object_set_new(to, name, json_string(clean));
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
		json_t *w;

		if (i >= d->n_wanted && !d->helpers[i].is_up)
			continue; /* since a reload */
		w = json_object();

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
	put(r, "in_flight", d->n_flying);
	put(r, "staging_bytes_used", t.staging_used);
	put(r, "units_inflated", t.n_units);
	put(r, "bytes_inflated", t.inflated_bytes);
	put(r, "tasks", t.n_tasks);
	put(r, "worker_deaths", t.n_worker_deaths);
	return r;
}

static const char *const wait_names[] = {[CORE_WAIT_READ] = "read", [CORE_WAIT_DECODE] = "decode",
					 [CORE_WAIT_SLOTS] = "slots", [CORE_WAIT_TRAINER] = "trainer"};

const char *status_wait_name(enum core_wait wait)
{
	return wait_names[wait];
}

static json_t *waits_json(const uint64_t *waits_ns)
{
	json_t *w = json_object();

	for (unsigned i = 0; i < CORE_WAITS; i++)
		put_seconds(w, wait_names[i], waits_ns[i]);
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

/* Of each source of a mix: passes over it that are behind, the present one by its share. */
static json_t *passes_json(const struct served_feed *f, const struct core_stream_view *v)
{
	const struct order_shards shards = dataset_shards(f->dataset);
	json_t *list = json_array();

	for (size_t x = 0; x < f->order.mix->n_sources; x++) {
		struct order_progress at;

		order_progress(&f->order, &shards, x, v->epoch, v->position, &at);
		json_array_append_new(list, json_real((double)at.pass + (double)at.n_behind / (double)at.n_all));
	}
	return list;
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
	if (d->feeds[v->feed].order.mix)
		json_object_set_new(r, "passes", passes_json(&d->feeds[v->feed], v));
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
	json_object_set_new(r, "waits", waits_json(v->waits_ns));
	put_text(r, "waits_for", v->wait >= 0 ? wait_names[v->wait] : "");
	return r;
}

/* Where a rank belongs among those that are there already. */
static size_t place_of(const json_t *ranks, uint32_t rank)
{
	size_t i = 0;

	while (i < json_array_size(ranks) &&
	       json_integer_value(json_object_get(json_array_get(ranks, i), "rank")) <= (json_int_t)rank)
		i++;
	return i;
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
	put_text(g, "name", v.group);
	put(g, "number", v.group_number);
	put(g, "world", v.world);
	for (uint32_t i = first; i < STREAMS_MAX; i++) {
		core_view_stream(d->core, i, &other);
		if (other.is_used && other.group_number == v.group_number)
			json_array_insert_new(ranks, place_of(ranks, other.rank), rank_json(d, i, &other, most));
	}
	json_object_set_new(g, "ranks", ranks);
	return g;
}

static void put_slots(json_t *to, const struct core_slots *s)
{
	json_t *slots = json_object();

	put(slots, "all", s->all);
	put(slots, "free", s->free);
	put(slots, "filling", s->filling);
	put(slots, "ready", s->ready);
	put(slots, "leased", s->leased);
	put(slots, "quarantined", s->quarantined);
	json_object_set_new(to, "slots", slots);
}

/* What was lent to trainers, the ended sessions' too, and how fast that goes now. */
static void put_delivered(json_t *to, struct daemon *d, unsigned feed, const struct core_feed_view *v)
{
	struct trend_view trend;

	trend_feed(d, feed, &trend);
	put(to, "batches", v->n_batches);
	put(to, "due", v->n_due);
	put(to, "delivered", v->n_good);
	put(to, "bad", v->n_bad);
	put(to, "padded", v->n_padded);
	json_object_set_new(to, "samples_per_second", json_real(trend.samples_per_second));
	json_object_set_new(to, "batches_per_second", json_real(trend.batches_per_second));
	json_object_set_new(to, "waits", waits_json(v->waits_ns));
	put_text(to, "limit", trend.limit);
}

static json_t *shares_json(const struct order_mix *mix)
{
	json_t *list = json_array();

	for (size_t x = 0; x < mix->n_sources; x++)
		json_array_append_new(list, json_integer(mix->shares[x]));
	return list;
}

static json_t *feed_json(struct daemon *d, unsigned feed)
{
	const struct served_feed *f = &d->feeds[feed];
	json_t *j = json_object(), *bad = json_object(), *groups = json_array();
	struct core_feed_view v;

	core_view_feed(d->core, feed, &v);
	json_object_set_new(j, "name", json_string(f->config->name));
	put(j, "samples", f->dataset->samples.n_samples);
	put(j, "shards", f->dataset->samples.n_shards);
	put(j, "positions", f->n_positions);
	if (f->order.mix)
		json_object_set_new(j, "shares", shares_json(f->order.mix));
	put_slots(j, &v.slots);
	put(j, "slot_bytes", f->layout.n_bytes);
	put_delivered(j, d, feed, &v);
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

static json_t *bad_json(const struct daemon *d, const struct seen_bad *b)
{
	json_t *j = json_object();

	json_object_set_new(j, "feed", json_string(d->feeds[b->feed].config->name));
	put_text(j, "shard", b->shard);
	put_text(j, "key", b->key);
	put(j, "offset", b->offset);
	json_object_set_new(j, "cause", json_string(cause_name(b->cause)));
	json_object_set_new(j, "text", json_string(cause_text(b->cause)));
	put_text(j, "detail", b->detail);
	put_seconds(j, "seconds_ago", d->now_ns - b->seen_ns);
	return j;
}

/* The newest first. */
static json_t *seen_bad_json(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < d->n_seen_bad && i < SEEN_BAD_MAX; i++)
		json_array_append_new(list, bad_json(d, &d->seen_bad[(d->n_seen_bad - 1 - i) % SEEN_BAD_MAX]));
	return list;
}

static void put_reload(json_t *to, const struct daemon *d)
{
	const struct reload *r = &d->reload;
	json_t *j = json_object();

	if (!r->at_ns) {
		json_decref(j);
		json_object_set_new(to, "reload", json_null());
		return;
	}
	put(j, "applied", r->n_applied);
	put(j, "refused", r->n_refused);
	put_seconds(j, "seconds_ago", d->now_ns - r->at_ns);
	json_object_set_new(j, "outcome", json_string(r->was_refused ? "refused" : "applied"));
	put_text(j, "text", r->said.text);
	json_object_set_new(to, "reload", j);
}

static void put_cpu(json_t *to, struct daemon *d)
{
	json_t *cpu = json_object();

	put_seconds(cpu, "core", footprint_cpu(getpid()));
	put_seconds(cpu, "workers", d->workers_cpu_ns);
	json_object_set_new(to, "cpu_seconds", cpu);
}

unsigned status_sessions(const struct daemon *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		n += d->sessions[i].state == SESSION_ATTACHED;
	return n;
}

json_t *status_tree(struct daemon *d)
{
	json_t *j = json_object(), *feeds = json_array();

	daemon_glance(d);
	footprint_sample(d);
	d->workers_cpu_ns = trend_workers_cpu(d);
	json_object_set_new(j, "version", json_string(RINGFEED_VERSION));
	put(j, "pid", (uint64_t)getpid());
	put(j, "clean_parent_pid", (uint64_t)d->parent.pid);
	put_text(j, "socket", d->socket_path);
	put_seconds(j, "uptime_seconds", d->now_ns - d->started_ns);
	json_object_set_new(j, "engine", json_string(io_engine_kind(d->engine) == IO_URING ? "uring" : "threads"));
	put(j, "registered_bytes", io_engine_registered(d->engine));
	put_text(j, "engine_reason", d->io_reason);
	json_object_set_new(j, "kernels", json_string(maker_kernels()));
	put_cpu(j, d);
	put(j, "sessions", status_sessions(d));
	put_reload(j, d);
	json_object_set_new(j, "memory", memory_json(d));
	json_object_set_new(j, "workers", workers_json(d));
	json_object_set_new(j, "reads", reads_json(d));
	for (unsigned i = 0; i < d->n_feeds; i++)
		json_array_append_new(feeds, feed_json(d, i));
	json_object_set_new(j, "feeds", feeds);
	json_object_set_new(j, "seen_bad", seen_bad_json(d));
	return j;
}

char *status_json(struct daemon *d)
{
	json_t *j = status_tree(d);
	char *text = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(j);
	return text;
}
