/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A world from a seed: feeds with their samples, memory, and how often what goes wrong. */
#include "sim.h"

#include <stdlib.h>

uint32_t world_base(const struct sim *s, uint32_t feed)
{
	return s->world.feeds[feed].base;
}

bool world_has_views(const struct sim *s)
{
	return world_base(s, s->world.spec.n_feeds - 1) == 0 && s->world.spec.n_feeds > 1;
}

static uint64_t hash(uint64_t a, uint64_t b)
{
	uint64_t z = a * 0x9E3779B97F4A7C15 + b;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

static bool is_chosen(const struct sim *s, uint32_t feed, uint64_t sample, unsigned odds, uint64_t what)
{
	return hash(s->world.more[feed].salt + what, sample) % 10000 < odds;
}

static enum cause cause_by_index(const struct samples *samples, uint64_t sample)
{
	for (unsigned f = 0; f < samples->n_fields; f++) {
		uint32_t block = samples->places[sample * samples->n_fields + f].header_block;

		if (block == SAMPLE_MISSING)
			return CAUSE_missing_field;
		if (block == SAMPLE_REPEATED)
			return CAUSE_repeated_extension;
	}
	return CAUSE_none;
}

enum cause world_cause(const struct sim *s, uint32_t feed, uint64_t sample)
{
	static const enum cause causes[] = {CAUSE_not_an_image, CAUSE_damaged_image, CAUSE_too_many_pixels,
					    CAUSE_too_small, CAUSE_not_an_integer};
	enum cause cause = cause_by_index(&s->world.more[feed].samples, sample);

	if (cause != CAUSE_none || !is_chosen(s, feed, sample, s->world.more[feed].bad, 1))
		return cause;
	return causes[hash(sample, 5) % 5];
}

bool world_is_poison(const struct sim *s, uint32_t feed, uint64_t sample)
{
	return is_chosen(s, feed, sample, s->world.more[feed].poison, 2);
}

bool world_is_large(const struct sim *s, uint32_t feed, uint64_t sample)
{
	return is_chosen(s, feed, sample, s->world.more[feed].large, 3);
}

/* ---- samples ---- */

static uint32_t random_size(struct sim *s, unsigned kind)
{
	switch (kind) {
	case 0:
		return (uint32_t)sim_below(s, 600); /* a label */
	case 1:
		return (uint32_t)sim_between(s, 1, 9000);
	default:
		return (uint32_t)(sim_odds(s, 300) ? sim_between(s, 1, 300000) : sim_between(s, 500, 40000));
	}
}

static void lay_member(struct sim *s, struct samples *samples, uint64_t sample, unsigned field,
		       uint64_t *at, const unsigned *odds_and_kind)
{
	struct sample_place *place = &samples->places[sample * samples->n_fields + field];
	uint64_t n = 512;

	if (sim_odds(s, odds_and_kind[0])) {
		bool is_missing = sim_odds(s, 6000);

		place->header_block = is_missing ? SAMPLE_MISSING : SAMPLE_REPEATED;
		place->size = is_missing ? SAMPLE_MISSING : 0;
		return;
	}
	if (sim_odds(s, 500))
		*at += 512 * sim_below(s, 80); /* a member of no field */
	place->header_block = (uint32_t)(*at / 512);
	place->size = random_size(s, odds_and_kind[1 + field]);
	*at += (n + place->size + 511) / 512 * 512;
}

static void make_samples(struct sim *s, uint32_t feed)
{
	struct world_feed *f = &s->world.more[feed];
	struct samples *samples = &f->samples;
	unsigned odds_and_kind[3] = {sim_odds(s, 4000) ? (unsigned)sim_below(s, sim_odds(s, 5000) ? 400 : 40) : 0,
				     (unsigned)sim_below(s, 3), (unsigned)sim_below(s, 2)};
	uint64_t n_max = sim_odds(s, 7000) ? 200 : 3000, sample = 0;
	unsigned n_packed = sim_odds(s, 6000) ? 0 : (unsigned)sim_between(s, 2000, 10000);

	samples->n_fields = (unsigned)sim_between(s, 1, 2);
	samples->n_shards = sim_between(s, 1, SIM_SHARDS_MAX);
	samples->starts = f->starts;
	samples->shards = f->shards;
	for (size_t i = 0; i < samples->n_shards; i++) {
		uint64_t n = sim_odds(s, 1500) ? 0 : sim_between(s, 1, n_max / samples->n_shards + 1);

		f->shards[i].n_samples = n;
		f->starts[i + 1] = f->starts[i] + n;
	}
	if (f->starts[samples->n_shards] == 0) {
		f->starts[samples->n_shards] = 1;
		f->shards[samples->n_shards - 1].n_samples = 1;
	}
	samples->n_samples = f->starts[samples->n_shards];
	samples->places = calloc(samples->n_samples * samples->n_fields, sizeof(*samples->places));
	for (size_t i = 0; i < samples->n_shards; i++) {
		struct sample_shard *shard = &f->shards[i];
		uint64_t at = 512 * sim_below(s, 20);

		shard->header_bytes = sim_odds(s, 3000) ? 2048 : 512;
		for (uint64_t k = 0; k < shard->n_samples; k++, sample++)
			for (unsigned x = 0; x < samples->n_fields; x++)
				lay_member(s, samples, sample, x, &at, odds_and_kind);
		shard->file_size = at + (sim_odds(s, 8000) ? 1024 : 0); /* no end marker: capped reads */
		shard->raw_size = shard->file_size;
		for (uint64_t k = f->starts[i] * samples->n_fields;
		     k < f->starts[i + 1] * samples->n_fields; k++)
			if (samples->places[k].header_block < SAMPLE_REPEATED &&
			    samples->places[k].size + shard->header_bytes > samples->largest_extent)
				samples->largest_extent = samples->places[k].size + shard->header_bytes;
	}
	f->order_shards = (struct order_shards){f->starts, samples->n_shards};
	for (size_t i = 0; n_packed && i < samples->n_shards; i++)
		if (f->shards[i].raw_size > 0 && sim_odds(s, n_packed))
			packing_cut(s, samples, i);
	packing_count(samples);
}

/* ---- feeds ---- */

static void make_order(struct sim *s, struct core_feed *feed)
{
	feed->order.shuffle = (enum shuffle)sim_below(s, 3);
	feed->order.seed = sim_random(s);
	feed->order.parts = 1;
	if (feed->order.shuffle == SHUFFLE_BLOCK) {
		feed->order.window = sim_between(s, 1, 300);
		feed->order.parts = sim_odds(s, 5000) ? 1 : sim_between(s, 2, 12);
	}
}

/* Some of the shards each, by any weights: what the order refuses stays one source. */
static void make_mix(struct sim *s, struct core_feed *feed, struct world_feed *more)
{
	const size_t n_shards = more->samples.n_shards;
	double weights[SIM_SHARDS_MAX];
	struct reason why;
	size_t n = 0;

	if (feed->order.shuffle == SHUFFLE_BLOCK && feed->order.parts > 1 && sim_odds(s, 5000))
		feed->order.parts = sim_between(s, 1, 3); /* else few mixes fit into so few samples */
	for (size_t at = 0; at < n_shards; at = more->first_shards[n]) {
		weights[n] = sim_odds(s, 5000) ? 1 : (double)sim_between(s, 1, 1000) / 100;
		more->first_shards[++n] = sim_between(s, at + 1, n_shards);
	}
	shares_make(weights, n, more->shares);
	more->mix = (struct order_mix){.until = sim_odds(s, 4000) ? UNTIL_FIRST : UNTIL_ALL, .n_sources = n,
				       .shares = more->shares, .first_shards = more->first_shards};
	feed->order.mix = &more->mix;
	if (order_check_mix(&feed->order, &more->order_shards, &why))
		feed->order.mix = NULL;
}

static void make_units(struct sim *s, struct world_feed *more)
{
	uint64_t n = more->samples.n_units + 1;
	unsigned damaged = sim_odds(s, 5000) ? 0 : (unsigned)sim_below(s, 1500);

	more->unit_errors = calloc(n, sizeof(uint32_t));
	more->unit_late = calloc(n, sizeof(uint32_t));
	more->unit_deaths = calloc(n, sizeof(uint32_t));
	more->unit_overruns = calloc(n, sizeof(uint32_t));
	more->unit_damage = calloc(n, sizeof(uint32_t));
	more->is_unit_certain = calloc(n, sizeof(bool));
	for (uint64_t i = 0; damaged && i + 1 < n; i++)
		more->unit_damage[i] = sim_odds(s, damaged) ? DAMAGED : 0;
}

static void make_sharing(struct sim *s, uint32_t feed)
{
	struct core_feed *f = &s->world.feeds[feed];

	if (!s->world.is_company && sim_odds(s, 3500))
		return;
	f->window = sim_odds(s, 4000) ? 1 : (uint32_t)sim_between(s, 2, 6);
	if (sim_odds(s, 3000))
		f->evict_ns = sim_between(s, 1 * MS, sim_odds(s, 5000) ? 20 * MS : 2 * SECOND);
	s->world.is_together[feed] = s->world.is_company || sim_odds(s, 4000);
}

static void make_batches(struct sim *s, struct core_feed *f)
{
	f->batch_size = f->batch_global = 0;
	if (sim_odds(s, 6000)) {
		f->batch_size = sim_between(s, 1, sim_odds(s, 5000) ? 6 : 40);
		f->n_rows = (uint32_t)f->batch_size;
	} else {
		f->batch_global = 6 * sim_between(s, 1, 8);
		f->n_rows = (uint32_t)f->batch_global / (sim_odds(s, 3000) ? 2 : 1);
	}
}

static void make_slots(struct sim *s, struct core_feed *f)
{
	f->n_slots = sim_odds(s, 500) ? 2 : (uint32_t)sim_between(s, 2, SIM_SLOTS_MAX);
	f->slots_per_rank = (uint32_t)sim_between(s, 2, 6);
}

static void make_feed(struct sim *s, uint32_t feed)
{
	static const char *const names[] = {"train", "valid", "extra"};
	struct world_feed *more = &s->world.more[feed];
	struct core_feed *f = &s->world.feeds[feed];
	uint64_t n;

	make_samples(s, feed);
	n = more->samples.n_samples;
	more->salt = sim_random(s);
	more->bad = sim_odds(s, 5000) ? 0 : (unsigned)sim_below(s, sim_odds(s, 1000) ? 9000 : 400);
	more->poison = sim_odds(s, 8000) ? 0 : (unsigned)sim_below(s, 100);
	more->large = sim_odds(s, 6000) ? 0 : (unsigned)sim_below(s, 1000);
	more->n_errors = calloc(n, sizeof(uint32_t));
	more->n_late = calloc(n, sizeof(uint32_t));
	more->n_deaths = calloc(n, sizeof(uint32_t));
	more->n_overruns = calloc(n, sizeof(uint32_t));
	more->n_doubts = calloc(n, sizeof(uint32_t));
	more->is_certain = calloc(n, sizeof(bool));
	make_units(s, more);
	*f = (struct core_feed){.name = names[feed], .samples = &more->samples, .slot_bytes = 1 << 20, .base = feed};
	f->inflated_bytes = core_inflated_least(f->samples);
	if (f->inflated_bytes && sim_odds(s, 6000))
		f->inflated_bytes += CORE_PAGE * sim_below(s, 2048);
	make_order(s, f);
	if (sim_odds(s, 4000))
		make_mix(s, f, more);
	f->n_positions = order_length(&f->order, &more->order_shards);
	make_batches(s, f);
	f->last = (enum last)sim_below(s, 3);
	f->policy = (enum core_policy)sim_below(s, 3);
	if (f->policy == CORE_BAD_FAIL && sim_odds(s, 9000)) {
		more->bad = more->poison = 0; /* else there is little to see */
		for (uint64_t i = 0; i < more->samples.n_units; i++)
			more->unit_damage[i] = 0;
	}
	f->bad_limit = sim_odds(s, 7000) ? 1.0 : 0.001 * (double)sim_below(s, 100);
	f->is_transient_bad = sim_odds(s, 6000);
	make_slots(s, f);
	make_sharing(s, feed);
}

/* The samples and the order of another, and its faults, but slots of its own. */
static void make_view(struct sim *s, uint32_t feed, uint32_t base)
{
	static const char *const names[] = {"train", "train/small", "train/tiny"};
	struct core_feed *f = &s->world.feeds[feed];

	s->world.more[feed] = s->world.more[base];
	s->world.is_together[feed] = s->world.is_together[base];
	*f = s->world.feeds[base];
	f->name = names[feed];
	f->inflated_bytes = 0;
	if (sim_odds(s, 6000))
		make_batches(s, f);
	make_slots(s, f);
	if (s->world.is_company || sim_odds(s, 7000)) /* room for many that share the pass */
		f->n_slots = s->world.feeds[base].n_slots = SIM_SLOTS_MAX;
}

static void make_odds(struct sim *s)
{
	struct odds *o = &s->world.odds;

	s->world.is_healthy = sim_odds(s, 4000);
	if (!s->world.is_healthy) {
		o->read_error = sim_odds(s, 5000) ? (unsigned)sim_below(s, 1500) : 0;
		o->read_late = sim_odds(s, 4000) ? (unsigned)sim_below(s, 800) : 0;
		o->read_never = sim_odds(s, 1000) ? 10 : 0;
		o->read_changed = sim_odds(s, 500) ? 20 : 0;
		o->read_short = sim_odds(s, 800) ? 20 : 0;
		o->read_damaged = sim_odds(s, 4000) ? (unsigned)sim_below(s, 1000) : 0;
		o->die = sim_odds(s, 5000) ? (unsigned)sim_below(s, 500) : 0;
		o->hang = sim_odds(s, 3000) ? (unsigned)sim_below(s, 200) : 0;
		o->slow = sim_odds(s, 3000) ? (unsigned)sim_below(s, 500) : 0;
		o->lie = sim_odds(s, 3000) ? (unsigned)sim_below(s, 300) : 0;
		o->flaky = sim_odds(s, 3000) ? (unsigned)sim_below(s, 1500) : 0;
	}
	s->world.may_set_bad = sim_odds(s, 2000);
	if (sim_odds(s, s->world.is_company ? 4000 : 8000)) {
		o->seek = (unsigned)sim_below(s, 100);
		o->detach = (unsigned)sim_below(s, 60);
		o->kill = (unsigned)sim_below(s, 60);
		o->stall = (unsigned)sim_below(s, 100);
		o->goodbye = (unsigned)sim_below(s, 60);
		o->flood = sim_odds(s, 3000) ? (unsigned)sim_below(s, 100) : 0;
	}
}

/* Everything in every slot and read ahead, read and made once, several times over. */
static uint64_t longest_wait(const struct world *w)
{
	uint64_t rows = w->spec.n_ahead, n_parallel = w->spec.reads_in_flight, inflating = 0;

	for (uint32_t i = 0; i < w->spec.n_feeds; i++) {
		const struct samples *samples = &w->more[i].samples;
		uint64_t n_rows = w->feeds[i].n_slots * w->feeds[i].n_rows + w->spec.n_ahead, longest = 0;

		rows += w->feeds[i].n_slots * w->feeds[i].n_rows;
		for (uint64_t u = 0; u < samples->n_units; u++)
			longest = samples->units[u].n_bytes > longest ? samples->units[u].n_bytes : longest;
		/* At worst each row's units are inflated for it alone. */
		inflating += n_rows * samples->most_units * (longest / CORE_PIECE + 2) *
			     (w->read_ns_max + w->task_ns_max);
	}
	if (n_parallel > 4)
		n_parallel = 4;
	return 2 * (inflating + rows * 2 * w->read_ns_max / n_parallel + rows * w->task_ns_max / w->spec.n_workers) + 100 * MS;
}

/* Where the plan has as little as it may. */
static void count_edges(struct sim *s)
{
	const struct core_spec *spec = &s->world.spec;
	const struct {
		bool is_least;
		enum fault fault;
	} edges[] = {
		{spec->staging_bytes == core_staging_least(s->world.feeds, spec->n_feeds), FAULT_plan_staging},
		{spec->n_requests == CORE_REQUESTS_LEAST, FAULT_plan_requests},
		{spec->n_ahead == 0, FAULT_plan_no_ahead},
		{spec->n_workers == 1, FAULT_plan_one_worker},
		{spec->reads_in_flight == 1, FAULT_plan_one_read},
		{spec->n_streams == 2, FAULT_plan_sessions},
	};

	for (unsigned i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		if (edges[i].is_least)
			sim_fault(s, edges[i].fault);
	for (uint32_t i = 0; i < spec->n_feeds; i++) {
		const struct core_feed *f = &s->world.feeds[i];

		if (f->n_slots == 2)
			sim_fault(s, FAULT_plan_slots);
		if (f->inflated_bytes && f->inflated_bytes == core_inflated_least(f->samples))
			sim_fault(s, FAULT_plan_inflated);
	}
}

void world_make(struct sim *s)
{
	struct world *w = &s->world;
	struct core_spec *spec = &w->spec;
	uint32_t n_views;

	w->is_company = sim_odds(s, 3000);
	spec->n_feeds = (unsigned)sim_between(s, w->is_company ? 2 : 1, SIM_FEEDS_MAX);
	n_views = spec->n_feeds > 1 && sim_odds(s, 5000) ? (uint32_t)sim_between(s, 1, spec->n_feeds - 1) : 0;
	n_views = w->is_company ? spec->n_feeds - 1 : n_views;
	for (uint32_t i = 0; i < spec->n_feeds; i++) {
		if (i == spec->n_feeds - n_views && w->feeds[0].window && sim_odds(s, 5000))
			w->is_together[0] = true;
		if (i + n_views < spec->n_feeds)
			make_feed(s, i);
		else
			make_view(s, i, 0);
	}
	make_odds(s);
	spec->feeds = w->feeds;
	spec->n_workers = (unsigned)sim_between(s, 1, SIM_WORKERS_MAX);
	spec->n_streams = (unsigned)sim_between(s, 2, SIM_STREAMS_MAX);
	spec->n_ahead = sim_odds(s, 1000) ? 0 : (unsigned)sim_between(s, 1, sim_odds(s, 5000) ? 50 : 2000);
	spec->staging_bytes = core_staging_least(w->feeds, spec->n_feeds);
	if (sim_odds(s, 6000))
		spec->staging_bytes += CORE_PAGE * sim_below(s, sim_odds(s, 5000) ? 64 : 2048);
	spec->read_max = (uint32_t)(CORE_PAGE << sim_below(s, 9));
	spec->reads_in_flight = (unsigned)sim_between(s, 1, sim_odds(s, 5000) ? 3 : 64);
	spec->n_requests = (unsigned)(sim_odds(s, 2000) ? CORE_REQUESTS_LEAST
					: sim_odds(s, 5000) ? sim_between(s, CORE_REQUESTS_LEAST, 2 * CORE_REQUESTS_LEAST)
							: sim_between(s, 512, CORE_REQUESTS_MAX));
	if (sim_odds(s, 300)) { /* more reads at once than there is room for actions */
		spec->reads_in_flight = (unsigned)sim_between(s, 1000, 2000);
		spec->n_ahead = spec->n_requests = CORE_REQUESTS_MAX;
		spec->staging_bytes += CORE_PAGE * 16384;
		spec->read_max = CORE_PAGE;
	}
	spec->read_timeout_ns = 200 * MS;
	spec->task_timeout_ns = 100 * MS;
	w->read_ns_max = sim_odds(s, 5000) ? 500 * US : 20 * MS;
	w->task_ns_max = sim_odds(s, 5000) ? 100 * US : 2 * MS; /* a sample */
	w->think_ns_max = sim_odds(s, 5000) ? 1 * MS : 50 * MS;
	w->wait_ns_max = longest_wait(w);
	for (uint32_t i = 0; i < spec->n_feeds; i++)
		w->is_healthy = w->is_healthy && w->more[i].poison == 0;
	w->check_every = sim_odds(s, 7000) ? 1 : 7;
	w->is_cpu_told = sim_odds(s, 3000);
	spec->task_cpu_ns = sim_between(s, 100 * MS, 400 * MS);
	count_edges(s);
}

void world_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->world.spec.n_feeds; i++) {
		struct world_feed *f = &s->world.more[i];

		if (world_base(s, i) != i)
			continue; /* its base's */
		free(f->samples.places);
		free(f->n_errors);
		free(f->n_late);
		free(f->n_deaths);
		free(f->n_overruns);
		free(f->samples.units);
		free(f->unit_errors);
		free(f->unit_late);
		free(f->unit_deaths);
		free(f->unit_overruns);
		free(f->unit_damage);
		free(f->n_doubts);
		free(f->is_certain);
		free(f->is_unit_certain);
	}
}
