/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "batch/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

enum { FEEDS = 4 };

static uint64_t some(uint64_t below)
{
	return (((uint64_t)rand() << 31) ^ (uint64_t)rand()) % below;
}

static void draw_input(struct plan_input *in, struct plan_feed *feeds)
{
	static const char *const names[FEEDS] = {"train", "val", "extra", "last"};

	*in = (struct plan_input){.core_base = some(20 * MIB),
				  .parent_base = some(5 * MIB),
				  .worker_base = some(8 * MIB),
				  .core_tables = some(5 * MIB),
				  .staging = some(300 * MIB),
				  .scratch = some(30 * MIB),
				  .large_scratch = some(2) * some(100 * MIB),
				  .n_workers = 1 + (uint32_t)some(64),
				  .feeds = feeds,
				  .n_feeds = 1 + some(FEEDS)};
	for (size_t i = 0; i < in->n_feeds; i++)
		feeds[i] = (struct plan_feed){.name = names[i],
					      .slot_bytes = 4096 * (1 + some(10000)),
					      .slots = 2 + (uint32_t)some(30),
					      .slots_max = some(3) ? 0 : 2 + (uint32_t)some(100),
					      .index_bytes = some(50 * MIB),
					      .order_bytes = some(MIB), .inflated_bytes = some(9 * MIB)};
	in->memory = some(4096) * MIB + some(MIB);
}

static int make(const struct plan_input *in, struct plan *p, struct reason *why)
{
	int r = plan_lay_out(in, p, why);
	uint64_t sum = 0;

	assert_true(r == 0 || r == PLAN_E_TOO_SMALL);
	for (size_t i = 0; i < p->n_lines; i++)
		sum += p->lines[i].n_bytes;
	assert_int_equal(sum, p->total);
	return r;
}

/* The rest of the budget is whole slots and less than one more; shares follow `slots`. */
static void check_pool(const struct plan_input *in, const struct plan *p)
{
	const uint64_t left = in->memory - p->total;

	assert_true(p->total <= in->memory);
	for (size_t i = 0; i < in->n_feeds; i++) {
		const struct plan_feed *a = &in->feeds[i];
		const bool is_capped = a->slots_max && p->n_slots[i] == a->slots_max;

		assert_true(p->n_slots[i] >= 2);
		assert_true(a->slots_max == 0 || p->n_slots[i] <= a->slots_max);
		assert_true(is_capped || left < a->slot_bytes);
	}
}

/* A refusal's number works, and a MiB less does not. */
static void refused_number_works(void **state)
{
	unsigned n_refused = 0, n_made = 0;

	srand(11);
	for (int round = 0; round < 4000; round++) {
		struct plan_feed feeds[FEEDS];
		struct plan_input in;
		struct reason why = {""};
		struct plan p;
		uint64_t needed;

		draw_input(&in, feeds);
		if (make(&in, &p, &why) == 0) {
			n_made++;
			assert_string_equal(why.text, "");
			check_pool(&in, &p);
		} else {
			char number[40];

			n_refused++;
			assert_true(in.memory < p.needed);
			assert_true(p.total > in.memory);
			snprintf(number, sizeof(number), " %lluMiB is needed",
				 (unsigned long long)(p.needed / MIB));
			assert_non_null(strstr(why.text, number));
		}
		needed = p.needed;
		plan_deinit(&p);
		assert_int_equal(needed % MIB, 0);
		in.memory = needed;
		assert_int_equal(make(&in, &p, &why), 0);
		check_pool(&in, &p);
		plan_deinit(&p);
		in.memory = needed - MIB;
		assert_int_equal(make(&in, &p, &why), PLAN_E_TOO_SMALL);
		plan_deinit(&p);
		plan_deinit(&p);
	}
	assert_true(n_refused > 100 && n_made > 100);
}

static struct plan_input two_feeds(const struct plan_feed *feeds)
{
	return (struct plan_input){.memory = 512 * MIB,
				   .core_base = 8 * MIB,
				   .parent_base = 2 * MIB,
				   .worker_base = 4 * MIB,
				   .core_tables = MIB,
				   .staging = 64 * MIB,
				   .scratch = 8 * MIB,
				   .large_scratch = 64 * MIB,
				   .n_workers = 2,
				   .feeds = feeds,
				   .n_feeds = 2};
}

/* 512 - 139 - 24 - 3 = 346 MiB for slots of 20 and 5 MiB with weights 4 and 2: 90 MiB hold 4 + 2.
 */
static void shares_by_hand(void **state)
{
	struct plan_feed feeds[2] = {
		{.name = "train", .slot_bytes = 20 * MIB, .slots = 4, .index_bytes = 2 * MIB},
		{.name = "val", .slot_bytes = 5 * MIB, .slots = 2, .index_bytes = MIB},
	};
	struct plan_input in = two_feeds(feeds);
	struct reason why;
	struct plan p;
	char text[200];

	assert_int_equal(make(&in, &p, &why), 0);
	assert_int_equal(p.n_slots[0], 15);
	assert_int_equal(p.n_slots[1], 9);
	assert_int_equal(p.total, (166 + 300 + 45) * MIB);
	assert_int_equal(p.needed, (166 + 40 + 10) * MIB);
	plan_line_print(&p.lines[9], plan_name_width(&p), text, sizeof(text));
	assert_string_equal(
		text,
		"slots train     15 x   20.0 MiB = 300.0 MiB  batches, each a memory of its own");
	plan_line_print(&p.lines[0], 4, text, sizeof(text));
	assert_string_equal(text, "core                       8.0 MiB  program and libraries");
	plan_deinit(&p);
	feeds[0].slots_max = 6;
	assert_int_equal(make(&in, &p, &why), 0);
	assert_int_equal(p.n_slots[0], 6);
	assert_int_equal(p.n_slots[1], 45); /* (346 - 120) / 5 */
	plan_deinit(&p);
	in.memory = 200 * MIB;
	assert_int_equal(make(&in, &p, &why), PLAN_E_TOO_SMALL);
	assert_string_equal(why.text,
			    "daemon.memory: 200.0 MiB is too small, 216MiB is needed (the largest "
			    "line is \"large scratch\" with 64.0 MiB)");
	plan_deinit(&p);
}

static void workers_auto(void **state)
{
	const struct plan_feed feeds[2] = {
		{.name = "train", .slot_bytes = 20 * MIB, .slots = 4},
		{.name = "val", .slot_bytes = 5 * MIB, .slots = 2},
	};
	struct plan_input in = two_feeds(feeds); /* 189 MiB without workers, 12 each */
	struct reason why;
	struct plan p;

	assert_int_equal(plan_workers(&in, 8), 8);
	in.memory = 189 * MIB + 5 * 12 * MIB;
	assert_int_equal(plan_workers(&in, 8), 5);
	in.n_workers = 5;
	assert_int_equal(make(&in, &p, &why), 0);
	plan_deinit(&p);
	in.memory--;
	assert_int_equal(plan_workers(&in, 8), 4);
	in.memory = 10;
	assert_int_equal(plan_workers(&in, 8), 1);
}

static void beyond_all_memory(void **state)
{
	const struct plan_feed feeds[2] = {
		{.name = "train", .slot_bytes = UINT64_MAX - 4095, .slots = 4},
		{.name = "val", .slot_bytes = 4096, .slots = 2},
	};
	struct plan_input in = two_feeds(feeds);
	struct reason why;
	struct plan p;

	in.memory = UINT64_MAX;
	assert_int_equal(plan_lay_out(&in, &p, &why), PLAN_E_TOO_SMALL);
	assert_true(p.needed == UINT64_MAX);
	assert_non_null(strstr(why.text, "no memory is enough"));
	plan_deinit(&p);
}

static void sizes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {{0, "0 B"},
		    {1023, "1023 B"},
		    {1024, "1.0 KiB"},
		    {MIB, "1.0 MiB"},
		    {MIB - 1, "1.0 MiB"},
		    {20237518, "19.3 MiB"},
		    {UINT64_MAX, "16.0 EiB"}};
	char text[32];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		plan_bytes_print(rows[i].n, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_number_works),
		cmocka_unit_test(shares_by_hand),
		cmocka_unit_test(workers_auto),
		cmocka_unit_test(beyond_all_memory),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
