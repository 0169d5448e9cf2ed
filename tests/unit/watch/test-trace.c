/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Pieces of any size make one JSON text that holds what the rings still have, once each. */
#include "watch/trace.h"

#include "watch/snapshot.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LEASES = TRACE_BATCHES + 300, WORKS = TRACE_WORKS + 700, ALL_MAX = 32 << 20 };

static struct trace t;
static struct snapshot s;

static int fill(void **state)
{
	(void)state;
	if (snapshot_init(&s, 2, 3, 1, 0))
		return 1;
	s.version = "1.2.3";
	s.started_ns = 1000;
	s.now_ns = 5000000;
	s.feeds[0].name = "a";
	s.feeds[0].slots.all = 4;
	s.feeds[1].name = "b";
	s.feeds[1].slots.all = 5;
	for (uint64_t lease = 1; lease <= LEASES; lease++) {
		uint64_t at = 1000 + lease * 1000;

		trace_lent(&t, &(struct trace_batch){.lease = lease, .opened_ns = at, .staged_ns = at + 100,
						     .ready_ns = at + 200, .lent_ns = at + 300, .step = lease,
						     .stream = lease % 3, .feed = lease % 2});
		if (lease % 2)
			trace_released(&t, at + 400, lease);
	}
	trace_gone(&t, 4000000, 1);
	for (uint64_t i = 0; i < WORKS; i++)
		trace_work(&t, &(struct trace_work){.kind = i % 2 ? TRACE_READ : TRACE_TASK, .begun_ns = 1000 + i * 100,
						    .ended_ns = 1050 + i * 100, .size = (uint32_t)i});
	return 0;
}

static int empty(void **state)
{
	(void)state;
	snapshot_deinit(&s);
	return 0;
}

/* A daemon at work: one more batch, behind the task that made it. Its rows are its number. */
static void go_on(void)
{
	const uint64_t lease = t.n_leases + 1;

	trace_work(&t, &(struct trace_work){.kind = TRACE_TASK, .begun_ns = s.now_ns, .ended_ns = s.now_ns + 10,
					    .size = (uint32_t)lease});
	s.now_ns += 1000;
	trace_lent(&t, &(struct trace_batch){.lease = lease, .opened_ns = s.now_ns - 1000, .staged_ns = s.now_ns - 1000,
					     .ready_ns = s.now_ns - 990, .lent_ns = s.now_ns, .n_rows = (uint32_t)lease});
}

static json_t *whole(size_t room, bool goes_on)
{
	char *text = malloc(ALL_MAX);
	uint64_t cursor = 0;
	size_t n = 0;
	json_t *j;

	do {
		size_t got = trace_text(&t, &s, cursor, text + n, room, &cursor);

		assert_true(got <= room && n + got + room < ALL_MAX);
		n += got;
		if (goes_on)
			go_on();
	} while (cursor);
	j = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	assert_non_null(j);
	return j;
}

static const char *text_at(const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));

	return text ? text : "";
}

static void once_each(void **state)
{
	static char is_seen[LEASES + 1];
	uint64_t n_batches = 0, n_tasks = 0, n_reads[2] = {0}, n_named = 0, n_free = 0;
	json_t *j = whole(4000, false), *event;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(j, "traceEvents"), i, event) {
		const json_t *args = json_object_get(event, "args");

		n_named += strcmp(text_at(event, "ph"), "M") == 0;
		n_tasks += strcmp(text_at(event, "cat"), "task") == 0;
		if (strcmp(text_at(event, "cat"), "read") == 0)
			n_reads[strcmp(text_at(event, "ph"), "e") == 0]++;
		if (strcmp(text_at(event, "cat"), "batch") == 0) {
			uint64_t lease = (uint64_t)json_integer_value(json_object_get(args, "lease"));

			assert_true(lease > LEASES - TRACE_BATCHES && lease <= LEASES && !is_seen[lease]++);
			assert_true(fabs(json_real_value(json_object_get(event, "ts")) - (double)lease) < 1e-6); /* µs */
			n_batches++;
			n_free += json_is_true(json_object_get(args, "released"));
		}
	}
	assert_int_equal(n_batches, TRACE_BATCHES);
	/* Odd ones were released; of the even ones, those of stream 1 went with it: 6k + 4 in 301 … 1324. */
	assert_int_equal(n_free, TRACE_BATCHES / 2 + 171);
	assert_int_equal(n_tasks, TRACE_WORKS / 2);
	assert_int_equal(n_reads[0], TRACE_WORKS / 2);
	assert_int_equal(n_reads[1], TRACE_WORKS / 2);
	assert_int_equal(n_named, 2 + 2 + 3 + 9); /* workers and reads, feeds, each worker, each slot */
	json_decref(j);
}

static void pieces(void **state)
{
	json_t *small = whole(2000, false), *large = whole(1 << 20, false);

	(void)state;
	assert_true(json_equal(small, large));
	assert_string_equal(text_at(json_object_get(small, "otherData"), "version"), "1.2.3");
	json_decref(small);
	json_decref(large);
}

/* Asked for while the daemon goes on: a batch that is told has its task told, too. */
static void meanwhile(void **state)
{
	static char has_task[4 * LEASES];
	const uint64_t first = t.n_leases + 1;
	json_t *j = whole(20000, true), *events = json_object_get(j, "traceEvents"), *event;
	unsigned n = 0;
	size_t i;

	(void)state;
	json_array_foreach(events, i, event)
		if (strcmp(text_at(event, "cat"), "task") == 0)
			has_task[json_integer_value(json_object_get(json_object_get(event, "args"), "samples")) %
				 (4 * LEASES)] = 1;
	json_array_foreach(events, i, event) {
		uint64_t rows = (uint64_t)json_integer_value(json_object_get(json_object_get(event, "args"), "rows"));

		if (strcmp(text_at(event, "cat"), "batch") != 0 || rows < first)
			continue;
		assert_true(has_task[rows]);
		n++;
	}
	assert_true(n > 5);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(once_each), cmocka_unit_test(pieces),
					   cmocka_unit_test(meanwhile)};

	return cmocka_run_group_tests(tests, fill, empty);
}
