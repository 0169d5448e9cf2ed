/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* plan: how daemon.memory would be spent and what an epoch looks like; refuses what cannot fit. */
#include "main/command.h"
#include "main/mixture.h"
#include "main/planned.h"

#include "base/fault.h"
#include "batch/machine.h"
#include "core/forecast.h"
#include "order/order.h"
#include "order/quality.h"
#include "serve/planning.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Samples looked at, of a larger epoch: a fraction of a second. */
enum { LOOKED_AT = 1 << 16 };

/* What an epoch of one feed is like. */
struct outlook {
	struct order_quality quality; /* not of a mix */
	struct mixture *mixture;	      /* of a mix, each source */
	struct core_forecast reads;
};

static int look_ahead(const struct planning *p, unsigned feed, struct outlook *ret)
{
	const struct core_feed *f = &p->core_feeds[feed];
	const struct order_shards shards = samples_shards(f->samples);
	struct order order;
	int r;

	if (f->order.mix) {
		r = mixture_new(f, LOOKED_AT, &ret->mixture);
	} else {
		r = order_init(&order, &f->order, &shards, 0);
		if (r == 0)
			order_quality(&order, LOOKED_AT, &ret->quality);
		if (r == 0)
			order_deinit(&order);
	}
	if (r < 0)
		return pass(r);
	r = core_forecast(&p->spec, feed, LOOKED_AT, &ret->reads);
	return r < 0 ? pass(r) : 0;
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static void print_outlook(const char *name, const struct outlook *o)
{
	if (o->mixture)
		mixture_print(name, o->mixture);
	else
		printf("feed %s: shuffled to %.1f %% (displacement) and %.1f %% (adjacency) of what a random permutation gives; "
	       "%.1f %% of neighbours are of one shard (there %.1f %%)\n", name, 100 * o->quality.displacement,
	       100 * o->quality.adjacency, 100 * o->quality.same_shard, 100 * o->quality.same_shard_expected);
	printf("feed %s: reads of %.1f KiB in the mean, %.2f of them and %.1f KiB per sample\n", name,
	       ratio(o->reads.read_bytes, o->reads.n_reads) / 1024, ratio(o->reads.n_reads, o->reads.n_samples),
	       ratio(o->reads.read_bytes, o->reads.n_samples) / 1024);
}

/* What a shared pass gives and costs, where there is one. */
static void print_sharing(const struct core_feed *f)
{
	char apart[60] = "in lock-step";

	if (f->window == 0)
		return;
	if (f->window > 1)
		snprintf(apart, sizeof(apart), "up to %u batches apart", f->window);
	printf("feed %s: groups share one pass, decoded once, %s; those of one world size, batch and view read the same slots, "
	       "so more of them take no more\n", f->name, apart);
}

/* Most slots that trainers of one rank may hold. */
static uint32_t held_most(const struct core_feed *f)
{
	return f->slots_per_rank < f->n_slots ? f->slots_per_rank : f->n_slots;
}

/* What the daemon before leaves in its trainers' memory is nobody's budget. */
static void print_restart(const struct core_feed *f)
{
	char all[32], each[32];

	plan_bytes_print(f->n_slots * f->slot_bytes, all, sizeof(all));
	plan_bytes_print(f->slot_bytes, each, sizeof(each));
	printf("feed %s: a restart under running trainers needs up to %s beside daemon.memory: the old slots, each until the "
	       "trainers that map it attach again, or release it where they hold it (of one rank up to %u x %s)\n",
	       f->name, all, held_most(f), each);
}

static void print_text(const struct config *config, const struct planning *p, const struct outlook *outlooks)
{
	int width = plan_name_width(&p->plan);
	char line[300], total[32], budget[32];

	for (size_t i = 0; i < p->plan.n_lines; i++) {
		plan_line_print(&p->plan.lines[i], width, line, sizeof(line));
		puts(line);
	}
	plan_bytes_print(p->plan.total, total, sizeof(total));
	plan_bytes_print(p->plan.memory, budget, sizeof(budget));
	printf("%-*s %s of %s (daemon.memory)\n", width, "total", total, budget);
	printf("%-*s %u (%s)\n", width, "workers", p->n_workers, p->workers_text);
	for (size_t i = 0; i < config->n_feeds; i++) {
		const struct core_feed *f = &p->core_feeds[i];
		const struct pass pass = dataset_pass(&config->feeds[i], f->n_positions);

		printf("feed %s: %llu samples in %zu shards; %llu batches of %llu per rank and epoch "
		       "(world size %llu)\n", f->name, (unsigned long long)f->samples->n_samples, f->samples->n_shards,
		       (unsigned long long)pass_n_batches(&pass), (unsigned long long)pass.batch,
		       (unsigned long long)pass.world);
		print_restart(f);
		if (f->base != i) {
			printf("feed %s: a view: samples, order and reads are those of %s\n", f->name,
			       p->core_feeds[f->base].name);
			continue;
		}
		print_outlook(f->name, &outlooks[i]);
		print_sharing(f);
		if (f->samples->n_units)
			printf("feed %s: compressed; %llu parts that inflate by themselves, the largest to %.1f KiB; %.1f KiB "
			       "inflated for a sample that comes alone\n", f->name,
			       (unsigned long long)f->samples->n_units, (double)f->samples->largest_unit / 1024,
			       inflating_per_sample(f->samples) / 1024);
	}
}

static json_t *reads_json(const struct core_forecast *f)
{
	return json_pack("{s:f, s:f, s:f, s:b}", "mean_bytes", ratio(f->read_bytes, f->n_reads), "per_sample",
			 ratio(f->n_reads, f->n_samples), "bytes_per_sample", ratio(f->read_bytes, f->n_samples), "exact",
			 f->is_exact);
}

static int print_json(const struct config *config, const struct planning *p, const struct outlook *outlooks)
{
	json_t *all = json_object(), *lines = json_array(), *feeds = json_array();
	int r;

	for (size_t i = 0; i < p->plan.n_lines; i++)
		json_array_append_new(lines, json_pack("{s:s, s:I}", "name", p->plan.lines[i].name, "bytes",
						       (json_int_t)p->plan.lines[i].n_bytes));
	for (size_t i = 0; i < config->n_feeds; i++) {
		const struct core_feed *f = &p->core_feeds[i];
		const struct outlook *o = &outlooks[f->base];
		const struct pass pass = dataset_pass(&config->feeds[i], f->n_positions);

		json_array_append_new(feeds, json_pack(
			"{s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:I, s:I, s:f}", "name", f->name,
			"view_of", f->base == i ? NULL : p->core_feeds[f->base].name,
			"samples", (json_int_t)f->samples->n_samples, "positions", (json_int_t)f->n_positions, "shards", (json_int_t)f->samples->n_shards,
			"batches_per_epoch", (json_int_t)pass_n_batches(&pass), "world",
			(json_int_t)pass.world, "slots", (json_int_t)f->n_slots, "slot_bytes",
			(json_int_t)f->slot_bytes, "share_window", (json_int_t)f->window, "restart_bytes",
			(json_int_t)(f->n_slots * f->slot_bytes), "restart_held_bytes_per_rank",
			(json_int_t)(held_most(f) * f->slot_bytes), "fingerprint", f->samples->fingerprint, "shuffle",
			o->mixture ? json_null() : quality_json(&o->quality), "sources",
			o->mixture ? mixture_json(o->mixture) : json_null(), "reads", reads_json(&o->reads),
			"units", (json_int_t)f->samples->n_units, "largest_unit_bytes",
			(json_int_t)f->samples->largest_unit, "inflated_bytes_per_sample",
			inflating_per_sample(f->samples)));

	}
	json_object_set_new(all, "budget_bytes", json_integer((json_int_t)p->plan.memory));
	json_object_set_new(all, "planned_bytes", json_integer((json_int_t)p->plan.total));
	json_object_set_new(all, "needed_bytes", json_integer((json_int_t)p->plan.needed));
	json_object_set_new(all, "workers", json_integer(p->n_workers));
	json_object_set_new(all, "lines", lines);
	json_object_set_new(all, "feeds", feeds);
	r = json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
	return r ? STATUS_FAILED : STATUS_DONE;
}

static int print(const struct config *config, const struct planning *p, bool is_json)
{
	struct outlook *outlooks = calloc(config->n_feeds, sizeof(*outlooks));
	int r = outlooks ? 0 : fail(-ENOMEM), status = STATUS_FAILED;

	for (size_t i = 0; r == 0 && i < config->n_feeds; i++)
		if (p->core_feeds[i].base == i) /* else it is its feed's */
			r = look_ahead(p, (unsigned)i, &outlooks[i]);
	if (r < 0) {
		fprintf(stderr, "ringfeed plan: %s (%s)\n", strerror(-r), fault_trail());
	} else if (is_json) {
		status = print_json(config, p, outlooks);
	} else {
		print_text(config, p, outlooks);
		status = STATUS_DONE;
	}
	for (size_t i = 0; outlooks && i < config->n_feeds; i++)
		mixture_free(outlooks[i].mixture);
	free(outlooks);
	return status;
}

static int plan(const struct config *config, const struct dataset *datasets, bool is_json)
{
	struct machine_limit limit;
	struct planning p;
	struct reason why = {{0}};
	int r = planning_make(config, datasets, &p, &why), status = STATUS_CONFIG;

	if (r == 0) {
		machine_memory("", &limit);
		r = machine_check_memory(&limit, p.plan.total, &why);
	}
	if (r < 0) {
		fprintf(stderr, "ringfeed plan: %s (%s)\n", strerror(-r), fault_trail());
		status = STATUS_FAILED;
	} else if (r > 0) {
		fprintf(stderr, "ringfeed: %s\n", why.text);
	} else {
		status = print(config, &p, is_json);
	}
	planning_deinit(&p);
	return status;
}

int cmd_plan(int argc, char **argv)
{
	struct dataset *datasets;
	struct config *config;
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	datasets = datasets_open(config, tell_stderr, NULL);
	if (datasets) {
		status = plan(config, datasets, options.is_json);
		datasets_free(datasets, config->n_feeds);
	} else {
		status = STATUS_CONFIG;
	}
	config_free(config);
	return status;
}
