/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Groups have no record of their own in a snapshot: they are made of the ranks that share a number. */
#include "watch/status.h"

#include "base/reason.h"
#include "watch/snapshot.h"

#include <stdio.h>

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

static json_t *memory_json(const struct snapshot_memory *from)
{
	json_t *m = json_object(), *lines = json_array();

	put(m, "budget_bytes", from->budget);
	put(m, "planned_bytes", from->planned);
	put(m, "resident_bytes", from->resident);
	put(m, "peak_bytes", from->peak);
	for (size_t i = 0; i < from->n_lines; i++) {
		json_t *line = json_object();

		json_object_set_new(line, "name", json_string(from->lines[i].name));
		put(line, "bytes", from->lines[i].n_bytes);
		json_array_append_new(lines, line);
	}
	json_object_set_new(m, "plan", lines);
	return m;
}

static json_t *workers_json(const struct snapshot *s)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < s->n_workers; i++) {
		json_t *w;

		if (i >= s->n_wanted && !s->workers[i].is_up)
			continue; /* since a reload */
		w = json_object();

		put(w, "pid", (uint64_t)s->workers[i].pid);
		json_object_set_new(w, "up", json_boolean(s->workers[i].is_up));
		json_array_append_new(list, w);
	}
	return list;
}

static json_t *reads_json(const struct snapshot_reads *from)
{
	json_t *r = json_object();

	put(r, "requests", from->n_reads);
	put(r, "bytes", from->n_bytes);
	put(r, "sample_bytes", from->n_sample_bytes);
	put(r, "retries", from->n_retries);
	put(r, "mended", from->n_mended);
	put(r, "in_flight", from->n_flying);
	put(r, "staging_bytes_used", from->staging_used);
	put(r, "units_inflated", from->n_units);
	put(r, "bytes_inflated", from->n_unit_bytes);
	put(r, "tasks", from->n_tasks);
	put(r, "worker_deaths", from->n_worker_deaths);
	return r;
}

static json_t *waits_json(const uint64_t *waits_ns)
{
	json_t *w = json_object();

	for (unsigned i = 0; i < SNAPSHOT_WAITS; i++)
		put_seconds(w, snapshot_wait_name(i), waits_ns[i]);
	return w;
}

static void put_lent(json_t *to, const struct snapshot_lent *from)
{
	put(to, "due", from->n_due);
	put(to, "delivered", from->n_delivered);
	put(to, "bad", from->n_bad);
	put(to, "padded", from->n_padded);
}

/* ---- ranks and groups ---- */

static uint64_t steps_of(const struct snapshot_rank *r)
{
	return r->epoch * r->n_batches_in_epoch + r->step;
}

static json_t *passes_json(const double *passes, size_t n)
{
	json_t *list = json_array();

	for (size_t x = 0; x < n; x++)
		json_array_append_new(list, json_real(passes[x]));
	return list;
}

static json_t *rank_json(const struct snapshot *s, const struct snapshot_rank *from, uint64_t most_steps)
{
	static const char *const states[] = {
		[SNAPSHOT_ATTACHED] = "attached", [SNAPSHOT_LEAVING] = "leaving",
		[SNAPSHOT_FAILED] = "failed", [SNAPSHOT_QUARANTINED] = "quarantined"};
	json_t *r = json_object(), *holders = json_array();
	uint64_t steps = steps_of(from), lag = most_steps > steps ? most_steps - steps : 0;

	put(r, "rank", from->rank);
	put(r, "replica", from->replica);
	put(r, "pid", (uint64_t)from->pid);
	json_object_set_new(r, "state", json_string(states[from->state]));
	put(r, "epoch", from->epoch);
	put(r, "step", from->step);
	put(r, "batches_in_epoch", from->n_batches_in_epoch);
	if (s->feeds[from->feed].n_sources)
		json_object_set_new(r, "passes", passes_json(from->passes, s->feeds[from->feed].n_sources));
	put(r, "lag", from->lag > lag ? from->lag : lag); /* in its own group, or in the pass it shares */
	put(r, "batches", from->n_batches);
	put(r, "slots", from->n_slots);
	json_object_set_new(r, "shared", json_boolean(from->is_shared));
	put(r, "leases", from->n_leases);
	put(r, "quarantined_slots", from->n_quarantined);
	for (uint32_t i = 0; i < from->n_holders; i++)
		json_array_append_new(holders, json_integer(from->holders[i]));
	json_object_set_new(r, "held_by", holders);
	put_lent(r, &from->lent);
	json_object_set_new(r, "waits", waits_json(from->lent.waits_ns));
	put_text(r, "waits_for", from->wait >= 0 ? snapshot_wait_name((enum snapshot_wait)from->wait) : "");
	return r;
}

static bool is_behind(const json_t *rank, const struct snapshot_rank *other)
{
	json_int_t n = json_integer_value(json_object_get(rank, "rank"));
	json_int_t replica = json_integer_value(json_object_get(rank, "replica"));

	return n > other->rank || (n == other->rank && replica > other->replica);
}

/* Where a rank belongs among those that are there already. */
static size_t place_of(const json_t *ranks, const struct snapshot_rank *rank)
{
	size_t i = 0;

	while (i < json_array_size(ranks) && !is_behind(json_array_get(ranks, i), rank))
		i++;
	return i;
}

/* The group of ranks[first] as JSON, if that is its first member; else NULL. */
static json_t *group_json(const struct snapshot *s, unsigned first)
{
	const struct snapshot_rank *of = &s->ranks[first];
	json_t *g, *ranks;
	uint64_t most = 0;

	for (unsigned i = 0; i < s->n_ranks; i++) {
		if (s->ranks[i].group_number != of->group_number)
			continue;
		if (i < first)
			return NULL;
		if (steps_of(&s->ranks[i]) > most)
			most = steps_of(&s->ranks[i]);
	}
	g = json_object();
	ranks = json_array();
	put_text(g, "name", of->group);
	put(g, "number", of->group_number);
	put(g, "world", of->world);
	for (unsigned i = first; i < s->n_ranks; i++)
		if (s->ranks[i].group_number == of->group_number)
			json_array_insert_new(ranks, place_of(ranks, &s->ranks[i]), rank_json(s, &s->ranks[i], most));
	json_object_set_new(g, "ranks", ranks);
	return g;
}

/* ---- feeds ---- */

static json_t *slots_json(const struct snapshot_slots *s)
{
	json_t *slots = json_object();

	put(slots, "all", s->all);
	put(slots, "free", s->free);
	put(slots, "filling", s->filling);
	put(slots, "ready", s->ready);
	put(slots, "leased", s->leased);
	put(slots, "quarantined", s->quarantined);
	return slots;
}

static json_t *causes_json(const struct snapshot_feed *f)
{
	json_t *bad = json_object();

	for (unsigned i = CAUSE_none + 1; i < CAUSE_COUNT; i++)
		if (f->causes[i])
			put(bad, cause_name(i), f->causes[i]);
	return bad;
}

/* What was lent to trainers, the ended sessions' too, and how fast that goes now. */
static void put_delivered(json_t *to, const struct snapshot_feed *f)
{
	put(to, "batches", f->n_batches);
	put(to, "made", f->n_made);
	put_lent(to, &f->lent);
	json_object_set_new(to, "samples_per_second", json_real(f->trend.samples_per_second));
	json_object_set_new(to, "batches_per_second", json_real(f->trend.batches_per_second));
	json_object_set_new(to, "waits", waits_json(f->lent.waits_ns));
	put_text(to, "limit", f->trend.limit);
}

static json_t *shares_json(const struct snapshot_feed *f)
{
	json_t *list = json_array();

	for (size_t x = 0; x < f->n_sources; x++)
		json_array_append_new(list, json_integer(f->shares[x]));
	return list;
}

static void put_sharing(json_t *to, const struct snapshot_feed *f)
{
	static const char *const names[] = {"independent", "lockstep", "window"};

	json_object_set_new(to, "share", json_string(names[f->window < 2 ? f->window : 2]));
	put(to, "window", f->window);
}

static json_t *feed_json(const struct snapshot *s, unsigned feed)
{
	const struct snapshot_feed *f = &s->feeds[feed];
	json_t *j = json_object(), *groups = json_array();

	json_object_set_new(j, "name", json_string(f->name));
	put(j, "samples", f->n_samples);
	put(j, "shards", f->n_shards);
	put(j, "positions", f->n_positions);
	if (f->n_sources)
		json_object_set_new(j, "shares", shares_json(f));
	put_sharing(j, f);
	json_object_set_new(j, "slots", slots_json(&f->slots));
	put(j, "slot_bytes", f->slot_bytes);
	put_delivered(j, f);
	put(j, "slots_on_huge_pages", f->n_huge_slots);
	json_object_set_new(j, "bad_samples", causes_json(f));
	put(j, "jpeg_warnings", f->n_warnings);
	for (unsigned i = 0; i < s->n_ranks; i++) {
		json_t *group = s->ranks[i].feed == feed ? group_json(s, i) : NULL;

		if (group)
			json_array_append_new(groups, group);
	}
	json_object_set_new(j, "groups", groups);
	return j;
}

static json_t *bad_json(const struct snapshot *s, const struct snapshot_bad *b)
{
	json_t *j = json_object();

	json_object_set_new(j, "feed", json_string(s->feeds[b->feed].name));
	put_text(j, "shard", b->shard);
	put_text(j, "key", b->key);
	put(j, "offset", b->offset);
	json_object_set_new(j, "cause", json_string(cause_name(b->cause)));
	json_object_set_new(j, "text", json_string(cause_text(b->cause)));
	put_text(j, "detail", b->detail);
	put_seconds(j, "seconds_ago", s->now_ns - b->seen_ns);
	return j;
}

/* ---- the whole ---- */

static json_t *reload_json(const struct snapshot *s)
{
	const struct snapshot_reload *r = &s->reload;
	json_t *j;

	if (!r->at_ns)
		return json_null();
	j = json_object();
	put(j, "applied", r->n_applied);
	put(j, "refused", r->n_refused);
	put_seconds(j, "seconds_ago", s->now_ns - r->at_ns);
	json_object_set_new(j, "outcome", json_string(r->was_refused ? "refused" : "applied"));
	put_text(j, "text", r->text);
	return j;
}

static json_t *role_json(const struct snapshot_role *r)
{
	json_t *j = json_object();

	json_object_set_new(j, "seccomp", json_boolean(r->has_filter));
	json_object_set_new(j, "seccomp_reason", json_string(r->filter_reason));
	put(j, "landlock_abi", (uint64_t)r->landlock);
	json_object_set_new(j, "landlock_reason", json_string(r->landlock_reason));
	json_object_set_new(j, "no_new_privs", json_boolean(r->has_no_new_privs));
	put(j, "forbidden_tried", r->n_tried);
	put(j, "forbidden_refused", r->n_refused);
	json_object_set_new(j, "let_through", json_string(r->let_through));
	return j;
}

static json_t *sandbox_json(const struct snapshot_sandbox *s)
{
	json_t *j = json_object();

	json_object_set_new(j, "whole", json_boolean(s->missing && !*s->missing));
	put_text(j, "missing", s->missing ? s->missing : "");
	put_seconds(j, "self_test_seconds", s->took_ns);
	for (unsigned i = 0; i < SNAPSHOT_ROLES; i++)
		if (s->roles[i].name)
			json_object_set_new(j, s->roles[i].name, role_json(&s->roles[i]));
	return j;
}

static json_t *cpu_json(const struct snapshot *s)
{
	json_t *cpu = json_object();

	put_seconds(cpu, "core", s->core_cpu_ns);
	put_seconds(cpu, "workers", s->workers_cpu_ns);
	return cpu;
}

json_t *status_tree(const struct snapshot *s)
{
	json_t *j = json_object(), *feeds = json_array(), *seen_bad = json_array();

	json_object_set_new(j, "version", json_string(s->version));
	put(j, "pid", (uint64_t)s->pid);
	put(j, "clean_parent_pid", (uint64_t)s->parent_pid);
	put_text(j, "socket", s->socket);
	put_seconds(j, "uptime_seconds", s->now_ns - s->started_ns);
	put_seconds(j, "longest_step_seconds", s->step_ns_max);
	json_object_set_new(j, "engine", json_string(s->engine));
	put(j, "registered_bytes", s->registered_bytes);
	put_text(j, "engine_reason", s->engine_reason);
	json_object_set_new(j, "kernels", json_string(s->kernels));
	json_object_set_new(j, "cpu_seconds", cpu_json(s));
	put(j, "sessions", s->n_sessions);
	json_object_set_new(j, "reload", reload_json(s));
	json_object_set_new(j, "sandbox", sandbox_json(&s->sandbox));
	json_object_set_new(j, "memory", memory_json(&s->memory));
	json_object_set_new(j, "workers", workers_json(s));
	json_object_set_new(j, "reads", reads_json(&s->reads));
	for (unsigned i = 0; i < s->n_feeds; i++)
		json_array_append_new(feeds, feed_json(s, i));
	json_object_set_new(j, "feeds", feeds);
	for (unsigned i = 0; i < s->n_bad; i++)
		json_array_append_new(seen_bad, bad_json(s, &s->bad[i]));
	json_object_set_new(j, "seen_bad", seen_bad);
	return j;
}

char *status_json(const struct snapshot *s)
{
	json_t *j = status_tree(s);
	char *text = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(j);
	return text;
}
