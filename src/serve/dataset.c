/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What lies behind a shard's end marker is named here, once per shard: it is data somebody may miss. */
#include "serve/dataset.h"

#include "base/fault.h"
#include "base/log.h"
#include "serve/indexing.h"
#include "serve/inflating.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct filling {
	struct dataset *dataset;
	const struct pipeline *pipeline;
	uint32_t source;
	void (*on_refused)(void *context, size_t i, const char *path, const struct reason *why);
	void *context;
};

static int add_shard(void *context, size_t i, const char *path, const struct io_file *file,
		     const struct shard_index *index, enum index_source source, struct reason *why)
{
	struct filling *f = context;
	struct samples *samples = &f->dataset->samples;
	int r;

	if (index->trailing_bytes)
		log_warn("index", "%s: %llu bytes at offset %llu lie behind the end marker and are not read",
			 path, (unsigned long long)index->trailing_bytes,
			 (unsigned long long)index->trailing_offset);
	f->dataset->n_skipped += index->n_skipped;
	r = samples_add(samples, f->pipeline, f->source, path, &file->st, index, why);
	if (r > 0 && f->on_refused) {
		f->on_refused(f->context, i, path, why);
		return 0;
	}
	if (r == 0)
		samples->shards[samples->n_shards - 1].is_remote = file->is_remote;
	return r;
}

static void refused(void *context, size_t i, const char *path, const struct reason *why)
{
	struct filling *f = context;

	f->on_refused(f->context, i, path, why);
}

/* The shards of all sources, before any is read. */
static int list_shards(const struct config_feed *feed, struct dataset *d, struct reason *why)
{
	size_t n = 0;
	int r = 0;

	d->lists = calloc(feed->n_inputs, sizeof(*d->lists));
	if (!d->lists)
		return fail(-ENOMEM);
	d->n_sources = feed->n_inputs;
	for (size_t i = 0; r == 0 && i < d->n_sources; i++) {
		const struct config_input *in = &feed->inputs[i];

		r = shard_list_expand((const char *const *)in->patterns, in->n_patterns, &d->lists[i], why);
		n += d->lists[i].n_paths;
	}
	if (r == 0)
		r = samples_init(&d->samples, &feed->pipeline, n);
	return r < 0 ? pass(r) : r;
}

static int read_shards(const struct config *config, const struct config_feed *feed, struct filling *filling,
		       struct reason *why)
{
	struct dataset *d = filling->dataset;
	struct indexing how = {
		.io = (enum io_kind)config->daemon.io, .has_progress = true,
		.cache_folder = config->daemon.index_cache, .context = filling, .on_index = add_shard,
		.on_refused = filling->on_refused ? refused : NULL,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->n_sources; i++) {
		how.is_direct = feed->inputs[i].is_direct;
		filling->source = (uint32_t)i;
		r = index_shards(&how, d->lists[i].paths, d->lists[i].n_paths, why);
	}
	return r < 0 ? pass(r) : r;
}

/* Refused shards are missing in samples: what a source has there counts. */
static int lay_mix(const struct config_feed *feed, struct dataset *d)
{
	double weights[SHARES_ALL];
	uint32_t *shares = calloc(d->n_sources, sizeof(*shares));
	size_t *first_shards = calloc(d->n_sources + 1, sizeof(*first_shards));

	d->mix = (struct order_mix){
		.until = feed->until == CONFIG_UNTIL_FIRST ? UNTIL_FIRST : UNTIL_ALL,
		.n_sources = d->n_sources, .shares = shares, .first_shards = first_shards,
	};
	if (!shares || !first_shards)
		return fail(-ENOMEM);
	for (size_t i = 0; i < d->n_sources; i++)
		weights[i] = feed->inputs[i].weight;
	shares_make(weights, d->n_sources, shares);
	for (size_t i = 0; i < d->samples.n_shards; i++)
		first_shards[d->samples.shards[i].source + 1]++;
	for (size_t i = 0; i < d->n_sources; i++)
		first_shards[i + 1] += first_shards[i];
	return 0;
}

static int check_mix(const struct config_feed *feed, const struct dataset *d, struct reason *why)
{
	const struct order_shards shards = samples_shards(&d->samples);
	struct order_spec spec;
	struct reason order;

	dataset_order(feed, d, &spec);
	if (order_check_mix(&spec, &shards, &order) == 0)
		return 0;
	reason_set(why, "feed %s: %s", feed->name, order.text);
	return DATASET_E_REFUSED;
}

static int fill(const struct config *config, const struct config_feed *feed, struct filling *filling,
		struct reason *why)
{
	struct dataset *d = filling->dataset;
	int r = list_shards(feed, d, why);

	if (r == 0)
		r = read_shards(config, feed, filling, why);
	if (r == 0 && feed->is_mix)
		r = lay_mix(feed, d);
	if (r)
		return r < 0 ? pass(r) : DATASET_E_REFUSED;
	samples_finish(&d->samples);
	if (d->samples.n_samples == 0) {
		reason_set(why, "feed %s: its %zu shards hold no samples", feed->name, d->samples.n_shards_max);
		return DATASET_E_REFUSED;
	}
	if (feed->is_mix && check_mix(feed, d, why))
		return DATASET_E_REFUSED;
	return inflating_check(feed, &d->samples, why) ? DATASET_E_REFUSED : 0;
}

int dataset_open(const struct config *config, const struct config_feed *feed,
		 void (*on_refused)(void *context, size_t i, const char *path, const struct reason *why),
		 void *context, struct dataset *ret, struct reason *why)
{
	struct filling filling = {.dataset = ret, .pipeline = &feed->pipeline, .on_refused = on_refused,
				  .context = context};
	int r;

	memset(ret, 0, sizeof(*ret));
	r = fill(config, feed, &filling, why);
	if (r)
		dataset_deinit(ret);
	return r;
}

void dataset_deinit(struct dataset *d)
{
	samples_deinit(&d->samples);
	for (size_t i = 0; i < d->n_sources; i++)
		shard_list_deinit(&d->lists[i]);
	free(d->lists);
	free((void *)d->mix.shares);
	free((void *)d->mix.first_shards);
	*d = (struct dataset){0};
}

int dataset_key(const struct dataset *d, const char *cache_folder, uint32_t shard, uint64_t in_shard,
		char *ret_key, size_t n_key, uint64_t *ret_offset)
{
	const struct sample_shard *file = &d->samples.shards[shard];
	struct stat st = {.st_size = (off_t)file->file_size};

	st.st_mtim.tv_sec = (time_t)(file->mtime_ns / 1000000000u);
	st.st_mtim.tv_nsec = (long)(file->mtime_ns % 1000000000u);
	return shard_index_key(file->path, cache_folder, &st, in_shard, ret_key, n_key, ret_offset);
}

void dataset_order(const struct config_feed *feed, const struct dataset *d, struct order_spec *ret)
{
	static const enum shuffle shuffles[] = {
		[CONFIG_SHUFFLE_NONE] = SHUFFLE_NONE,
		[CONFIG_SHUFFLE_BLOCK] = SHUFFLE_BLOCK,
		[CONFIG_SHUFFLE_FULL] = SHUFFLE_FULL,
	};

	*ret = (struct order_spec){.shuffle = shuffles[feed->shuffle], .seed = feed->seed,
				   .window = feed->window, .parts = feed->parts,
				   .mix = d->mix.n_sources ? &d->mix : NULL};
}

uint64_t dataset_length(const struct config_feed *feed, const struct dataset *d)
{
	const struct order_shards shards = samples_shards(&d->samples);
	struct order_spec spec;

	dataset_order(feed, d, &spec);
	return order_length(&spec, &shards);
}

uint64_t dataset_ranks(const struct config_feed *feed)
{
	return feed->batch_size ? 1 : feed->batch_ranks;
}

enum last dataset_last(const struct config_feed *feed)
{
	static const enum last lasts[] = {[CONFIG_LAST_DROP] = LAST_DROP, [CONFIG_LAST_PAD] = LAST_PAD,
					  [CONFIG_LAST_SHORT] = LAST_SHORT};

	return lasts[feed->last];
}

struct pass dataset_pass(const struct config_feed *feed, uint64_t n_positions)
{
	const uint64_t world = dataset_ranks(feed);

	return (struct pass){.n_samples = n_positions, .world = world, .last = dataset_last(feed),
			     .batch = feed->batch_size ? feed->batch_size : feed->batch_global / world};
}
