/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * order: which sample comes where, and with --draws what its transforms draw, so that anyone can
 * recompute a batch elsewhere. Decodes nothing; --draws reads image headers.
 */
#include "main/command.h"
#include "main/planned.h"

#include "order/order.h"
#include "shard/tar.h"
#include "worker/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct listing {
	const struct config_feed *feed;
	const struct config *config;
	const struct dataset *dataset;
	const struct options *options;
	int fd;		 /* the open shard, for --draws */
	uint32_t open_shard;
	char *bytes;	 /* one member */
	size_t n_bytes;
	struct tar_header header;
};

struct row {
	uint64_t position, sample, in_shard;
	uint32_t shard;
	char key[TAR_NAME_MAX];
	char draws[4096];
};

/* The member of an image field; NULL with the cause told on stderr. */
static const char *read_member(struct listing *l, const struct row *row, unsigned field, size_t *ret_n)
{
	const struct sample_shard *shard = &l->dataset->samples.shards[row->shard];
	const struct sample_place *place = samples_place(&l->dataset->samples, row->sample, field);
	size_t n = shard->header_bytes + place->size;
	struct reason why;
	ssize_t got;

	if (place->header_block >= SAMPLE_REPEATED)
		return NULL; /* a bad sample: it draws nothing */
	if (l->open_shard != row->shard || l->fd < 0) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = open(shard->path, O_RDONLY | O_CLOEXEC);
		l->open_shard = row->shard;
	}
	if (n > l->n_bytes) {
		free(l->bytes);
		l->bytes = malloc(n);
		l->n_bytes = l->bytes ? n : 0;
	}
	got = l->fd < 0 || !l->bytes ? -1 : pread(l->fd, l->bytes, n, (off_t)place->header_block * 512);
	if (got < 0) {
		fprintf(stderr, "ringfeed: %s: %s\n", shard->path, strerror(errno));
		return NULL;
	}
	if (tar_header_read(l->bytes, (size_t)got, &l->header, &why) || l->header.size != place->size ||
	    l->header.payload_at + l->header.size > (uint64_t)got) {
		fprintf(stderr, "ringfeed: %s: the shard is not the one that was indexed\n", shard->path);
		return NULL;
	}
	*ret_n = (size_t)l->header.size;
	return l->bytes + l->header.payload_at;
}

static void add_draws(struct listing *l, struct row *row)
{
	const struct pipeline *p = &l->feed->pipeline;
	size_t used = 0;

	*row->draws = 0;
	for (unsigned f = 0; f < p->n_fields; f++) {
		uint32_t width, height;
		const char *payload;
		size_t n;
		int more;

		if (p->fields[f].decode != DECODE_IMAGE)
			continue;
		payload = read_member(l, row, f, &n);
		if (!payload || maker_image_size(&p->fields[f], payload, n, &width, &height) != CAUSE_none)
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
	struct listing l = {.fd = -1};
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
			status = list(&l);
			dataset_deinit(&dataset);
		} else {
			fprintf(stderr, "ringfeed: %s\n", *why.text ? why.text : strerror(-r));
		}
	}
	if (l.fd >= 0)
		close(l.fd);
	free(l.bytes);
	config_free(config);
	return status;
}
