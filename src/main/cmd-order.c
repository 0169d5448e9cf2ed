/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * order: which sample comes where, and with --draws what its transforms draw, so that anyone can
 * recompute a batch elsewhere. Decodes nothing; --draws reads image headers.
 */
#include "main/command.h"
#include "main/member.h"
#include "main/planned.h"

#include "order/order.h"
#include "shard/tar.h"
#include "worker/maker.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	const struct config_feed *feed;
	const struct config *config;
	const struct dataset *dataset;
	const struct options *options;
	struct members members; /* for --draws */
};

struct row {
	uint64_t position, sample, in_shard;
	uint32_t shard;
	char key[TAR_NAME_MAX];
	char draws[4096];
};

static void add_draws(struct listing *l, struct row *row)
{
	const struct pipeline *p = &l->feed->pipeline;
	size_t used = 0;

	*row->draws = 0;
	for (unsigned f = 0; f < p->n_fields; f++) {
		uint32_t width, height;
		struct reason why;
		const char *payload;
		size_t n;
		int more, r;

		if (p->fields[f].decode != DECODE_IMAGE)
			continue;
		r = members_read(&l->members, row->shard, row->sample, f, &payload, &n, &why);
		if (r == MEMBER_E_UNREADABLE)
			fprintf(stderr, "ringfeed: %s\n", why.text);
		/* a bad sample draws nothing */
		if (r || maker_image_size(&p->fields[f], payload, n, &width, &height) != CAUSE_none)
			continue;
		if (used && used < sizeof(row->draws) - 1)
			row->draws[used++] = '\t';
		more = maker_draws(p, f, l->feed->seed, l->options->epoch, row->position, width, height,
				   row->draws + used, sizeof(row->draws) - used);
		used += more > 0 ? (size_t)more : 0;
		if (more == 0 && used)
			row->draws[--used] = 0;
		if (used >= sizeof(row->draws))
			return;
	}
}

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
	json_t *draws;
	char *at = (char *)row->draws, *next;

	if (!j) /* a key that is not UTF-8 */
		j = json_pack("{s:I, s:i, s:I, s:I, s:n}", "position", (json_int_t)row->position, "shard",
			      (int)row->shard, "sample", (json_int_t)row->in_shard, "index",
			      (json_int_t)row->sample, "key");
	if (has_draws) {
		draws = json_array();
		for (; *at; at = next) {
			next = strchr(at, '\t');
			next = next ? next : at + strlen(at);
			json_array_append_new(draws, json_stringn(at, (size_t)(next - at)));
			next += *next == '\t';
		}
		json_object_set_new(j, "draws", draws);
	}
	json_dumpf(j, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}

static int list(struct listing *l)
{
	const struct samples *samples = &l->dataset->samples;
	const struct order_shards shards = {samples->starts, samples->n_shards};
	uint64_t n = l->options->first && l->options->first < samples->n_samples ? l->options->first
										 : samples->n_samples;
	struct order_spec spec;
	struct order order;
	struct row row;

	dataset_order(l->feed, &spec);
	if (order_init(&order, &spec, &shards, l->options->epoch) < 0)
		return STATUS_FAILED;
	for (row.position = 0; row.position < n; row.position++) {
		row.sample = order_sample(&order, row.position);
		row.shard = order_shard_of(&shards, row.sample, &row.in_shard);
		if (dataset_key(l->dataset, l->config->daemon.index_cache, row.shard, row.in_shard, row.key,
				sizeof(row.key), NULL))
			snprintf(row.key, sizeof(row.key), "?");
		if (l->options->has_draws)
			add_draws(l, &row);
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
			members_init(&l.members, &dataset.samples);
			status = list(&l);
			members_deinit(&l.members);
			dataset_deinit(&dataset);
		} else {
			fprintf(stderr, "ringfeed: %s\n", *why.text ? why.text : strerror(-r));
		}
	}
	config_free(config);
	return status;
}
