/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A run of W samples touches at most the shards that lie in it whole, which hold W - 2 samples at most, and the two
 * at its ends; whole ones are most when they are the smallest. Every part of the order has its window. A block of a
 * mix takes a share of each source, in any order: of its elements, and so of all the windows that they lie in.
 */
#include "serve/inflating.h"

#include "base/fault.h"
#include "batch/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB (UINT64_C(1) << 20)

enum {
	SMALL_MIB = 4,
	RANDOM_MIB = 16, /* larger units are not inflated for single samples */
	MOST_MIB = 64,	 /* for small units */
	SHARE = 16,	 /* of daemon.memory, likewise */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int inflating_check(const struct config_feed *feed, const struct samples *samples, struct reason *why)
{
	if (feed->shuffle != CONFIG_SHUFFLE_FULL || samples->largest_unit <= RANDOM_MIB * MIB)
		return 0;
	for (size_t i = 0; i < samples->n_shards; i++) {
		const struct sample_shard *shard = &samples->shards[i];
		char size[32];

		for (uint32_t k = shard->first_unit; k < shard->first_unit + shard->n_units; k++) {
			if (samples->units[k].n_raw != samples->largest_unit)
				continue;
			plan_bytes_print(samples->largest_unit, size, sizeof(size));
			reason_set(why, "shuffle: full would inflate %s for single samples of %.250s, which has no smaller "
				   "frames; take shuffle: block or none, or pack it again: `%s %.100s > t.tar && ringfeed pack "
				   "t.tar DEST --zstd`", size, shard->path,
				   shard->packing == PACKING_ZSTD ? "zstd -dc" : "gzip -dc", shard->path);
			return INFLATING_E_REFUSED;
		}
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The most shards of one source that a run of n of its samples can touch. */
static int count_shards(const struct samples *s, uint32_t source, uint64_t n, uint64_t *ret)
{
	uint64_t *counts = calloc(s->n_shards, sizeof(*counts)), n_counts = 0, n_whole = 0, sum = 0;

	if (!counts)
		return fail(-ENOMEM);
	for (size_t i = 0; i < s->n_shards; i++)
		if (s->shards[i].source == source && s->shards[i].n_samples)
			counts[n_counts++] = s->shards[i].n_samples;
	qsort(counts, n_counts, sizeof(*counts), compare);
	while (n >= 2 && n_whole < n_counts && sum + counts[n_whole] <= n - 2)
		sum += counts[n_whole++];
	*ret = least(n_whole + (n < 2 ? 1 : 2), n_counts);
	free(counts);
	return 0;
}

static uint64_t times(uint64_t a, uint64_t b)
{
	return __builtin_mul_overflow(a, b, &a) ? UINT64_MAX : a;
}

/* How long a run of source x the order has in hand at once. */
static uint64_t count_run(const struct config_feed *feed, uint32_t x)
{
	const uint64_t window = feed->shuffle == CONFIG_SHUFFLE_BLOCK ? feed->window : 1;
	double weights[SHARES_ALL];
	uint32_t shares[SHARES_ALL];

	if (!feed->is_mix)
		return window;
	for (size_t i = 0; i < feed->n_inputs; i++)
		weights[i] = feed->inputs[i].weight;
	shares_make(weights, feed->n_inputs, shares);
	return shares[x] + 2 * (window - 1);
}

/* Large units that the order wants at once. */
static int count_units(const struct config_feed *feed, const struct samples *s, uint64_t *ret)
{
	const bool has_runs = feed->shuffle == CONFIG_SHUFFLE_BLOCK || feed->is_mix;
	uint64_t n_shards = 0, n_most = 1;

	for (uint32_t x = 0; x <= s->shards[s->n_shards - 1].source; x++) {
		uint64_t here = 1;
		int r = has_runs ? count_shards(s, x, count_run(feed, x), &here) : 0;

		if (r < 0)
			return pass(r);
		n_shards += least(times(here, feed->parts), s->n_shards);
	}
	for (size_t i = 0; has_runs && i < s->n_shards; i++)
		n_most = s->shards[i].n_units > n_most ? s->shards[i].n_units : n_most;
	*ret = least(least(n_shards, s->n_shards) * n_most, s->n_units);
	return 0;
}

int inflating_room(const struct config *config, const struct config_feed *feed, const struct samples *samples,
		   struct inflating *ret)
{
	const uint64_t unit = core_unit_bytes(samples, samples->largest_unit);
	int r;

	*ret = (struct inflating){.least = core_inflated_least(samples)};
	if (samples->n_units == 0)
		return 0;
	if (samples->largest_unit <= SMALL_MIB * MIB || feed->shuffle == CONFIG_SHUFFLE_FULL) {
		ret->wished = least(config->daemon.memory / SHARE / MIB * MIB, MOST_MIB * MIB);
	} else {
		r = count_units(feed, samples, &ret->n_units);
		if (r < 0)
			return pass(r);
		if (ret->least < ret->n_units * unit)
			ret->least = ret->n_units * unit;
		ret->wished = ret->least + (ret->n_units < samples->n_units ? unit : 0); /* to inflate ahead */
	}
	if (ret->wished < ret->least)
		ret->wished = ret->least;
	return 0;
}

void inflating_advise(const struct config_feed *feed, const struct inflating *room, struct reason *why)
{
	struct reason all = *why;

	if (room->n_units == 0)
		return;
	if (feed->shuffle == CONFIG_SHUFFLE_BLOCK && room->n_units > 1)
		reason_set(why, "%.300s; feed %s: a window of %llu samples in %llu parts touches up to %llu large frames at once: a "
			   "smaller window, fewer parts, or shards packed by `ringfeed pack --zstd` need less",
			   all.text, feed->name, (unsigned long long)feed->window, (unsigned long long)feed->parts,
			   (unsigned long long)room->n_units);
	else
		reason_set(why, "%.300s; feed %s: shards packed by `ringfeed pack --zstd` need less", all.text, feed->name);
}

double inflating_per_sample(const struct samples *samples)
{
	double total = 0;
	size_t shard = 0;

	for (uint64_t i = 0; samples->n_units && i < samples->n_samples; i++) {
		uint32_t last = UINT32_MAX;

		while (i >= samples->starts[shard + 1])
			shard++;
		for (unsigned f = 0; samples->shards[shard].n_units && f < samples->n_fields; f++) {
			const struct sample_shard *file = &samples->shards[shard];
			const struct sample_place *place = samples_place(samples, i, f);
			uint64_t start = (uint64_t)place->header_block * 512;
			uint32_t unit;

			if (place->header_block >= SAMPLE_REPEATED)
				continue;
			unit = samples_unit(samples, (uint32_t)shard, start,
					    least(start + file->header_bytes + place->size, file->raw_size));
			total += unit == last ? 0 : (double)samples->units[unit].n_raw;
			last = unit;
		}
	}
	return samples->n_samples ? total / (double)samples->n_samples : 0;
}
