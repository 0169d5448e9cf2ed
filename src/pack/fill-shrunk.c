/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The other way to fill shards: through processes that make images smaller, taken in the plan's order. */
#include "pack/fill.h"

#include "base/fault.h"
#include "pack/shrink.h"
#include "pack/writer.h"

enum { WAIT_MS = 100, IN_HAND_MAX = 1024 };

struct fill {
	const struct fill_job *job;
	struct shrink_crew *crew;
	struct writer writer;
	struct pack_progress progress;
	size_t shard, sample; /* the next to be asked for */
	struct {
		size_t shard, sample;
		int slot;
	} ring[IN_HAND_MAX];
	uint64_t n_asked, n_taken;
};

/* Moves the cursor to a sample that is to be made. */
static bool has_more(struct fill *f)
{
	const struct shard_plans *plans = f->job->plans;

	for (; f->shard < plans->n; f->shard++) {
		const struct shard_plan *p = &plans->list[f->shard];

		if (f->sample < p->first)
			f->sample = p->first;
		if (!p->is_there && f->sample < p->first + p->n_samples)
			return true;
	}
	return false;
}

static void ask(struct fill *f)
{
	while (f->n_asked - f->n_taken < IN_HAND_MAX && has_more(f)) {
		int slot = shrink_ask(f->crew, f->sample);

		if (slot < 0)
			return;
		f->ring[f->n_asked % IN_HAND_MAX].slot = slot;
		f->ring[f->n_asked % IN_HAND_MAX].shard = f->shard;
		f->ring[f->n_asked % IN_HAND_MAX].sample = f->sample++;
		f->n_asked++;
	}
}

/* Writes what is done, as far as the order goes. */
static int take(struct fill *f)
{
	const struct catalog *c = f->job->catalog;
	int r = 0;

	while (r == 0 && f->n_taken < f->n_asked) {
		size_t at = f->n_taken % IN_HAND_MAX, sample = f->ring[at].sample;
		const struct catalog_part *part = &c->parts[c->samples[sample].first_part];
		const uint8_t *bytes;
		const struct shrink_result *result = shrink_look(f->crew, f->ring[at].slot, &bytes);
		const struct writer_piece piece = {
			.extension = result->is_shrunk ? "jpg" : catalog_at(c, part->extension),
			.size = result->n_bytes, .bytes = bytes, .n = result->n_bytes, .is_sample_end = true};

		if (!result->is_done)
			break;
		r = writer_begin_sample(&f->writer, f->ring[at].shard, sample);
		if (r == 0)
			r = writer_put(&f->writer, &piece, *result->fault ? result->fault : NULL);
		shrink_put_back(f->crew, f->ring[at].slot);
		f->n_taken++;
		f->progress.n_samples++;
		f->progress.n_bytes += part->size;
	}
	return r;
}

static int run(struct fill *f)
{
	const struct pack_options *how = f->job->how;
	int r = 0;

	while (r == 0 && (has_more(f) || f->n_taken < f->n_asked)) {
		if (how->is_stopped(how->context))
			return PACK_E_STOPPED;
		ask(f);
		r = shrink_wait(f->crew, WAIT_MS);
		if (r == 0)
			r = take(f);
		how->on_progress(how->context, &f->progress);
	}
	return r < 0 ? pass(r) : r;
}

int fill_shards_shrunk(const struct fill_job *job, struct pack_result *ret, struct reason *why)
{
	struct fill f = {.job = job};
	int r;

	writer_init(&f.writer, job, ret, &f.progress);
	r = shrink_new(job->catalog, job->how->n_processes, job->how->long_side, &f.crew);
	if (r == 0)
		r = run(&f);
	shrink_free(f.crew);
	return writer_deinit(&f.writer, r, why);
}
