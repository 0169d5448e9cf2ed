/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What is read and when, where no row waits for it: as many samples as may be read ahead of their slots, each once and
 * in order; and a unit that rows wait for before those read ahead. The disk and the worker do at once what they are told.
 * And more to do, or lost, at once than there is room for actions.
 */
#include "apart.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 1400, QUEUE = 4096, SLOTS = 3, ROWS = 8 };

struct scene {
	struct apart laid;
	struct core *core;
	struct {
		uint32_t request, n_bytes;
		uint64_t offset;
	} reads[QUEUE];
	uint64_t tasks[QUEUE];
	uint32_t n_samples[QUEUE]; /* of each task */
	uint64_t leases[QUEUE];
	uint32_t lent_to[QUEUE];
	uint64_t cpu_ns; /* that each task takes */
	unsigned n_reads, n_ended, n_tasks, n_answered, n_lent, n_failed, n_bad;
};

static int set_up(void **state)
{
	static struct scene scene;
	struct scene *s = &scene;

	memset(s, 0, sizeof(*s));
	apart_init(&s->laid, SAMPLES);
	s->laid.feed.batch_size = s->laid.feed.n_rows = ROWS;
	s->laid.feed.n_slots = 2 * SLOTS;
	s->laid.feed.slots_per_rank = SLOTS;
	s->laid.feed.slot_bytes = 1 << 20;
	s->laid.feed.bad_limit = 1;
	s->laid.spec.n_streams = 2;
	s->laid.spec.n_ahead = 40;
	s->laid.spec.read_timeout_ns = s->laid.spec.task_timeout_ns = 1000000000;
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	core_check(s->core);
	core_free(s->core);
	return 0;
}

static void take_task(struct scene *s, const struct core_action *a)
{
	static _Alignas(16) unsigned char bytes[65536];

	assert_true(s->n_tasks < QUEUE);
	core_task_message(s->core, a->task.worker, a->task.id, bytes, sizeof(bytes));
	s->n_samples[s->n_tasks] = ((const struct task *)bytes)->n_samples;
	s->tasks[s->n_tasks++] = a->task.id;
}

static void take_actions(struct scene *s)
{
	struct core_action a;

	while (core_next(s->core, &a)) {
		if (a.kind == CORE_READ) {
			assert_true(s->n_reads < QUEUE);
			s->reads[s->n_reads].request = a.read.request;
			s->reads[s->n_reads].n_bytes = a.read.n_bytes;
			s->reads[s->n_reads++].offset = a.read.offset;
		} else if (a.kind == CORE_TASK) {
			take_task(s, &a);
		} else if (a.kind == CORE_FAIL) {
			s->n_failed++;
		} else if (a.kind == CORE_BAD) {
			s->n_bad++;
		} else if (a.kind != CORE_EPOCH_END) {
			assert_int_equal(a.kind, CORE_LEND);
			s->lent_to[s->n_lent] = a.stream;
			s->leases[s->n_lent++] = a.lend.lease;
		}
	}
}

static void start(struct scene *s)
{
	assert_int_equal(core_new(&s->laid.spec, &s->core), 0);
}

static void attach(struct scene *s, uint64_t position)
{
	struct core_attach a = {.group = "", .world = 1, .local_world = 1, .credit = 2, .has_place = true, .position = position};
	struct reason why;
	uint32_t stream;

	assert_int_equal(core_on_attach(s->core, 0, &a, &stream, &why), 0);
	take_actions(s);
}

static void answer(struct scene *s)
{
	static struct {
		struct answer head;
		struct answer_sample samples[TASK_SAMPLES_MAX];
	} said; /* ANSWER_DONE is 0 */
	const uint32_t n = s->n_samples[s->n_answered];

	said.head = (struct answer){.id = s->tasks[s->n_answered++], .n_samples = n, .cpu_ns = s->cpu_ns};
	assert_true(core_on_answer(s->core, 0, 0, &said, sizeof(said.head) + n * sizeof(said.samples[0])));
}

/* false: nothing is under way. */
static bool run_one(struct scene *s)
{
	if (s->n_ended < s->n_reads) {
		core_on_read(s->core, 0, s->reads[s->n_ended].request, s->reads[s->n_ended].n_bytes, false);
		s->n_ended++;
	} else if (s->n_answered < s->n_tasks) {
		answer(s);
	} else {
		return false;
	}
	take_actions(s);
	return true;
}

static void run(struct scene *s)
{
	while (run_one(s))
		;
}

/* How many samples from this one on have been read, each by itself and once; no other near them has been. */
static uint32_t count_read(const struct scene *s, uint32_t first)
{
	unsigned n[SAMPLES] = {0};
	uint32_t end = first;

	for (unsigned i = 0; i < s->n_reads; i++) {
		assert_int_equal(s->reads[i].offset % APART, 0);
		assert_int_equal(s->reads[i].n_bytes, 3 * 4096);
		n[s->reads[i].offset / APART]++;
	}
	while (end < SAMPLES && n[end] == 1)
		end++;
	for (uint32_t i = end; i < SAMPLES && i < end + 50; i++)
		assert_int_equal(n[i], 0);
	return end - first;
}

/* Nobody makes rows: each has its bytes, and so have 40 samples that have no slot. */
static void as_many_as_may_be(void **state)
{
	struct scene *s = *state;

	start(s);
	attach(s, 0);
	run(s);
	assert_int_equal(count_read(s, 0), SLOTS * ROWS + 40);
}

static void none(void **state)
{
	struct scene *s = *state;

	s->laid.spec.n_ahead = 0;
	start(s);
	attach(s, 0);
	run(s);
	assert_int_equal(count_read(s, 0), SLOTS * ROWS);
}

/* With 240 pages, of which 180 are for reading ahead: rows have taken 72 of them, and 4 pages a sample are booked. */
static void as_far_as_room_goes(void **state)
{
	struct scene *s = *state;
	uint32_t n;

	s->laid.spec.n_ahead = 500;
	s->laid.spec.staging_bytes = 240 * 4096;
	start(s);
	attach(s, 0);
	run(s);
	n = count_read(s, 0) - SLOTS * ROWS;
	assert_in_range(n, (180 - 72) / 2 / 3, (180 - 72) / 3);
}

/*
 * Reading ahead waits until a quarter of its zone is free: of 240 pages 60. A sample is of 15 pages, and 16 are booked.
 * Six rows have 90 pages in the beginning, and ten samples are read into the rest. A worker frees those of the rows: with
 * the fourth there are 60 again, for four samples. Of each batch released the next one's two rows are made: what they
 * free is counted below, and that no more than 240 pages are booked.
 */
static void in_rounds(void **state)
{
	static const unsigned n_more[] = {3, 0, 4, 0, 4, 0, 4, 0}; /* of 60 free pages; 15 were left the first time */
	struct scene *s = *state;

	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i] = (struct sample_place){.header_block = i * (4 * APART / 512), .size = 15 * 4096 - 512};
	s->laid.shard.file_size = s->laid.shard.raw_size = (uint64_t)SAMPLES * 4 * APART;
	s->laid.samples.largest_extent = 15 * 4096;
	s->laid.feed.batch_size = s->laid.feed.n_rows = 2;
	s->laid.spec.n_ahead = 500;
	s->laid.spec.staging_bytes = 320 * 4096;
	start(s);
	attach(s, 0);
	run(s);
	assert_int_equal(s->n_reads, SLOTS * 2 + 10);
	core_on_worker_up(s->core, 0, 0);
	take_actions(s);
	run(s);
	assert_int_equal(s->n_reads, SLOTS * 2 + 10 + 4);
	for (unsigned i = 0; i < sizeof(n_more) / sizeof(n_more[0]); i++) {
		const unsigned n = s->n_reads;

		assert_true(core_on_release(s->core, 0, 0, s->leases[i]));
		take_actions(s);
		run(s);
		assert_int_equal(s->n_reads - n, n_more[i]);
	}
}

/* The one who reads ahead first comes upon a sample that ends its run: what it has planned must not be taken for the
 * other's, who has the same numbers a moment later. Which of them is first goes in turns. */
static void failure_amid_a_round(void **state)
{
	struct scene *s = *state;
	const struct core_seek to = {.serial = 1, .position = 100};
	struct reason why;
	unsigned n_failed = 0;

	for (unsigned turn = 0; turn < 2; turn++) {
		set_up(state);
		s->laid.feed.policy = CORE_BAD_FAIL;
		s->laid.places[130].header_block = s->laid.places[130].size = SAMPLE_MISSING;
		start(s);
		attach(s, 0);
		attach(s, 500);
		run(s);
		for (unsigned i = 0; i < turn; i++) {
			core_on_time(s->core, 0);
			take_actions(s);
		}
		assert_int_equal(core_on_seek(s->core, 0, 0, &to, &why), 0);
		take_actions(s);
		run(s);
		n_failed += s->n_failed;
		assert_int_equal(count_read(s, 500), SLOTS * ROWS + 40);
		if (turn == 0)
			tear_down(state);
	}
	assert_in_range(n_failed, 1, 2);
}

/* Two who go their own ways share what may be read ahead, as soon as the one who was there first begins anew. */
static void each_its_share(void **state)
{
	struct scene *s = *state;
	const struct core_seek to = {.serial = 1, .position = 400};
	struct reason why;

	s->laid.spec.n_ahead = 500;
	s->laid.spec.staging_bytes = 1600 * 4096;
	start(s);
	attach(s, 0);
	attach(s, 700);
	run(s);
	assert_in_range(count_read(s, 0) - SLOTS * ROWS, 1200 * 3 / 4 / 4, 1200 / 3);
	assert_int_equal(count_read(s, 700), SLOTS * ROWS);
	assert_int_equal(core_on_seek(s->core, 0, 0, &to, &why), 0);
	take_actions(s);
	run(s);
	for (uint32_t first = 400; first <= 700; first += 300)
		assert_in_range(count_read(s, first) - SLOTS * ROWS, 1200 / 4 / 4, 1200 / 2 / 4 + 1);
}

/* Each sample a unit of a compressed shard, of one piece. */
static void lay_units(struct scene *s)
{
	s->laid.shard.packing = PACKING_ZSTD;
	s->laid.shard.n_units = SAMPLES;
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.units[i] = (struct sample_unit){.offset = (uint64_t)i * APART, .n_bytes = 3 * 4096,
						   .raw_offset = (uint64_t)i * APART, .n_raw = APART};
	s->laid.samples.units = s->laid.units;
	s->laid.samples.n_units = SAMPLES;
	s->laid.samples.largest_unit = APART;
	s->laid.samples.most_units = 1;
	s->laid.feed.inflated_bytes = (uint64_t)SAMPLES * APART;
	s->laid.feed.batch_size = s->laid.feed.n_rows = 1;
}

/* The second one's three rows come after what was to be read ahead for the first, and go before it. */
static void rows_first(void **state)
{
	struct scene *s = *state;

	lay_units(s);
	start(s);
	attach(s, 0);
	attach(s, 500);
	core_on_worker_up(s->core, 0, 0);
	take_actions(s);
	run(s);
	for (unsigned i = 0; i < 2 * SLOTS; i++)
		assert_int_equal(s->reads[i].offset, (i / SLOTS * 500 + i % SLOTS) * (uint64_t)APART);
	assert_int_equal(s->n_lent, 2 * 2);
	assert_int_equal(count_read(s, 0), SLOTS + 40);
	assert_int_equal(count_read(s, 500), SLOTS);
}

/* What has come goes to the idle worker before more is read. */
static void workers_first(void **state)
{
	struct scene *s = *state;
	struct core_action a;

	start(s);
	core_on_worker_up(s->core, 0, 0);
	attach(s, 0);
	assert_int_equal(s->n_reads, s->laid.spec.reads_in_flight); /* and others wait */
	core_on_read(s->core, 0, s->reads[0].request, s->reads[0].n_bytes, false);
	assert_true(core_next(s->core, &a));
	assert_int_equal(a.kind, CORE_TASK);
	assert_true(core_next(s->core, &a));
	assert_int_equal(a.kind, CORE_READ);
	take_actions(s);
}

/* Two who go their own ways and give back at once what they get: how many batches has the second one when the first one
 * has five? */
static unsigned race(struct scene *s)
{
	unsigned n_lent[2] = {0}, n_released = 0;

	s->laid.spec.n_ahead = 0;
	start(s);
	core_on_worker_up(s->core, 0, 0);
	attach(s, 0);
	attach(s, 700);
	while (n_lent[0] < 5) {
		assert_true(run_one(s));
		for (; n_released < s->n_lent; n_released++) {
			uint32_t stream = s->lent_to[n_released];

			n_lent[stream]++;
			assert_true(core_on_release(s->core, 0, stream, s->leases[n_released]));
			take_actions(s);
		}
	}
	return n_lent[1];
}

/* With too few requests for the rows of either, each sample a read of its own: whoever's samples lie at the end of the
 * shard gets its batches nonetheless while the other goes on. */
static void each_gets_requests(void **state)
{
	struct scene *s = *state;

	s->laid.feed.batch_size = s->laid.feed.n_rows = 100;
	s->laid.spec.n_requests = CORE_REQUESTS_LEAST;
	assert_in_range(race(s), 3, 7);
}

/* With room for three inflated units. */
static void each_gets_units(void **state)
{
	struct scene *s = *state;

	lay_units(s);
	s->laid.feed.batch_size = s->laid.feed.n_rows = 20;
	s->laid.feed.inflated_bytes = 3 * APART;
	assert_in_range(race(s), 3, 7);
}

/* One read brings a batch of all samples, which are small. */
static void lay_one_read(struct scene *s)
{
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i] = (struct sample_place){.header_block = i * 2, .size = 512};
	s->laid.feed.batch_size = s->laid.feed.n_rows = SAMPLES;
	s->laid.feed.n_slots = s->laid.feed.slots_per_rank = 2;
	s->laid.spec.n_ahead = 0;
	s->laid.spec.read_max = 4 << 20;
}

/* 700 workers get two samples each: more tasks than the core can say at a time. */
static void many_workers(void **state)
{
	struct scene *s = *state;

	lay_one_read(s);
	s->laid.spec.n_workers = SAMPLES / 2;
	start(s);
	for (uint32_t i = 0; i < s->laid.spec.n_workers; i++) {
		core_on_worker_up(s->core, 0, i);
		take_actions(s);
	}
	attach(s, 0);
	assert_int_equal(s->n_reads, 2); /* one of each batch */
	core_on_read(s->core, 0, s->reads[0].request, s->reads[0].n_bytes, false);
	take_actions(s);
	assert_int_equal(s->n_tasks, SAMPLES);
}

/* A task is to take a millisecond, by what samples took before, an eighth of which is the last task's. A worker has two in
 * hand, so each is measured by the one before the last. */
static void as_much_as_a_millisecond(void **state)
{
	static const struct {
		uint64_t cpu_ns;
		uint32_t n_next;
	} turns[] = {{99999, 10}, {899999, 5}, {1999990, 5}, {4499995, 3}};
	struct scene *s = *state;

	lay_one_read(s);
	start(s);
	core_on_worker_up(s->core, 0, 0);
	take_actions(s);
	attach(s, 0);
	core_on_read(s->core, 0, s->reads[s->n_ended++].request, s->reads[0].n_bytes, false);
	take_actions(s);
	assert_int_equal(s->n_tasks, 2);
	for (unsigned i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		s->cpu_ns = turns[i].cpu_ns;
		answer(s);
		take_actions(s);
		assert_int_equal(s->n_tasks, 3 + i);
		assert_int_equal(s->n_samples[2 + i], turns[i].n_next);
	}
}

/* Nothing of such reads comes: as many lines for the ledger, also more than the core can say at a time. */
static void many_lost(void **state)
{
	struct scene *s = *state;

	lay_one_read(s);
	s->laid.feed.policy = CORE_BAD_MASK;
	s->laid.feed.is_transient_bad = true;
	start(s);
	attach(s, 0);
	while (s->n_ended < s->n_reads) {
		core_on_read(s->core, 0, s->reads[s->n_ended++].request, -EIO, false);
		take_actions(s);
	}
	assert_int_equal(s->n_reads, 2 * 3); /* two batches, each of whose reads is tried three times */
	assert_int_equal(s->n_bad, 2 * SAMPLES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(as_many_as_may_be, set_up, tear_down),
		cmocka_unit_test_setup_teardown(none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_far_as_room_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_rounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failure_amid_a_round, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_its_share, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rows_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(workers_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_gets_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_gets_units, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_workers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_much_as_a_millisecond, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_lost, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
