/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The one place that turns a running daemon into a snapshot for those who look at it from outside. */
#include "serve/daemon.h"

#include "serve/footprint.h"
#include "worker/maker.h"

#include <string.h>
#include <unistd.h>

_Static_assert((int)SNAPSHOT_RANKS_MAX >= (int)STREAMS_MAX, "a snapshot holds all ranks");
_Static_assert((int)SNAPSHOT_BAD_MAX == (int)SEEN_BAD_MAX, "a snapshot holds what is kept of bad samples");

#define WEIGH_NS UINT64_C(20000000)

static const enum snapshot_wait wait_of[CORE_WAITS] = {
	[CORE_WAIT_READ] = SNAPSHOT_WAIT_READ, [CORE_WAIT_DECODE] = SNAPSHOT_WAIT_DECODE,
	[CORE_WAIT_SLOTS] = SNAPSHOT_WAIT_SLOTS, [CORE_WAIT_TRAINER] = SNAPSHOT_WAIT_TRAINER};

static void take_waits(const uint64_t *from_ns, uint64_t *ret_ns)
{
	for (unsigned i = 0; i < CORE_WAITS; i++)
		ret_ns[wait_of[i]] = from_ns[i];
}

/* The dead workers and the clean parent included. */
static uint64_t workers_cpu(const struct daemon *d)
{
	uint64_t n = footprint_cpu_with_reaped(d->parent.pid);

	for (unsigned i = 0; i < d->n_workers; i++)
		if (d->helpers[i].pid)
			n += footprint_cpu(d->helpers[i].pid);
	return n;
}

/* Asking the kernel for memory and CPU time is most of what a look costs: however many look, it is asked once in a while. */
static void weigh(struct daemon *d)
{
	if (d->now_ns - d->weighed_ns < WEIGH_NS)
		return;
	d->weighed_ns = d->now_ns;
	footprint_sample(d);
	d->snapshot.core_cpu_ns = footprint_cpu(d->snapshot.pid);
	d->snapshot.workers_cpu_ns = workers_cpu(d);
}

static void take_feed(const struct daemon *d, unsigned feed, struct snapshot_feed *ret)
{
	struct core_feed_view v;

	core_view_feed(d->core, feed, &v);
	ret->slots = (struct snapshot_slots){.free = v.slots.free, .filling = v.slots.filling, .ready = v.slots.ready,
					     .leased = v.slots.leased, .quarantined = v.slots.quarantined,
					     .all = v.slots.all};
	ret->n_batches = v.n_batches;
	ret->n_made = v.n_made;
	ret->lent = (struct snapshot_lent){.n_due = v.n_due, .n_delivered = v.n_good, .n_bad = v.n_bad,
					   .n_padded = v.n_padded};
	take_waits(v.waits_ns, ret->lent.waits_ns);
	memcpy(ret->causes, v.causes, sizeof(ret->causes));
	ret->n_warnings = v.n_warnings;
}

static void take_counters(struct daemon *d)
{
	struct snapshot *s = &d->snapshot;

	daemon_glance(d);
	s->now_ns = d->now_ns;
	weigh(d);
	for (unsigned i = 0; i < d->n_feeds; i++)
		take_feed(d, i, &s->feeds[i]);
}

static enum snapshot_state state_of(const struct core_stream_view *v)
{
	if (v->n_quarantined)
		return SNAPSHOT_QUARANTINED;
	if (v->has_failed)
		return SNAPSHOT_FAILED;
	return v->is_detached || v->has_hung_up || v->has_exited ? SNAPSHOT_LEAVING : SNAPSHOT_ATTACHED;
}

static void take_rank(const struct session *s, const struct core_stream_view *v, struct snapshot_rank *ret)
{
	*ret = (struct snapshot_rank){
		.feed = v->feed, .rank = v->rank, .replica = v->replica ? v->replica - 1 : 0, .is_shared = v->is_shared, .lag = v->lag, .world = v->world, .group = v->group, .group_number = v->group_number,
		.pid = s->pid, .state = state_of(v), .epoch = v->epoch, .step = v->step,
		.n_batches_in_epoch = v->n_steps, .n_batches = s->n_batches, .n_slots = v->n_slots,
		.n_quarantined = v->n_quarantined, .n_leases = v->n_lent, .holders = s->holders,
		.n_holders = s->n_holders, .wait = v->wait < 0 ? -1 : (int)wait_of[v->wait],
		.lent = {.n_due = v->n_due, .n_delivered = v->n_good, .n_bad = v->n_bad, .n_padded = v->n_padded}};
	take_waits(v->waits_ns, ret->lent.waits_ns);
}

/* Of each source of a mix: passes over it that are behind, the present one by its share. */
static void take_passes(const struct served_feed *f, const struct core_stream_view *v, double *ret)
{
	const struct order_shards shards = samples_shards(&f->dataset->samples);

	for (size_t x = 0; f->order.mix && x < f->order.mix->n_sources; x++) {
		struct order_progress at;

		order_progress(&f->order, &shards, x, v->epoch, v->position, &at);
		ret[x] = (double)at.pass + (double)at.n_behind / (double)at.n_all;
	}
}

static void take_ranks(struct daemon *d)
{
	struct snapshot *s = &d->snapshot;
	struct core_stream_view v;

	s->n_ranks = 0;
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct snapshot_rank *r = &s->ranks[s->n_ranks];

		core_view_stream(d->core, i, &v);
		if (!v.is_used)
			continue;
		take_rank(&d->sessions[d->stream_session[i]], &v, r);
		r->passes = s->passes + s->n_ranks++ * s->n_sources;
		take_passes(&d->feeds[v.feed], &v, r->passes);
	}
}

static void take_reads(const struct daemon *d, struct snapshot_reads *ret)
{
	struct core_totals t;

	core_view_totals(d->core, &t);
	*ret = (struct snapshot_reads){
		.n_reads = t.n_reads, .n_bytes = t.read_bytes, .n_sample_bytes = t.sample_bytes, .n_retries = t.n_retries,
		.n_mended = t.n_mended,
		.n_flying = d->n_flying, .staging_used = t.staging_used, .n_units = t.n_units,
		.n_unit_bytes = t.inflated_bytes, .n_tasks = t.n_tasks, .n_task_samples = t.n_samples,
		.n_worker_deaths = t.n_worker_deaths, .latency = d->read_latency};
}

static void take_processes(struct daemon *d)
{
	struct snapshot *s = &d->snapshot;

	weigh(d);
	s->memory.resident = d->resident_bytes;
	s->memory.peak = d->peak_bytes;
	s->step_ns_max = d->step_ns_max[0] > d->step_ns_max[1] ? d->step_ns_max[0] : d->step_ns_max[1];
	s->n_wanted = d->n_wanted;
	for (unsigned i = 0; i < d->n_workers; i++)
		s->workers[i] = (struct snapshot_worker){.pid = d->helpers[i].pid, .is_up = d->helpers[i].is_up};
	s->n_sessions = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		s->n_sessions += d->sessions[i].state == SESSION_ATTACHED;
}

static void take_bad(struct daemon *d)
{
	struct snapshot *s = &d->snapshot;

	for (s->n_bad = 0; s->n_bad < d->n_seen_bad && s->n_bad < SEEN_BAD_MAX; s->n_bad++) {
		const struct seen_bad *b = &d->seen_bad[(d->n_seen_bad - 1 - s->n_bad) % SEEN_BAD_MAX];

		s->bad[s->n_bad] = (struct snapshot_bad){.seen_ns = b->seen_ns, .offset = b->offset, .shard = b->shard,
							 .key = b->key, .detail = b->detail, .feed = b->feed,
							 .cause = b->cause};
	}
}

static size_t most_sources(const struct daemon *d)
{
	size_t n = 0;

	for (unsigned i = 0; i < d->n_feeds; i++)
		if (d->feeds[i].order.mix && d->feeds[i].order.mix->n_sources > n)
			n = d->feeds[i].order.mix->n_sources;
	return n;
}

static void describe_feed(const struct served_feed *f, struct snapshot_feed *ret)
{
	const struct order_mix *mix = f->order.mix;

	*ret = (struct snapshot_feed){
		.name = f->config->name, .n_samples = f->dataset->samples.n_samples,
		.n_shards = f->dataset->samples.n_shards, .n_positions = f->n_positions,
		.window = f->config->share_window, .slot_bytes = f->layout.n_bytes, .n_huge_slots = slots_huge(&f->pool), .slots.all = f->pool.n,
		.shares = mix ? mix->shares : NULL, .n_sources = mix ? mix->n_sources : 0};
}

_Static_assert((int)SNAPSHOT_ROLES == (int)SANDBOX_ROLES, "a snapshot holds all roles");

static void describe_sandbox(const struct sandbox_report *from, struct snapshot_sandbox *ret)
{
	*ret = (struct snapshot_sandbox){.missing = from->missing.text, .took_ns = from->took_ns};
	for (unsigned i = 0; i < SANDBOX_ROLES; i++) {
		const struct sandbox_finding *f = &from->roles[i];

		ret->roles[i] = (struct snapshot_role){
			.name = sandbox_role_name(i), .has_filter = f->has_filter, .has_no_new_privs = f->has_no_new_privs,
			.landlock = f->landlock, .n_tried = f->n_tried, .n_refused = f->n_refused,
			.filter_reason = f->filter_reason, .landlock_reason = f->landlock_reason,
			.let_through = f->let_through};
	}
}

int snapshot_open(struct daemon *d)
{
	const struct plan *plan = &d->planning.plan;
	struct snapshot *s = &d->snapshot;
	int r = snapshot_init(s, d->n_feeds, d->n_workers, plan->n_lines, most_sources(d));

	if (r)
		return r;
	s->version = RINGFEED_VERSION;
	s->socket = d->socket_path;
	s->engine = io_engine_kind(d->engine) == IO_URING ? "uring" : "threads";
	s->engine_reason = d->io_reason;
	s->kernels = maker_kernels();
	s->pid = getpid();
	s->parent_pid = d->parent.pid;
	s->started_ns = d->started_ns;
	s->n_cpus = d->n_cpus;
	describe_sandbox(&d->sandbox, &s->sandbox);
	s->memory.budget = plan->memory;
	s->memory.planned = plan->total;
	for (size_t i = 0; i < plan->n_lines; i++)
		s->memory.lines[i] = (struct snapshot_line){.name = plan->lines[i].name, .n_bytes = plan->lines[i].n_bytes};
	for (unsigned i = 0; i < d->n_feeds; i++)
		describe_feed(&d->feeds[i], &s->feeds[i]);
	return trend_init(&d->trend, d->n_feeds);
}

void snapshot_close(struct daemon *d)
{
	trend_deinit(&d->trend);
	snapshot_deinit(&d->snapshot);
}

void snapshot_time(struct daemon *d)
{
	if (!trend_is_due(&d->trend, d->now_ns))
		return;
	take_counters(d);
	trend_note(&d->trend, &d->snapshot);
}

const struct snapshot *snapshot_take(void *daemon)
{
	struct daemon *d = daemon;
	struct snapshot *s = &d->snapshot;

	take_counters(d);
	take_ranks(d);
	take_reads(d, &s->reads);
	take_processes(d);
	take_bad(d);
	s->registered_bytes = io_engine_registered(d->engine);
	s->reload = (struct snapshot_reload){.at_ns = d->reload.at_ns, .n_applied = d->reload.n_applied,
					     .n_refused = d->reload.n_refused, .text = d->reload.said.text,
					     .was_refused = d->reload.was_refused};
	trend_tell(&d->trend, s);
	return s;
}
