/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * preview: one batch as a trainer gets it, from a private daemon, as a contact sheet. A token made from the batch's
 * number is where the session begins, so that no batch before it is made.
 */
#include "main/command.h"
#include "main/drawn.h"
#include "main/planned.h"
#include "main/private.h"
#include "main/sheet.h"

#include "base/fault.h"
#include "order/order.h"
#include "order/token.h"

#include <errno.h>
#include <libgen.h>
#include <ringfeed/ringfeed.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TILES_WISHED = 64, SLICE_MS = 100, PATIENCE_MS = 60000 };

struct preview {
	const struct options *options;
	const struct config *config;
	const struct config_feed *feed;
	struct dataset dataset;
	struct order order;
	struct pass pass;
	struct drawn drawn;
	struct sheet sheet;
	struct private_daemon daemon;
	struct rf_session *session;
	struct rf_batch *batch;
	struct tile *tiles;
	uint32_t n_tiles;
	json_t *json; /* what the tiles show, for programs */
};

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number)
{
	is_interrupted = 1;
}

/* ---- what stands below a tile ---- */

static void append(char *text, size_t n_text, const char *between, const char *more)
{
	const size_t n = strlen(text);

	snprintf(text + n, n_text - n, "%s%s", n ? between : "", more);
	for (char *at = text + n; *at; at++)
		if ((unsigned char)*at < ' ' && *at != '\n')
			*at = ' ';
}

static void add_label(struct tile *tile, const char *name, const json_t *value)
{
	const char *class_name = json_string_value(json_object_get(value, "name"));
	char *dumped = NULL, line[400];

	if (class_name) {
		snprintf(line, sizeof(line), "%s=%lld (%s)", name,
			 (long long)json_integer_value(json_object_get(value, "number")), class_name);
	} else {
		dumped = json_is_string(value) ? strdup(json_string_value(value))
					       : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
		snprintf(line, sizeof(line), "%s=%s", name, dumped ? dumped : "?");
	}
	for (char *at = line; *at; at++)
		if (*at == '\n')
			*at = ' ';
	append(tile->labels, sizeof(tile->labels), "\n", line);
	free(dumped);
}

static const void *row_of(const struct preview *p, const struct field *f, int64_t i, size_t *ret_n)
{
	const int64_t *lengths = rf_batch_lengths(p->batch, f->name);
	const size_t n = field_row_bytes(f);
	struct rf_array array;

	if (rf_batch_array(p->batch, f->name, &array) < 0)
		return NULL;
	*ret_n = lengths ? (size_t)lengths[i] : n;
	return (const char *)array.data + (size_t)i * n;
}

static void add_labels(struct preview *p, struct tile *tile, json_t *json, int64_t i)
{
	const struct pipeline *pipeline = &p->feed->pipeline;
	json_t *fields = json_object();

	for (unsigned f = 0; f < pipeline->n_fields; f++) {
		const struct field *field = &pipeline->fields[f];
		const void *row;
		json_t *value;
		size_t n;

		if (field->decode == DECODE_IMAGE || !(row = row_of(p, field, i, &n)))
			continue;
		value = visible_value(field, row, n);
		add_label(tile, field->name, value);
		json_object_set_new(fields, field->name, value);
	}
	json_object_set_new(json, "fields", fields);
}

static void find_key(const struct preview *p, uint64_t sample, char *key, size_t n_key)
{
	const struct order_shards shards = samples_shards(&p->dataset.samples);
	uint64_t in_shard;
	const uint32_t shard = order_shard_of(&shards, sample, &in_shard);

	if (dataset_key(&p->dataset, p->config->daemon.index_cache, shard, in_shard, key, n_key, NULL))
		snprintf(key, n_key, "?");
}

/* What is not as it should be with row i. */
static void add_mark(struct preview *p, struct tile *tile, json_t *json, int64_t i)
{
	const uint64_t position = (uint64_t)rf_batch_position(p->batch)[i];
	const uint64_t sample = (uint64_t)rf_batch_index(p->batch)[i];
	const bool is_valid = rf_batch_valid(p->batch)[i];
	const uint64_t own = order_sample(&p->order, position);
	char key[500];

	if (!is_valid && position < p->pass.n_samples) {
		snprintf(tile->mark, sizeof(tile->mark), "BAD SAMPLE: the row is zeros, valid is false");
	} else if (own != sample) {
		find_key(p, own, key, sizeof(key));
		snprintf(tile->mark, sizeof(tile->mark), "STANDS IN for a bad sample: %.300s", key);
		json_object_set_new(json, "instead_of", json_integer((json_int_t)own));
	} else if (!is_valid) {
		snprintf(tile->mark, sizeof(tile->mark), "PADDING: the sample stands earlier too, valid is false");
	}
}

static void describe(struct preview *p, uint32_t i)
{
	const uint64_t position = (uint64_t)rf_batch_position(p->batch)[i];
	const uint64_t sample = (uint64_t)rf_batch_index(p->batch)[i];
	struct tile *tile = &p->tiles[i];
	json_t *json = json_object(), *key_json;
	char key[500];

	find_key(p, sample, key, sizeof(key));
	snprintf(tile->name, sizeof(tile->name), "%llu: %s", (unsigned long long)position, key);
	key_json = json_string(key);
	json_object_set_new(json, "position", json_integer((json_int_t)position));
	json_object_set_new(json, "index", json_integer((json_int_t)sample));
	json_object_set_new(json, "key", key_json ? key_json : json_null()); /* it may be no UTF-8 */
	json_object_set_new(json, "valid", json_boolean(rf_batch_valid(p->batch)[i]));
	add_mark(p, tile, json, i);
	add_labels(p, tile, json, i);
	drawn_text(&p->drawn, p->options->epoch, position, sample, tile->draws);
	json_object_set_new(json, "draws", drawn_json(tile->draws));
	for (char *at = tile->draws; *at; at++)
		if (*at == '\t')
			*at = '\n';
	json_array_append_new(json_object_get(p->json, "tiles"), json);
}

/* ---- the sheet ---- */

static void place_images(struct preview *p, uint32_t i)
{
	json_t *all = json_object();

	for (unsigned k = 0; k < p->sheet.n_images; k++) {
		const struct box box = sheet_image_box(&p->sheet, i, k);

		json_object_set_new(all, p->feed->pipeline.fields[p->sheet.fields[k]].name,
				    json_pack("{s:i, s:i, s:i, s:i, s:i}", "x", box.x, "y", box.y, "width", box.width,
					      "height", box.height, "times", p->sheet.times[k]));
	}
	json_object_set_new(json_array_get(json_object_get(p->json, "tiles"), i), "images", all);
}

static int draw_images(struct preview *p)
{
	for (unsigned k = 0; k < p->sheet.n_images; k++) {
		const struct visible *v = &p->sheet.images[k];
		uint8_t *rgb = malloc((size_t)v->width * v->height * 3);

		if (!rgb)
			return fail(-ENOMEM);
		for (uint32_t i = 0; i < p->n_tiles; i++) {
			size_t n;

			visible_rgb(v, row_of(p, v->field, i, &n), rgb);
			sheet_draw_image(&p->sheet, i, k, rgb);
		}
		free(rgb);
	}
	return 0;
}

static void write_title(struct preview *p)
{
	const int64_t n_rows = rf_batch_n_rows(p->batch);
	char shown[64] = "";

	if (p->n_tiles < n_rows)
		snprintf(shown, sizeof(shown), "the first %u of ", p->n_tiles);
	snprintf(p->sheet.title, sizeof(p->sheet.title), "%s: epoch %llu, batch %llu (of %llu, from 0); %s%lld samples",
		 p->feed->name, (unsigned long long)p->options->epoch, (unsigned long long)p->options->batch,
		 (unsigned long long)pass_n_batches(&p->pass), shown, (long long)n_rows);
}

static int compose(struct preview *p)
{
	int r;

	p->json = json_pack("{s:s, s:I, s:I, s:[]}", "feed", p->feed->name, "epoch", (json_int_t)p->options->epoch,
			    "batch", (json_int_t)p->options->batch, "tiles");
	p->tiles = calloc(p->n_tiles ? p->n_tiles : 1, sizeof(*p->tiles));
	if (!p->json || !p->tiles)
		return fail(-ENOMEM);
	for (uint32_t i = 0; i < p->n_tiles; i++)
		describe(p, i);
	write_title(p);
	r = sheet_lay_out(&p->sheet, p->tiles, p->n_tiles, (uint32_t)p->options->columns);
	if (r < 0)
		return pass(r);
	for (uint32_t i = 0; i < p->n_tiles; i++) {
		sheet_draw_tile(&p->sheet, i, &p->tiles[i]);
		place_images(p, i);
	}
	r = draw_images(p);
	return r < 0 ? pass(r) : 0;
}

static int tell(const struct preview *p, int r)
{
	if (r == -EEXIST)
		fprintf(stderr, "ringfeed preview: %s is there; --force replaces it\n", p->options->output);
	else
		fprintf(stderr, "ringfeed preview: %s: %s (%s)\n", p->options->output, strerror(-r), fault_trail());
	return STATUS_FAILED;
}

static int write_sheet(struct preview *p)
{
	char *text;
	int r = compose(p);

	if (r < 0)
		return tell(p, r);
	text = json_dumps(p->json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER);
	if (!text)
		return tell(p, fail(-ENOMEM));
	r = canvas_write(&p->sheet.canvas, p->options->output, text, p->options->is_forced);
	if (r == 0 && p->options->is_json)
		puts(text);
	free(text);
	if (r < 0)
		return tell(p, r);
	if (!p->options->is_json)
		printf("%s: %u x %u pixels, %s\n", p->options->output, p->sheet.canvas.width, p->sheet.canvas.height,
		       p->sheet.title);
	return STATUS_DONE;
}

/* ---- the batch ---- */

static void token_of_batch(const struct preview *p, char text[TOKEN_MAX])
{
	struct token token = {.seed = p->feed->seed, .epoch = p->options->epoch,
			      .position = p->options->batch * p->pass.batch * p->pass.world};
	struct order_spec spec;

	dataset_order(p->feed, &p->dataset, &spec);
	token.order_hash = token_order_hash(&spec);
	snprintf(token.fingerprint, sizeof(token.fingerprint), "%s", p->dataset.samples.fingerprint);
	token_format(&token, text);
}

static int take_batch(struct preview *p)
{
	int r = -ETIMEDOUT;

	for (int waited = 0; r == -ETIMEDOUT && waited < PATIENCE_MS && !is_interrupted; waited += SLICE_MS)
		r = rf_session_next(p->session, SLICE_MS, &p->batch);
	return r;
}

/* Over as many tiles as were asked for, or as a sheet may have. */
static int count_tiles(struct preview *p)
{
	const uint64_t n_rows = (uint64_t)rf_batch_n_rows(p->batch), most = sheet_tiles_max(&p->sheet);
	uint64_t n = p->options->first ? p->options->first : TILES_WISHED;

	if (n > n_rows)
		n = n_rows;
	if (most == 0 || (n > most && p->options->first)) {
		fprintf(stderr, "ringfeed preview: a sheet of these images has room for %llu samples; --first may be at "
			"most that\n", (unsigned long long)most);
		return STATUS_FAILED;
	}
	p->n_tiles = (uint32_t)(n < most ? n : most);
	return STATUS_DONE;
}

static int show(struct preview *p)
{
	char token[TOKEN_MAX];
	const struct rf_options how = {.size = sizeof(how), .feed = p->feed->name, .socket = p->daemon.socket,
				       .token = token, .group = "preview", .has_rank = 1, .world_size = (int)p->pass.world,
				       .local_world_size = 1};
	struct rf_error error = {.text = ""};
	int r, status = STATUS_FAILED;

	token_of_batch(p, token);
	r = rf_session_open(&how, &p->session, &error);
	if (r == 0)
		r = take_batch(p);
	if (is_interrupted) {
		status = 128 + SIGINT;
	} else if (r < 0) {
		const struct rf_error *e = p->session ? rf_session_error(p->session) : &error;

		fprintf(stderr, "ringfeed preview: %s: %s\n", e->name, e->text);
	} else {
		status = count_tiles(p);
		if (status == STATUS_DONE)
			status = write_sheet(p);
	}
	if (p->batch)
		rf_batch_release(p->batch);
	rf_session_close(p->session);
	return status;
}

/* ---- the command ---- */

/* Better now than after the batch. */
static bool may_write(const struct options *o)
{
	char folder[4096];
	const char *parent;

	if (access(o->output, F_OK) == 0 && !o->is_forced) {
		fprintf(stderr, "ringfeed preview: %s is there; --force replaces it\n", o->output);
		return false;
	}
	snprintf(folder, sizeof(folder), "%s", o->output);
	parent = dirname(folder);
	if (access(parent, W_OK) == 0)
		return true;
	fprintf(stderr, "ringfeed preview: %s: %s\n", parent, strerror(errno));
	return false;
}

static bool has_batch(struct preview *p)
{
	uint64_t n;

	p->pass = dataset_pass(p->feed, dataset_length(p->feed, &p->dataset));
	n = pass_n_batches(&p->pass);
	if (p->options->batch < n)
		return true;
	if (n == 0)
		fprintf(stderr, "ringfeed preview: %s: an epoch of its %llu samples has no batch\n", p->feed->name,
			(unsigned long long)p->pass.n_samples);
	else
		fprintf(stderr, "ringfeed preview: %s: an epoch has %llu batches; --batch may be at most %llu\n",
			p->feed->name, (unsigned long long)n, (unsigned long long)n - 1);
	return false;
}

static int preview(struct preview *p)
{
	const struct order_shards shards = samples_shards(&p->dataset.samples);
	const struct sigaction on_interrupt = {.sa_handler = interrupt};
	struct order_spec spec;
	int status;

	dataset_order(p->feed, &p->dataset, &spec);
	if (!has_batch(p))
		return STATUS_USAGE;
	if (order_init(&p->order, &spec, &shards, p->options->epoch) < 0)
		return STATUS_FAILED;
	sheet_init(&p->sheet, &p->feed->pipeline);
	drawn_init(&p->drawn, p->feed, &p->dataset.samples);
	status = private_start(p->config, &p->daemon);
	sigaction(SIGINT, &on_interrupt, NULL);
	sigaction(SIGTERM, &on_interrupt, NULL);
	if (status == 0) {
		status = show(p);
		private_end(&p->daemon);
	}
	drawn_deinit(&p->drawn);
	sheet_deinit(&p->sheet);
	order_deinit(&p->order);
	free(p->tiles);
	json_decref(p->json);
	return status;
}

int cmd_preview(int argc, char **argv)
{
	struct preview p = {0};
	struct config *config;
	struct options options;
	struct reason why = {{0}};
	int r, status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (!may_write(&options))
		return STATUS_FAILED;
	if (!options_config(&options, &config, &status))
		return status;
	private_hush(config);
	p.options = &options;
	p.config = config;
	p.feed = feed_of(config, options.arguments[0]);
	status = STATUS_CONFIG;
	if (p.feed) {
		r = dataset_open(config, p.feed, NULL, NULL, &p.dataset, &why);
		if (r == 0) {
			status = preview(&p);
			dataset_deinit(&p.dataset);
		} else {
			fprintf(stderr, "ringfeed: %s\n", *why.text ? why.text : strerror(-r));
		}
	}
	config_free(config);
	return status;
}
