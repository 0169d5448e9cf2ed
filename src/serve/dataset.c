/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What lies behind a shard's end marker is named here, once per shard: it is data somebody may miss. */
#include "serve/dataset.h"

#include "base/fault.h"
#include "base/log.h"
#include "order/order.h"
#include "serve/indexing.h"
#include "serve/inflating.h"

#include <string.h>

struct filling {
	struct dataset *dataset;
	const struct pipeline *pipeline;
	void (*on_refused)(void *context, size_t i, const char *path, const struct reason *why);
	void *context;
};

static int add_shard(void *context, size_t i, const char *path, const struct stat *st,
		     const struct shard_index *index, enum index_source source, struct reason *why)
{
	struct filling *f = context;
	int r;

	if (index->trailing_bytes)
		log_warn("index", "%s: %llu bytes at offset %llu lie behind the end marker and are not read",
			 path, (unsigned long long)index->trailing_bytes,
			 (unsigned long long)index->trailing_offset);
	f->dataset->n_skipped += index->n_skipped;
	r = samples_add(&f->dataset->samples, f->pipeline, path, st, index, why);
	if (r > 0 && f->on_refused) {
		f->on_refused(f->context, i, path, why);
		return 0;
	}
	return r;
}

static void refused(void *context, size_t i, const char *path, const struct reason *why)
{
	struct filling *f = context;

	f->on_refused(f->context, i, path, why);
}

static int fill(const struct config *config, const struct config_feed *feed, struct filling *filling,
		struct reason *why)
{
	struct dataset *d = filling->dataset;
	const struct indexing how = {
		.io = (enum io_kind)config->daemon.io, .is_direct = feed->is_direct, .has_progress = true,
		.cache_folder = config->daemon.index_cache, .context = filling, .on_index = add_shard,
		.on_refused = filling->on_refused ? refused : NULL,
	};
	int r = shard_list_expand((const char *const *)feed->patterns, feed->n_patterns, &d->list, why);

	if (r == 0)
		r = samples_init(&d->samples, &feed->pipeline, d->list.n_paths);
	if (r == 0)
		r = index_shards(&how, d->list.paths, d->list.n_paths, why);
	if (r)
		return r < 0 ? pass(r) : DATASET_E_REFUSED;
	samples_finish(&d->samples);
	if (d->samples.n_samples == 0) {
		reason_set(why, "feed %s: its %zu shards hold no samples", feed->name, d->list.n_paths);
		return DATASET_E_REFUSED;
	}
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
	shard_list_deinit(&d->list);
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

void dataset_order(const struct config_feed *feed, struct order_spec *ret)
{
	static const enum shuffle shuffles[] = {
		[CONFIG_SHUFFLE_NONE] = SHUFFLE_NONE,
		[CONFIG_SHUFFLE_BLOCK] = SHUFFLE_BLOCK,
		[CONFIG_SHUFFLE_FULL] = SHUFFLE_FULL,
	};

	*ret = (struct order_spec){.shuffle = shuffles[feed->shuffle], .seed = feed->seed,
				   .window = feed->window, .parts = feed->parts};
}
