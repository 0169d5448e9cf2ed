/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * bench: a private daemon and one trainer that does nothing but take batches. Memory is sampled at most
 * 50 ms apart while it runs; CPU time and rate are counted from the first batch to the last, so that
 * starting up is told apart (first_batch_seconds).
 */
#include "main/command.h"
#include "main/measure.h"
#include "main/planned.h"
#include "main/private.h"

#include "base/clock.h"
#include "base/hash.h"
#include "batch/machine.h"
#include "serve/dataset.h"
#include "watch/at.h"
#include "watch/limit.h"

#include <errno.h>
#include <jansson.h>
#include <ringfeed/ringfeed.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_MS = 50, DEFAULT_S = 10, WARM_BATCHES = 2, PATIENCE_MS = 5000 };

struct bench {
	const struct options *options;
	const struct config_feed *feed;
	struct private_daemon daemon;
	struct measure measure;
	struct rf_session *session;
	uint64_t n_samples, n_batches, n_epochs, digest;
	uint64_t n_counted; /* samples since counting began */
	double began, first_batch, counted_from, ended;
	struct measure_cpu cpu_from, cpu_to;
	json_t *status; /* the daemon's last */
	unsigned n_cpus;
};

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number)
{
	is_interrupted = 1;
}

/* The hash goes on with the row's bytes in this field, and with how many of them are its own. */
static uint64_t hash_field(const struct rf_batch *batch, const char *name, int64_t row, int64_t n_rows, uint64_t sum)
{
	const int64_t *lengths = rf_batch_lengths(batch, name);
	struct rf_array a;
	size_t n;

	rf_batch_array(batch, name, &a);
	n = a.n_bytes / (size_t)n_rows;
	sum = XXH64((const char *)a.data + (size_t)row * n, n, sum);
	return lengths ? XXH64(&lengths[row], sizeof(*lengths), sum) : sum;
}

/* Adds a hash of each row, keyed by epoch and position: the same for any world size, engine and number of
 * workers. */
static void digest(struct bench *b, const struct rf_batch *batch)
{
	const int64_t *index = rf_batch_index(batch), *position = rf_batch_position(batch);
	const uint8_t *valid = rf_batch_valid(batch);
	int64_t n = rf_batch_n_rows(batch);

	for (int64_t i = 0; i < n; i++) {
		uint64_t key[4] = {(uint64_t)rf_batch_epoch(batch), (uint64_t)position[i],
				   (uint64_t)index[i], valid[i]};
		uint64_t sum = hash_bytes(key, sizeof(key));

		for (int f = 0; f < rf_session_n_fields(b->session); f++)
			sum = hash_field(batch, rf_session_field_name(b->session, f), i, n, sum);
		b->digest += sum;
	}
}

static bool is_enough(const struct bench *b)
{
	const struct options *o = b->options;
	double most = o->seconds ? (double)o->seconds : o->batches || o->epochs ? 0 : DEFAULT_S;

	return is_interrupted || (o->batches && b->n_batches >= o->batches) ||
	       (o->epochs && b->n_epochs >= o->epochs) || (most > 0 && clock_s() - b->counted_from >= most);
}

static void take(struct bench *b, struct rf_batch *batch)
{
	if (b->n_batches++ == 0)
		b->first_batch = clock_s() - b->began;
	b->n_samples += (uint64_t)rf_batch_n_rows(batch);
	if (b->options->has_digest)
		digest(b, batch);
	rf_batch_release(batch);
	b->ended = clock_s();
}

static void count_from_here(struct bench *b)
{
	b->counted_from = clock_s();
	b->cpu_from = measure_cpu(&b->measure);
	b->n_counted = b->n_samples;
}

/* 0, or what rf_session_next said. */
static int consume(struct bench *b)
{
	count_from_here(b);
	while (!is_enough(b)) {
		struct rf_batch *batch;
		int r = rf_session_next(b->session, SAMPLE_MS, &batch);

		measure_memory(&b->measure, clock_s());
		if (r == -ENODATA)
			b->n_epochs++;
		else if (r == 0)
			take(b, batch);
		else if (r != -ETIMEDOUT)
			return r;
		if (r == 0 && b->n_batches == WARM_BATCHES)
			count_from_here(b);
	}
	b->cpu_to = measure_cpu(&b->measure);
	return 0;
}

static const json_t *our_rank(const struct bench *b)
{
	const json_t *feed, *found = NULL;
	size_t i;

	json_array_foreach(at(b->status, "feeds"), i, feed)
		if (strcmp(at_text(feed, "name"), b->feed->name) == 0)
			found = json_array_get(at(json_array_get(at(feed, "groups"), 0), "ranks"), 0);
	return found;
}

/* busy: share of the time that workers worked. */
static json_t *limit(const struct bench *b, const json_t *waits, double busy)
{
	struct limit_view v = {.feed = b->feed->name, .busy = busy, .n_cpus = b->n_cpus,
			       .n_workers = (unsigned)json_array_size(at(b->status, "workers"))};
	char text[300];

	for (unsigned i = 0; i < SNAPSHOT_WAITS; i++)
		v.waits[i] = json_number_value(at(waits, snapshot_wait_name(i)));
	limit_sentence(&v, text, sizeof(text));
	return json_string(text);
}

static json_t *report(const struct bench *b)
{
	double seconds = b->ended > b->counted_from ? b->ended - b->counted_from : 0;
	uint64_t n = b->n_samples - b->n_counted;
	double core = b->cpu_to.core - b->cpu_from.core, workers = b->cpu_to.workers - b->cpu_from.workers;
	const size_t n_workers = json_array_size(at(b->status, "workers"));
	const json_t *rank = our_rank(b);
	json_t *j = json_object();
	char hex[17];

	json_object_set_new(j, "samples", json_integer((json_int_t)b->n_samples));
	json_object_set_new(j, "batches", json_integer((json_int_t)b->n_batches));
	json_object_set_new(j, "epochs", json_integer((json_int_t)b->n_epochs));
	json_object_set_new(j, "seconds", json_real(seconds));
	json_object_set_new(j, "counted_samples", json_integer((json_int_t)n));
	json_object_set_new(j, "samples_per_second", json_real(seconds > 0 ? (double)n / seconds : 0));
	json_object_set_new(j, "samples_per_cpu_second",
			    json_real(core + workers > 0 ? (double)n / (core + workers) : 0));
	json_object_set_new(j, "cpu_seconds", json_pack("{s:f, s:f, s:f}", "core", core, "workers", workers,
							"total", core + workers));
	json_object_set_new(j, "peak_memory_bytes", json_integer((json_int_t)b->measure.peak_bytes));
	json_object_set(j, "budget_bytes", (json_t *)at(at(b->status, "memory"), "budget_bytes"));
	json_object_set(j, "engine", (json_t *)at(b->status, "engine"));
	json_object_set_new(j, "workers", json_integer((json_int_t)n_workers));
	json_object_set(j, "waits", (json_t *)at(rank, "waits"));
	json_object_set_new(j, "limit", limit(b, at(rank, "waits"), seconds > 0 ? workers / seconds / n_workers : 1));
	json_object_set(j, "due", (json_t *)at(rank, "due"));
	json_object_set(j, "delivered", (json_t *)at(rank, "delivered"));
	json_object_set(j, "bad_samples", (json_t *)at(rank, "bad"));
	json_object_set_new(j, "trainer_wait_seconds", json_real((double)rf_session_wait_ns(b->session) / 1e9));
	json_object_set_new(j, "first_batch_seconds", json_real(b->first_batch));
	if (b->options->has_digest) {
		snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)b->digest);
		json_object_set_new(j, "digest", json_string(hex));
	}
	return j;
}

static void print_text(const struct bench *b, const json_t *j)
{
	const json_t *w = at(j, "waits"), *cpu = at(j, "cpu_seconds");

	printf("%s: %.1f samples/s, %.1f per CPU second (core %.2fs, workers %.2fs in %.2fs)\n", b->feed->name,
	       at_real(j, "samples_per_second"), at_real(j, "samples_per_cpu_second"), at_real(cpu, "core"),
	       at_real(cpu, "workers"), at_real(j, "seconds"));
	printf("%lld samples in %lld batches; %lld bad; first batch after %.2fs; engine %s, %lld workers\n",
	       at_number(j, "samples"), at_number(j, "batches"), at_number(j, "bad_samples"),
	       at_real(j, "first_batch_seconds"), at_text(j, "engine"), at_number(j, "workers"));
	printf("waits: read %.2fs, decode %.2fs, slots %.2fs, trainer %.2fs\n",
	       at_real(w, "read"), at_real(w, "decode"), at_real(w, "slots"), at_real(w, "trainer"));
	printf("limit: %s\n", at_text(j, "limit"));
	printf("memory: peak %.1f MiB of %.1f MiB\n",
	       (double)at_number(j, "peak_memory_bytes") / (1 << 20),
	       (double)at_number(j, "budget_bytes") / (1 << 20));
	if (at(j, "digest"))
		printf("digest: %s\n", at_text(j, "digest"));
}

static json_t *ask_status(const struct bench *b)
{
	struct rf_error error;
	json_t *all;
	char *json;

	if (rf_status(b->daemon.socket, PATIENCE_MS, &json, &error) < 0)
		return NULL;
	all = json_loads(json, 0, NULL);
	rf_free(json);
	return all;
}

static int run(struct bench *b)
{
	/* Slots are made for batch.ranks ranks or more: of a global batch it takes what rank 0 of so many gets. */
	const int world = (int)dataset_ranks(b->feed);
	const struct rf_options how = {.size = sizeof(how), .feed = b->feed->name, .socket = b->daemon.socket,
				       .group = "bench", .has_rank = 1, .world_size = world,
				       .local_world_size = 1};
	struct rf_error error = {.text = ""};
	json_t *j;
	int r;

	b->status = ask_status(b);
	measure_init(&b->measure, b->status);
	r = rf_session_open(&how, &b->session, &error);
	if (r == 0)
		r = consume(b);
	if (r < 0) {
		const struct rf_error *e = b->session ? rf_session_error(b->session) : &error;

		fprintf(stderr, "ringfeed: %s: %s\n", e->name, e->text);
	} else {
		json_decref(b->status);
		b->status = ask_status(b);
		j = report(b);
		if (b->options->is_json) {
			json_dumpf(j, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
			putchar('\n');
		} else {
			print_text(b, j);
		}
		json_decref(j);
	}
	json_decref(b->status);
	rf_session_close(b->session);
	return r < 0 ? STATUS_FAILED : is_interrupted ? 128 + SIGINT : STATUS_DONE;
}

int cmd_bench(int argc, char **argv)
{
	const struct sigaction on_interrupt = {.sa_handler = interrupt};
	struct config *config;
	struct options options;
	struct bench b = {.options = &options};
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	status = STATUS_CONFIG;
	private_hush(config);
	b.feed = feed_of(config, options.arguments[0]);
	b.n_cpus = machine_affinity(config->daemon.cpus, CPUS_MAX / 64);
	if (b.feed) {
		b.began = clock_s();
		status = private_start(config, &b.daemon);
		sigaction(SIGINT, &on_interrupt, NULL);
		sigaction(SIGTERM, &on_interrupt, NULL);
		if (status == 0) {
			status = run(&b);
			private_end(&b.daemon);
		}
	}
	config_free(config);
	return status;
}
