/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The bases are private memory (smaps_rollup: Pss_Anon + Pss_File) that no other line counts, measured on Debian 12
 * under load with 1 to 4 workers and 1 to 6 feeds, and stated with room to spare: core at most 1.9 MiB beside
 * its tables, and it may come to keep 4 MiB for clients that do not read (OUTBOX_MAX each); clean parent 0.5 MiB;
 * worker 1.8 MiB beside its scratch, and what it inflates with. tests/scene/memory.py checks the promise as a whole.
 */
#include "serve/planning.h"

#include "base/classes.h"
#include "base/fault.h"
#include "batch/machine.h"
#include "io/engine.h"
#include "shard/inflate.h"
#include "watch/trace.h"
#include "watch/web.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define SECOND_NS UINT64_C(1000000000)

enum {
	CORE_BASE_MIB = 8,
	PARENT_BASE_MIB = 1,
	WORKER_BASE_MIB = 3,
	STAGING_LEAST_MIB = 16,
	STAGING_MOST_MIB = 64,
	SLOTS_OF_A_FEED = 512, /* each is a file descriptor */
	TASK_TIMEOUT_S = 60,
};

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static void describe_feed(const struct config_feed *f, const struct dataset *d, struct core_feed *ret,
			  struct slot_layout *ret_layout)
{
	static const enum core_policy policies[] = {[CONFIG_BAD_FAIL] = CORE_BAD_FAIL,
						    [CONFIG_BAD_SUBSTITUTE] = CORE_BAD_SUBSTITUTE,
						    [CONFIG_BAD_MASK] = CORE_BAD_MASK};
	uint64_t rows = f->batch_size ? f->batch_size
				      : (f->batch_global + f->batch_ranks - 1) / f->batch_ranks;

	slot_layout_make(&f->pipeline, (uint32_t)rows, ret_layout);
	*ret = (struct core_feed){
		.name = f->name, .samples = &d->samples, .batch_size = f->batch_size,
		.batch_global = f->batch_global, .last = dataset_last(f), .policy = policies[f->bad_policy],
		.bad_limit = f->bad_limit, .is_transient_bad = f->transient == CONFIG_TRANSIENT_AS_BAD,
		.slots_per_rank = f->slots, .window = f->share_window, .evict_ns = f->evict_ns,
		.n_rows = (uint32_t)rows, .slot_bytes = ret_layout->n_bytes,
		.base = (uint32_t)f->base,
	};
	dataset_order(f, d, &ret->order);
	ret->n_positions = dataset_length(f, d);
}

static int check_orders(const struct config *config, const struct planning *p, struct reason *why)
{
	for (size_t i = 0; i < config->n_feeds; i++) {
		const struct core_feed *f = &p->core_feeds[i];
		const struct pass pass = {
			.n_samples = f->n_positions, .last = f->last,
			.batch = f->batch_size ? f->batch_size : f->batch_global, .world = 1,
		};
		struct reason order;

		if (order_check(&f->order, &pass, &order) == 0)
			continue;
		reason_set(why, "feed %s: %s", f->name, order.text);
		return PLANNING_E_REFUSED;
	}
	return 0;
}

static bool has_compressed(const struct planning *p)
{
	for (unsigned i = 0; i < p->spec.n_feeds; i++)
		if (p->core_feeds[i].samples->n_units)
			return true;
	return false;
}

static void fill_spec(const struct config *config, struct planning *p)
{
	p->spec = (struct core_spec){
		.feeds = p->core_feeds, .n_feeds = (unsigned)config->n_feeds, .n_workers = p->n_workers,
		.n_streams = STREAMS_MAX, .n_ahead = AHEAD_MAX, .staging_bytes = p->staging_bytes,
		.read_max = IO_READ_MAX, .reads_in_flight = READS_IN_FLIGHT,
		.read_timeout_ns = config->daemon.read_timeout_ns,
		.task_timeout_ns = TASK_TIMEOUT_S * SECOND_NS,
		.task_cpu_ns = config->daemon.sample_cpu_ns,
	};
	core_area(&p->spec, &p->read_bytes, &p->inflated_bytes);
}

/* What the core keeps for one more slot of feed i. */
static uint64_t core_slot_bytes(const struct core_spec *spec, size_t i)
{
	struct core_feed *f = (struct core_feed *)&spec->feeds[i];
	uint64_t none = core_bytes(spec), one;

	f->n_slots++;
	one = core_bytes(spec);
	f->n_slots--;
	return one - none;
}

/* Feeds that are no views: workers have one set of decoders for a feed and its views. */
static uint64_t count_datasets(const struct config *config)
{
	uint64_t n = 0;

	for (size_t i = 0; i < config->n_feeds; i++)
		n += config->feeds[i].base == i;
	return n;
}

/* What is kept of the dataset; that of a view is its feed's. */
static uint64_t index_bytes(const struct config *config, const struct planning *p, size_t i)
{
	const struct pipeline *pipeline = &config->feeds[i].pipeline;
	uint64_t n;

	if (config->feeds[i].base != i)
		return 0;
	n = samples_bytes(p->core_feeds[i].samples);
	for (unsigned k = 0; k < pipeline->n_fields; k++)
		if (pipeline->fields[k].classes)
			n += classes_bytes(pipeline->fields[k].classes);
	return n;
}

static void fill_input(const struct config *config, const struct planning *p, struct plan_feed *feeds,
		       struct plan_input *in)
{
	*in = (struct plan_input){
		.memory = config->daemon.memory, .core_base = CORE_BASE_MIB * MIB,
		.parent_base = PARENT_BASE_MIB * MIB, .worker_base = WORKER_BASE_MIB * MIB,
		.core_tables = core_bytes(&p->spec), .staging = p->read_bytes,
		.trace = sizeof(struct trace), .web = *config->daemon.metrics ? WEB_BYTES : 0,
		.scratch = SCRATCH_BYTES * count_datasets(config), .n_workers = p->n_workers,
		.feeds = feeds, .n_feeds = config->n_feeds,
	};
	if (has_compressed(p))
		in->worker_base += INFLATE_BYTES;
	for (size_t i = 0; i < config->n_feeds; i++) {
		const struct config_feed *f = &config->feeds[i];

		feeds[i] = (struct plan_feed){
			.name = f->name, .slots = f->slots, .slots_max = SLOTS_OF_A_FEED,
			.slot_bytes = p->layouts[i].n_bytes + core_slot_bytes(&p->spec, i),
			.index_bytes = index_bytes(config, p, i),
			.inflated_bytes = p->core_feeds[i].inflated_bytes,
		};
		for (unsigned k = 0; k < f->pipeline.n_fields; k++) {
			if ((f->pipeline.fields[k].decode == DECODE_IMAGE ||
			     f->pipeline.fields[k].decode == DECODE_JSON) &&
			    f->pipeline.limits.decode_memory > in->large_scratch)
				in->large_scratch = f->pipeline.limits.decode_memory;
		}
	}
}

static uint32_t choose_workers(const struct config *config, const struct plan_input *in,
			       struct planning *p)
{
	struct machine_limit cpus;
	uint32_t n;

	if (config->daemon.workers) {
		snprintf(p->workers_text, sizeof(p->workers_text), "daemon.workers");
		return config->daemon.workers;
	}
	machine_cpus("", machine_affinity(config->daemon.cpus, CPUS_MAX / 64), &cpus);
	n = plan_workers(in, cpus.n < 1024 ? (uint32_t)cpus.n : 1024);
	if (n < cpus.n)
		snprintf(p->workers_text, sizeof(p->workers_text), "auto: of %llu CPUs (%s), as many as "
			 "daemon.memory has room for", (unsigned long long)cpus.n, cpus.name);
	else
		snprintf(p->workers_text, sizeof(p->workers_text), "auto: %s", cpus.name);
	return n;
}

/* One try with this much staging, and room for inflated units as wished or at least. */
static int try_plan(const struct config *config, uint64_t staging, bool is_wished, struct planning *p,
		    struct plan_feed *feeds, struct reason *why)
{
	struct plan_input in;

	for (size_t i = 0; i < config->n_feeds; i++)
		p->core_feeds[i].inflated_bytes = is_wished ? p->inflating[i].wished : p->inflating[i].least;

	plan_deinit(&p->plan);
	p->staging_bytes = staging;
	p->n_workers = config->daemon.workers ? config->daemon.workers : 1;
	fill_spec(config, p);
	fill_input(config, p, feeds, &in);
	p->n_workers = choose_workers(config, &in, p);
	fill_spec(config, p);
	fill_input(config, p, feeds, &in);
	return plan_lay_out(&in, &p->plan, why);
}

/* Room to inflate ahead is not worth a slot that the config asks for. */
static bool has_all_slots(const struct config *config, const struct planning *p)
{
	for (size_t i = 0; i < config->n_feeds; i++)
		if (p->inflating[i].n_units && p->plan.n_slots[i] < config->feeds[i].slots)
			return false;
	return true;
}

static int make(const struct config *config, struct planning *p, struct plan_feed *feeds,
		struct reason *why)
{
	uint64_t least = round_up(core_staging_least(p->core_feeds, (unsigned)config->n_feeds), 2 * MIB);
	uint64_t wished = round_up(config->daemon.memory / 16, 2 * MIB);
	int r;

	if (least < STAGING_LEAST_MIB * MIB)
		least = STAGING_LEAST_MIB * MIB;
	if (wished > STAGING_MOST_MIB * MIB)
		wished = STAGING_MOST_MIB * MIB;
	r = try_plan(config, wished > least ? wished : least, true, p, feeds, why);
	if (r == PLAN_E_TOO_SMALL || (r == 0 && !has_all_slots(config, p)))
		r = try_plan(config, wished > least ? wished : least, false, p, feeds, why);
	if (r == PLAN_E_TOO_SMALL && wished > least)
		r = try_plan(config, least, false, p, feeds, why);
	if (r < 0)
		return pass(r);
	for (size_t i = 0; r && i < config->n_feeds; i++)
		inflating_advise(&config->feeds[i], &p->inflating[i], why);
	if (r)
		return PLANNING_E_REFUSED;
	for (size_t i = 0; i < config->n_feeds; i++)
		p->core_feeds[i].n_slots = p->plan.n_slots[i];
	return 0;
}

static int check_cpus(const struct config *config, struct reason *why)
{
	if (machine_affinity(config->daemon.cpus, CPUS_MAX / 64) > 0)
		return 0;
	reason_set(why, "daemon.cpus: this process may run on none of them; `taskset -cp $$` tells on which it may");
	return PLANNING_E_REFUSED;
}

int planning_make(const struct config *config, const struct dataset *datasets, struct planning *ret,
		  struct reason *why)
{
	struct planning p = {0};
	struct plan_feed *feeds = calloc(config->n_feeds, sizeof(*feeds));
	int r = 0;

	p.core_feeds = calloc(config->n_feeds, sizeof(*p.core_feeds));
	p.layouts = calloc(config->n_feeds, sizeof(*p.layouts));
	p.inflating = calloc(config->n_feeds, sizeof(*p.inflating));
	if (!feeds || !p.core_feeds || !p.layouts || !p.inflating)
		r = fail(-ENOMEM);
	for (size_t i = 0; r == 0 && i < config->n_feeds; i++) {
		const struct dataset *d = &datasets[config->feeds[i].base];

		describe_feed(&config->feeds[i], d, &p.core_feeds[i], &p.layouts[i]);
		if (config->feeds[i].base == i) /* a view's units are its feed's */
			r = inflating_room(config, &config->feeds[i], &d->samples, &p.inflating[i]);
	}
	if (r == 0)
		r = check_cpus(config, why);
	if (r == 0)
		r = check_orders(config, &p, why);
	if (r == 0)
		r = make(config, &p, feeds, why);
	free(feeds);
	*ret = p; /* also when refused: its lines say what is needed */
	return r;
}

void planning_deinit(struct planning *p)
{
	plan_deinit(&p->plan);
	free(p->core_feeds);
	free(p->layouts);
	free(p->inflating);
	p->inflating = NULL;
	p->core_feeds = NULL;
	p->layouts = NULL;
}
