/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Rates and what limits them are those of the last ten seconds, whatever was before. */
#include "watch/trend.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static struct snapshot s;
static struct trend t;

static int begin(void **state)
{
	(void)state;
	if (snapshot_init(&s, 1, 2, 1, 0) || trend_init(&t, 1))
		return 1;
	s.feeds[0].name = "f";
	s.now_ns = 5 * SECOND;
	s.n_wanted = 2;
	s.n_cpus = 2;
	return 0;
}

static int end(void **state)
{
	(void)state;
	trend_deinit(&t);
	snapshot_deinit(&s);
	return 0;
}

/* One second, in which so much happens. */
static void pass(unsigned samples, enum snapshot_wait wait, double busy)
{
	s.now_ns += SECOND;
	s.feeds[0].lent.n_due += samples;
	s.feeds[0].n_batches += samples / 10;
	s.feeds[0].lent.waits_ns[wait] += SECOND;
	s.workers_cpu_ns += (uint64_t)(busy * 2 * (double)SECOND);
	assert_true(trend_is_due(&t, s.now_ns));
	trend_note(&t, &s);
	assert_false(trend_is_due(&t, s.now_ns + SECOND - 1));
}

static void rates(void **state)
{
	const struct snapshot_trend *seen = &s.feeds[0].trend;

	(void)state;
	assert_true(trend_is_due(&t, s.now_ns));
	trend_note(&t, &s);
	trend_tell(&t, &s);
	assert_true(seen->samples_per_second == 0);
	assert_string_equal(seen->limit, "no trainer is attached");
	s.n_ranks = 1; /* of feed 0, attached: zeros */
	trend_tell(&t, &s);
	assert_string_equal(seen->limit, "too early to say");
	for (int i = 0; i < 20; i++)
		pass(1000, SNAPSHOT_WAIT_READ, 0.1);
	trend_tell(&t, &s);
	assert_true(fabs(seen->samples_per_second - 1000) < 1e-6 && fabs(seen->batches_per_second - 100) < 1e-6);
	assert_memory_equal(seen->limit, "reading:", 8);
	for (int i = 0; i < 5; i++)
		pass(200, SNAPSHOT_WAIT_DECODE, 0.9);
	trend_tell(&t, &s);
	assert_true(fabs(seen->samples_per_second - 600) < 1e-6); /* 5 s of 1000, 5 s of 200 */
	pass(200, SNAPSHOT_WAIT_DECODE, 0.9);
	pass(200, SNAPSHOT_WAIT_DECODE, 0.9);
	trend_tell(&t, &s);
	assert_memory_equal(seen->limit, "decoding, with the workers on a CPU only", 40); /* (7 * 0.9 + 3 * 0.1) / 10 */
	for (int i = 0; i < 3; i++)
		pass(200, SNAPSHOT_WAIT_DECODE, 0.9);
	trend_tell(&t, &s);
	assert_non_null(strstr(seen->limit, "busy 90 % of the time; more CPUs help"));
	s.ranks[0].state = SNAPSHOT_LEAVING;
	trend_tell(&t, &s);
	assert_string_equal(seen->limit, "no trainer is attached");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(rates, begin, end)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
