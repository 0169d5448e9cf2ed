/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the core itself costs: no faults, a disk and workers that answer at once, one trainer that
 * releases what it gets. Prints CPU nanoseconds per sample: sim-cost [samples [bytes [workers]]].
 */
#include "core/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 64, SHARD = 1000, QUEUE = 4096 };

struct scene {
	struct core *core;
	struct samples samples;
	struct core_feed feed;
	uint64_t now, n_events, n_lent;
	struct {
		uint32_t request, n_bytes;
	} reads[QUEUE];
	unsigned n_reads;
	struct {
		uint64_t id;
		uint32_t n;
	} tasks[64][CORE_HAND];
	unsigned n_tasks[64];
	uint64_t leases[CORE_STREAM_SLOTS_MAX];
	unsigned n_leases;
};

static void make_samples(struct samples *s, uint64_t n, uint32_t n_bytes)
{
	size_t n_shards = (n + SHARD - 1) / SHARD;

	s->n_fields = 2;
	s->n_samples = n;
	s->n_shards = n_shards;
	s->places = calloc(n * 2, sizeof(*s->places));
	s->starts = calloc(n_shards + 1, sizeof(*s->starts));
	s->shards = calloc(n_shards, sizeof(*s->shards));
	s->largest_extent = n_bytes + 512;
	for (size_t i = 0; i < n_shards; i++) {
		uint64_t at = 0;

		s->starts[i + 1] = s->starts[i] + SHARD > n ? n : s->starts[i] + SHARD;
		for (uint64_t k = s->starts[i] * 2; k < s->starts[i + 1] * 2; k++) {
			uint32_t size = k % 2 ? 1 : n_bytes / 2 + (uint32_t)(k * 2654435761u % (n_bytes / 2 + 1));

			s->places[k] = (struct sample_place){(uint32_t)(at / 512), size};
			at += 512 + (size + 511) / 512 * 512;
		}
		s->shards[i].file_size = at + 1024;
		s->shards[i].header_bytes = 512;
	}
}

static void start_task(struct scene *s, const struct core_action *a)
{
	static _Alignas(16) unsigned char bytes[65536];
	uint32_t w = a->task.worker;

	core_task_message(s->core, w, a->task.id, bytes, sizeof(bytes));
	s->tasks[w][s->n_tasks[w]].id = a->task.id;
	s->tasks[w][s->n_tasks[w]++].n = ((const struct task *)bytes)->n_samples;
}

static void take_actions(struct scene *s)
{
	struct core_action a;

	s->n_events++;
	while (core_next(s->core, &a)) {
		if (a.kind == CORE_READ) {
			s->reads[s->n_reads].request = a.read.request;
			s->reads[s->n_reads++].n_bytes = a.read.n_bytes;
		} else if (a.kind == CORE_TASK) {
			start_task(s, &a);
		} else if (a.kind == CORE_LEND) {
			s->leases[s->n_leases++] = a.lend.lease;
			s->n_lent++;
		} else if (a.kind != CORE_EPOCH_END) {
			abort();
		}
	}
}

static void answer(struct scene *s, uint32_t worker)
{
	static struct {
		struct answer head;
		struct answer_sample samples[TASK_SAMPLES_MAX];
	} said; /* ANSWER_DONE is 0 */
	uint32_t n = s->tasks[worker][0].n;

	said.head = (struct answer){.id = s->tasks[worker][0].id, .cpu_ns = 700000 * (uint64_t)n,
				    .n_samples = n};
	s->tasks[worker][0] = s->tasks[worker][1];
	s->n_tasks[worker]--;
	if (!core_on_answer(s->core, s->now, worker, &said, sizeof(said.head) + n * sizeof(said.samples[0])))
		abort();
}

/* One thing after the other, as it comes in a run that the workers bound. */
static void run(struct scene *s, uint64_t n_samples, unsigned n_workers)
{
	for (uint64_t i = 0; s->n_lent * BATCH < n_samples; i++) {
		s->now += 350000;
		if (s->n_reads) {
			core_on_read(s->core, s->now, s->reads[0].request, s->reads[0].n_bytes, false);
			memmove(&s->reads[0], &s->reads[1], --s->n_reads * sizeof(s->reads[0]));
			take_actions(s);
		}
		if (s->n_tasks[i % n_workers]) {
			answer(s, i % n_workers);
			take_actions(s);
		}
		if (s->n_leases > 1) {
			core_on_release(s->core, s->now, 0, s->leases[0]);
			memmove(&s->leases[0], &s->leases[1], --s->n_leases * sizeof(s->leases[0]));
			take_actions(s);
		}
	}
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000, before;
	uint32_t n_bytes = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
	unsigned n_workers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2;
	struct scene *s = calloc(1, sizeof(*s));
	struct core_spec spec = {.n_feeds = 1, .n_streams = 64, .n_workers = n_workers, .n_ahead = 4096,
				 .staging_bytes = 64 << 20, .read_max = 1 << 20, .reads_in_flight = 32,
				 .read_timeout_ns = 30000000000, .task_timeout_ns = 30000000000};
	struct core_attach a = {.group = "", .world = 1, .local_world = 1, .has_place = true};
	struct core_totals totals;
	struct reason why;
	uint32_t stream;

	if (!s || n_workers == 0 || n_workers > 64 || n_bytes < 2)
		return 2;
	make_samples(&s->samples, 100000, n_bytes);
	s->feed = (struct core_feed){.name = "train", .samples = &s->samples, .n_positions = 100000, .batch_size = BATCH,
				     .slots_per_rank = 4, .n_slots = 4, .n_rows = BATCH,
				     .order = {.shuffle = SHUFFLE_FULL, .seed = 1, .parts = 1}};
	spec.feeds = &s->feed;
	if (core_new(&spec, &s->core))
		return 1;
	before = cpu_ns();
	for (unsigned i = 0; i < n_workers; i++) {
		core_on_worker_up(s->core, 0, i);
		take_actions(s);
	}
	if (core_on_attach(s->core, 0, &a, &stream, &why))
		return 1;
	take_actions(s);
	run(s, n, n_workers);
	before = cpu_ns() - before;
	core_view_totals(s->core, &totals);
	printf("%" PRIu64 " samples: %.0f ns a sample, %.0f ns an event (%.2f events, %.2f reads, %.2f tasks a "
	       "sample)\n", n, (double)before / (double)n, (double)before / (double)s->n_events,
	       (double)s->n_events / (double)n, (double)totals.n_reads / (double)n,
	       (double)totals.n_tasks / (double)n);
	core_free(s->core);
	free(s->samples.places);
	free(s->samples.starts);
	free(s->samples.shards);
	free(s);
	return 0;
}
