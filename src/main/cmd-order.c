/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * order: which sample comes where, and with --draws what its transforms draw, so that anyone can
 * recompute a batch elsewhere. Decodes nothing; --draws reads image headers.
 */
#include "main/command.h"
#include "main/drawn.h"
#include "main/planned.h"

#include "order/order.h"

#include <jansson.h>
#include <string.h>

struct listing {
	const struct config_feed *feed;
	const struct config *config;
	const struct dataset *dataset;
	const struct options *options;
	struct drawn drawn;
};

struct row {
	uint64_t position, sample, in_shard;
	uint32_t shard;
	int source; /* -1: not a mix */
	char key[TAR_NAME_MAX];
	char draws[DRAWN_MAX];
};

static void print_text(const struct row *row, bool has_draws)
{
	printf("%llu\t%u\t%llu\t%s", (unsigned long long)row->position, row->shard,
	       (unsigned long long)row->in_shard, row->key);
	if (has_draws && *row->draws)
		printf("\t%s", row->draws);
	putchar('\n');
}

static void print_json(const struct row *row, bool has_draws)
{
	json_t *j = json_pack("{s:I, s:i, s:I, s:I, s:s%}", "position", (json_int_t)row->position, "shard",
			      (int)row->shard, "sample", (json_int_t)row->in_shard, "index",
			      (json_int_t)row->sample, "key", row->key, strlen(row->key));

	if (!j) /* a key that is not UTF-8 */
		j = json_pack("{s:I, s:i, s:I, s:I, s:n}", "position", (json_int_t)row->position, "shard",
			      (int)row->shard, "sample", (json_int_t)row->in_shard, "index",
			      (json_int_t)row->sample, "key");
	if (row->source >= 0)
		json_object_set_new(j, "source", json_integer(row->source));
	if (has_draws)
		json_object_set_new(j, "draws", drawn_json(row->draws));
	json_dumpf(j, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}

static int list(struct listing *l)
{
	const struct samples *samples = &l->dataset->samples;
	const struct order_shards shards = samples_shards(&l->dataset->samples);
	const uint64_t n_all = dataset_length(l->feed, l->dataset);
	const uint64_t n = l->options->first && l->options->first < n_all ? l->options->first : n_all;
	struct order_spec spec;
	struct order order;
	struct row row;

	dataset_order(l->feed, l->dataset, &spec);
	if (order_init(&order, &spec, &shards, l->options->epoch) < 0)
		return STATUS_FAILED;
	for (row.position = 0; row.position < n; row.position++) {
		row.sample = order_sample(&order, row.position);
		row.shard = order_shard_of(&shards, row.sample, &row.in_shard);
		row.source = l->feed->is_mix ? (int)samples->shards[row.shard].source : -1;
		if (dataset_key(l->dataset, l->config->daemon.index_cache, row.shard, row.in_shard, row.key,
				sizeof(row.key), NULL))
			snprintf(row.key, sizeof(row.key), "?");
		if (l->options->has_draws)
			drawn_text(&l->drawn, l->options->epoch, row.position, row.sample, row.draws);
		if (l->options->is_json)
			print_json(&row, l->options->has_draws);
		else
			print_text(&row, l->options->has_draws);
		if (ferror(stdout))
			break; /* nobody reads on */
	}
	order_deinit(&order);
	return STATUS_DONE;
}

int cmd_order(int argc, char **argv)
{
	struct listing l = {0};
	struct dataset dataset;
	struct config *config;
	struct options options;
	struct reason why = {{0}};
	int r, status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	l.config = config;
	l.options = &options;
	l.feed = feed_of(config, options.arguments[0]);
	status = STATUS_CONFIG;
	if (l.feed) {
		r = dataset_open(config, l.feed, NULL, NULL, &dataset, &why);
		l.dataset = &dataset;
		if (r == 0) {
			drawn_init(&l.drawn, l.feed, &dataset.samples);
			status = list(&l);
			drawn_deinit(&l.drawn);
			dataset_deinit(&dataset);
		} else {
			fprintf(stderr, "ringfeed: %s\n", *why.text ? why.text : strerror(-r));
		}
	}
	config_free(config);
	return status;
}
