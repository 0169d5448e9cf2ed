/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Each source is judged by its own order: how it is mixed with the others is exact in every block. */
#include "main/mixture.h"

#include "base/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct mixture {
	struct order_spec spec;
	uint64_t n_positions;
	size_t n_sources;
	struct source_taken {
		struct order_source takes;
		struct order_quality quality;
	} sources[];
};

static int look_at(const struct order_spec *spec, const struct order_shards *shards, size_t x, uint64_t n_most,
		   struct source_taken *ret)
{
	struct order order;
	int r = order_init_source(&order, spec, shards, x, 0);

	if (r < 0)
		return pass(r);
	order_quality(&order, n_most, &ret->quality);
	order_deinit(&order);
	order_source(spec, shards, x, &ret->takes);
	return 0;
}

int mixture_new(const struct core_feed *feed, uint64_t n_most, struct mixture **ret)
{
	const struct order_shards shards = samples_shards(feed->samples);
	const size_t n = feed->order.mix->n_sources;
	struct mixture *m = calloc(1, sizeof(*m) + n * sizeof(m->sources[0]));
	int r = m ? 0 : fail(-ENOMEM);

	if (m) {
		m->spec = feed->order;
		m->n_positions = feed->n_positions;
		m->n_sources = n;
	}
	for (size_t x = 0; r == 0 && x < n; x++)
		r = look_at(&feed->order, &shards, x, n_most, &m->sources[x]);
	if (r < 0) {
		free(m);
		return pass(r);
	}
	*ret = m;
	return 0;
}

struct mixture *mixture_free(struct mixture *m)
{
	free(m);
	return NULL;
}

static void print_source(const char *name, size_t x, const struct source_taken *s)
{
	const struct order_source *t = &s->takes;
	const unsigned long long n_samples = t->n_samples, n_taken = t->n_taken, n_skipped = t->n_skipped;

	printf("feed %s: source %zu: %llu of every %d; an epoch takes %llu", name, x, (unsigned long long)t->share,
	       SHARES_ALL, n_taken);
	if (t->n_passes > 1)
		printf(", %.2f times its %llu samples, and leaves out %llu of the last pass\n",
		       (double)n_taken / (double)n_samples, n_samples, n_skipped);
	else if (t->n_epochs > 1)
		printf(" of its %llu samples; %llu epochs share a pass, which leaves out %llu\n", n_samples,
		       (unsigned long long)t->n_epochs, n_skipped);
	else
		printf(" of its %llu samples and leaves out %llu\n", n_samples, n_skipped);
	printf("feed %s: source %zu: shuffled to %.1f %% (displacement) and %.1f %% (adjacency) of what a random permutation "
	       "gives; %.1f %% of neighbours are of one shard (there %.1f %%)\n", name, x, 100 * s->quality.displacement,
	       100 * s->quality.adjacency, 100 * s->quality.same_shard, 100 * s->quality.same_shard_expected);
}

void mixture_print(const char *name, const struct mixture *m)
{
	const unsigned long long step = m->spec.parts * SHARES_ALL;

	printf("feed %s: a mix of %zu sources until %s; an epoch has %llu positions, %llu steps of %llu (%d for each of "
	       "%llu parts), and takes of a source so many times its share\n", name, m->n_sources,
	       m->spec.mix->until == UNTIL_FIRST ? "the first ends" : "all were there",
	       (unsigned long long)m->n_positions, (unsigned long long)m->n_positions / step, step, SHARES_ALL,
	       (unsigned long long)m->spec.parts);
	for (size_t x = 0; x < m->n_sources; x++)
		print_source(name, x, &m->sources[x]);
}

json_t *quality_json(const struct order_quality *q)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:b}", "displacement", q->displacement, "adjacency", q->adjacency,
			 "same_shard", q->same_shard, "same_shard_expected", q->same_shard_expected, "exact", q->is_exact);
}

json_t *mixture_json(const struct mixture *m)
{
	json_t *list = json_array();

	for (size_t x = 0; x < m->n_sources; x++) {
		const struct order_source *t = &m->sources[x].takes;

		json_array_append_new(list, json_pack(
			"{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "share", (json_int_t)t->share, "samples",
			(json_int_t)t->n_samples, "positions", (json_int_t)t->n_taken, "epochs_per_pass",
			(json_int_t)t->n_epochs, "passes_per_epoch", (json_int_t)t->n_passes, "skipped_per_pass",
			(json_int_t)t->n_skipped, "shuffle", quality_json(&m->sources[x].quality)));
	}
	return list;
}
