/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A round takes what add_candidates (reads.c) would take within the budget that a round of reading ahead has. */
#include "core/forecast.h"

#include "base/fault.h"
#include "core/state.h"

#include <errno.h>
#include <stdlib.h>

enum { SEED = 1 };

struct forecasting {
	const struct core_spec *spec;
	const struct samples *samples;
	struct order_shards shards;
	struct order order;
	uint64_t budget; /* bytes of a round */
	struct candidate *candidates;
	uint32_t n;
	uint32_t *used; /* of each unit of compressed shards: the round that used it last */
	uint32_t round;
};

/* A unit that this round or the one before has used is still there. */
static void use_unit(struct forecasting *f, uint32_t unit, struct core_forecast *ret)
{
	const uint64_t n = f->samples->units[unit].n_bytes;

	if (f->used[unit] == 0 || f->used[unit] + 1 < f->round) {
		ret->n_reads += (n + CORE_PIECE - 1) / CORE_PIECE;
		ret->read_bytes += n;
	}
	f->used[unit] = f->round;
}

/* The bytes of staging that it is booked with; 0: nothing is read of it. */
static uint64_t add_sample(struct forecasting *f, uint64_t sample, struct core_forecast *ret)
{
	uint64_t in_shard, total = 0;
	const uint32_t shard = order_shard_of(&f->shards, sample, &in_shard);
	const struct sample_shard *file = &f->samples->shards[shard];

	for (unsigned k = 0; k < f->samples->n_fields; k++)
		if (samples_place(f->samples, sample, k)->header_block >= SAMPLE_REPEATED)
			return 0;
	for (unsigned k = 0; k < f->samples->n_fields; k++) {
		const struct sample_place *place = samples_place(f->samples, sample, k);
		struct candidate *c = &f->candidates[f->n];

		*c = (struct candidate){.offset = (uint64_t)place->header_block * 512, .shard = shard, .extent = f->n++};
		c->end = c->offset + file->header_bytes + place->size;
		if (c->end > file->raw_size)
			c->end = file->raw_size;
		total += c->end - c->offset + CORE_PAGE;
		if (file->packing == PACKING_NONE)
			continue;
		f->n--;
		use_unit(f, samples_unit(f->samples, shard, c->offset, c->end), ret);
	}
	return total;
}

static void count_reads(struct forecasting *f, struct core_forecast *ret)
{
	candidates_sort(f->candidates, f->n);
	for (uint32_t i = 0, n; i < f->n; i += n) {
		const uint64_t start = f->candidates[i].offset / CORE_PAGE * CORE_PAGE;
		uint64_t end;

		n = candidates_merge(&f->candidates[i], f->n - i, f->spec->read_max, &end);
		ret->n_reads++;
		ret->read_bytes += (end - start + CORE_PAGE - 1) / CORE_PAGE * CORE_PAGE;
	}
}

/* From position t on; returns the position behind it. */
static uint64_t run_round(struct forecasting *f, uint64_t t, struct core_forecast *ret)
{
	uint64_t left = f->budget;

	f->n = 0;
	f->round++;
	while (t < f->order.n_samples && left && f->n + f->samples->n_fields <= CANDIDATES_MAX) {
		const uint64_t n = add_sample(f, order_sample(&f->order, t++), ret);

		left -= n < left ? n : left;
		ret->n_samples++;
	}
	count_reads(f, ret);
	return t;
}

static void run(struct forecasting *f, uint64_t n_most, struct core_forecast *ret)
{
	const uint64_t n = f->order.n_samples;

	*ret = (struct core_forecast){.is_exact = n <= n_most};
	if (ret->is_exact)
		for (uint64_t t = 0; t < n;)
			t = run_round(f, t, ret);
	for (uint64_t i = 0; i < n && ret->n_samples < n_most && !ret->is_exact; i++) {
		f->round += 2; /* nothing of the rounds before is there */
		run_round(f, order_perm(n, SEED, i), ret);
	}
}

int core_forecast(const struct core_spec *spec, unsigned feed, uint64_t n_most, struct core_forecast *ret)
{
	const struct core_feed *what = &spec->feeds[feed];
	const uint64_t n_ahead = spec->staging_bytes / CORE_PAGE - must_pages(spec);
	struct forecasting f = {.spec = spec, .samples = what->samples,
				.shards = {what->samples->starts, what->samples->n_shards},
				.budget = n_ahead / AHEAD_ROUNDS * CORE_PAGE};
	int r = order_init(&f.order, &what->order, &f.shards, 0);

	if (r < 0)
		return pass(r);
	f.candidates = calloc(CANDIDATES_MAX, sizeof(*f.candidates));
	f.used = calloc(f.samples->n_units + 1, sizeof(*f.used));
	if (f.candidates && f.used)
		run(&f, n_most, ret);
	else
		r = fail(-ENOMEM);
	free(f.candidates);
	free(f.used);
	order_deinit(&f.order);
	return r;
}
