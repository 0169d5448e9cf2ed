/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Groups, their order and how far ranks are behind, from ranks that came in any order. */
#include "watch/status.h"

#include "watch/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct snapshot s;

static struct snapshot_rank rank_of(unsigned feed, unsigned group, unsigned rank, uint64_t epoch, uint64_t step)
{
	return (struct snapshot_rank){.feed = feed, .rank = rank, .world = 3, .group = group == 7 ? "seven\n" : "",
				      .group_number = group, .pid = (pid_t)(1000 + rank), .epoch = epoch, .step = step,
				      .n_batches_in_epoch = 10, .wait = -1};
}

static int begin(void **state)
{
	(void)state;
	if (snapshot_init(&s, 2, 3, 1, 0))
		return 1;
	s.version = s.socket = s.engine = s.engine_reason = s.kernels = "x";
	s.feeds[0].name = "one";
	s.feeds[1].name = "two";
	s.memory.lines[0].name = "line";
	s.n_wanted = 2;
	s.workers[2].is_up = false;
	s.ranks[0] = rank_of(1, 7, 2, 3, 4);
	s.ranks[1] = rank_of(0, 8, 0, 0, 0);
	s.ranks[2] = rank_of(1, 7, 0, 2, 9);
	s.ranks[3] = rank_of(1, 9, 0, 0, 1);
	s.ranks[4] = rank_of(1, 7, 1, 3, 1);
	s.n_ranks = 5;
	return 0;
}

static int end(void **state)
{
	(void)state;
	snapshot_deinit(&s);
	return 0;
}

static json_int_t number(const json_t *from, const char *key)
{
	return json_integer_value(json_object_get(from, key));
}

static void groups(void **state)
{
	static const int lags[] = {5, 3, 0}; /* 34 steps are the most: 34 - 29, 34 - 31, 34 - 34 */
	json_t *j = status_tree(&s), *feeds = json_object_get(j, "feeds"), *list, *ranks;

	(void)state;
	list = json_object_get(json_array_get(feeds, 0), "groups");
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number(json_array_get(list, 0), "number"), 8);
	list = json_object_get(json_array_get(feeds, 1), "groups");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(number(json_array_get(list, 0), "number"), 7);
	assert_int_equal(number(json_array_get(list, 1), "number"), 9);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "seven?");
	ranks = json_object_get(json_array_get(list, 0), "ranks");
	assert_int_equal(json_array_size(ranks), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(number(json_array_get(ranks, i), "rank"), i);
		assert_int_equal(number(json_array_get(ranks, i), "pid"), 1000 + i);
		assert_int_equal(number(json_array_get(ranks, i), "lag"), lags[i]);
	}
	json_decref(j);
}

/* Replicas stand behind each other; who shares a pass is as far behind as that says. */
static void sharing(void **state)
{
	static const char *const shares[] = {"independent", "lockstep", "window"};
	static const uint32_t windows[] = {0, 1, 5};
	static const json_int_t wanted[][3] = {{0, 0, 3}, {0, 2, 3}, {1, 0, 3}, {1, 1, 0}, {2, 0, 9}}; /* rank, replica, lag */
	json_t *feed, *j, *ranks;

	(void)state;
	s.ranks[0] = rank_of(1, 7, 1, 3, 4);
	s.ranks[0].replica = 1;
	s.ranks[1] = rank_of(1, 7, 0, 3, 1);
	s.ranks[1].replica = 2;
	s.ranks[2] = rank_of(1, 7, 2, 3, 4);
	s.ranks[2].lag = 9; /* behind another group */
	s.ranks[2].is_shared = true;
	s.ranks[3] = rank_of(1, 7, 1, 3, 1);
	s.ranks[3].lag = 2; /* less than behind its own */
	s.ranks[4] = rank_of(1, 7, 0, 3, 1);
	for (size_t i = 0; i < 3; i++) {
		s.feeds[1].window = windows[i];
		s.feeds[1].n_made = 77;
		j = status_tree(&s);
		feed = json_array_get(json_object_get(j, "feeds"), 1);
		assert_string_equal(json_string_value(json_object_get(feed, "share")), shares[i]);
		assert_int_equal(number(feed, "window"), windows[i]);
		assert_int_equal(number(feed, "made"), 77);
		ranks = json_object_get(json_array_get(json_object_get(feed, "groups"), 0), "ranks");
		assert_int_equal(json_array_size(ranks), 5);
		for (size_t k = 0; k < 5; k++) {
			const json_t *r = json_array_get(ranks, k);

			assert_int_equal(number(r, "rank"), wanted[k][0]);
			assert_int_equal(number(r, "replica"), wanted[k][1]);
			assert_int_equal(number(r, "lag"), wanted[k][2]);
			assert_int_equal(json_is_true(json_object_get(r, "shared")), k == 4);
		}
		json_decref(j);
	}
}

static void workers(void **state)
{
	json_t *j = status_tree(&s);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(j, "workers")), 2);
	json_decref(j);
	s.workers[2].is_up = true; /* it still has something in hand */
	j = status_tree(&s);
	assert_int_equal(json_array_size(json_object_get(j, "workers")), 3);
	assert_true(json_is_null(json_object_get(j, "reload")));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(groups, begin, end),
		cmocka_unit_test_setup_teardown(sharing, begin, end),
		cmocka_unit_test_setup_teardown(workers, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
