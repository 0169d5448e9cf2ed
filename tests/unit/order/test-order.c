/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What must hold of any order, whatever its numbers are: an epoch has each sample exactly once, pad
 * repeats samples of the position's own part, a part keeps to its run of samples, substitutes come
 * from the same part. Then what a position costs (printed, never judged).
 */
#include "order/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N_MAX = 5000, SHARDS = 7 };

static const struct order_spec specs[] = {
	{SHUFFLE_NONE, 1, 0, 1},
	{SHUFFLE_FULL, 2, 0, 1},
	{SHUFFLE_FULL, UINT64_MAX, 0, 1},
	{SHUFFLE_BLOCK, 3, 1, 1},
	{SHUFFLE_BLOCK, 4, 64, 1},
	{SHUFFLE_BLOCK, 5, 64, 4},
	{SHUFFLE_BLOCK, 6, 7, 3},
	{SHUFFLE_BLOCK, 7, N_MAX, 64},
	{SHUFFLE_BLOCK, 8, 100, 2 * N_MAX},
	{SHUFFLE_BLOCK, 9, UINT64_MAX, 5},
	{SHUFFLE_BLOCK, 0, 3, UINT64_MAX},
};
enum { N_SPECS = sizeof(specs) / sizeof(specs[0]) };

/* N samples in SHARDS shards of uneven sizes, some of them empty. */
static struct order_shards shards_of(uint64_t n, uint64_t starts[SHARDS + 1])
{
	const uint64_t parts_of_100[SHARDS + 1] = {0, 0, 17, 17, 60, 61, 100, 100};

	for (int i = 0; i <= SHARDS; i++)
		starts[i] = n * parts_of_100[i] / 100;
	return (struct order_shards){starts, SHARDS};
}

static void each_sample_once(const struct order *o, uint64_t n)
{
	static unsigned char seen[N_MAX];

	memset(seen, 0, sizeof(seen));
	for (uint64_t t = 0; t < n; t++) {
		uint64_t sample = order_sample(o, t);

		assert_in_range(sample, 0, n - 1);
		assert_int_equal(seen[sample]++, 0);
	}
}

static void permutations(void **state)
{
	for (unsigned s = 0; s < N_SPECS; s++) {
		for (uint64_t n = 1; n <= N_MAX; n += n < 140 ? 1 : 811) {
			uint64_t starts[SHARDS + 1];
			const struct order_shards shards = shards_of(n, starts);
			struct order o;

			assert_int_equal(order_init(&o, &specs[s], &shards, n), 0);
			each_sample_once(&o, n);
			order_deinit(&o);
		}
	}
}

static void bijection(void **state)
{
	static unsigned char seen[N_MAX];

	for (uint64_t n = 1; n <= N_MAX; n += n < 300 ? 1 : 97) {
		memset(seen, 0, sizeof(seen));
		for (uint64_t x = 0; x < n; x++)
			assert_int_equal(seen[order_perm(n, n * 77, x)]++, 0);
	}
}

/* An order that stays the listed one, or is the same for two keys, would pass the tests above. */
static void really_shuffled(void **state)
{
	const uint64_t starts[] = {0, 1000};
	const struct order_shards shards = {starts, 1};
	const struct order_spec full = {SHUFFLE_FULL, 1, 0, 1}, other = {SHUFFLE_FULL, 2, 0, 1};
	struct order a, b, c;
	unsigned n_at_home = 0, n_same_epoch = 0, n_same_seed = 0;

	order_init(&a, &full, &shards, 0);
	order_init(&b, &full, &shards, 1);
	order_init(&c, &other, &shards, 0);
	for (uint64_t t = 0; t < 1000; t++) {
		n_at_home += order_sample(&a, t) == t;
		n_same_epoch += order_sample(&a, t) == order_sample(&b, t);
		n_same_seed += order_sample(&a, t) == order_sample(&c, t);
	}
	assert_in_range(n_at_home, 0, 10);
	assert_in_range(n_same_epoch, 0, 10);
	assert_in_range(n_same_seed, 0, 10);
}

/* The places of a part's samples in the laid-out order make one run; window by window. */
static void parts_keep_to_their_run(void **state)
{
	const struct order_spec spec = {SHUFFLE_BLOCK, 11, 16, 4};
	uint64_t starts[SHARDS + 1], at[1003];
	const struct order_shards shards = shards_of(1003, starts);
	struct order o;
	uint64_t x = 0;

	order_init(&o, &spec, &shards, 5);
	for (size_t place = 0; place < SHARDS; place++) {
		uint32_t shard = o.place_shard[place];

		for (uint64_t i = starts[shard]; i < starts[shard + 1]; i++)
			at[i] = x++;
	}
	assert_int_equal(x, 1003);
	for (uint64_t t = 0; t < 1003; t++) {
		uint64_t p = t % 4, i = t / 4, first = p * 250 + (p < 3 ? p : 3);
		uint64_t here = at[order_sample(&o, t)];

		assert_in_range(here, first + i / 16 * 16, first + i / 16 * 16 + 15);
	}
	order_deinit(&o);
}

/* The part a sample belongs to, found by looking for the position that holds it. */
static void pad_and_substitutes(void **state)
{
	static uint64_t part_of[N_MAX];

	for (unsigned s = 0; s < N_SPECS; s++) {
		for (uint64_t n = 1; n < 200; n += 13) {
			uint64_t starts[SHARDS + 1], parts = specs[s].parts;
			const struct order_shards shards = shards_of(n, starts);
			uint64_t whole = n < parts ? n : n / parts * parts;
			struct order o;

			assert_int_equal(order_init(&o, &specs[s], &shards, 1), 0);
			for (uint64_t t = 0; t < n; t++)
				part_of[order_sample(&o, t)] = t % parts;
			for (uint64_t t = n; t < 3 * n; t++)
				assert_int_equal(order_sample(&o, t), order_sample(&o, t % whole));
			for (uint64_t t = 0; t < 2 * n; t++)
				for (unsigned a = 1; a <= ORDER_ATTEMPTS; a++)
					assert_int_equal(part_of[order_substitute(&o, t, a)],
							 (t < n ? t : t % whole) % parts);
			order_deinit(&o);
		}
	}
}

static void shard_of(void **state)
{
	const uint64_t starts[] = {0, 0, 3, 3, 3, 5, 5};
	const struct order_shards shards = {starts, 6};
	const uint32_t wanted[] = {1, 1, 1, 4, 4};

	for (uint64_t i = 0; i < 5; i++) {
		uint64_t in_shard;

		assert_int_equal(order_shard_of(&shards, i, &in_shard), wanted[i]);
		assert_int_equal(starts[wanted[i]] + in_shard, i);
	}
}

static double ns_each(const struct order *o, uint64_t n)
{
	enum { TURNS = 1 << 19 };
	struct timespec from, to;
	volatile uint64_t sink = 0;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (uint64_t i = 0; i < TURNS; i++)
		sink = sink + order_sample(o, i * (n / TURNS));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
	       TURNS;
}

static void speed(void **state)
{
	enum { N_SHARDS = 1282 };
	const uint64_t n = 1000000000;
	const struct order_spec timed[] = {
		{SHUFFLE_NONE, 1, 0, 1},
		{SHUFFLE_FULL, 1, 0, 1},
		{SHUFFLE_BLOCK, 1, 4096, 64},
	};
	const char *const names[] = {"none", "full", "block, window 4096, parts 64"};
	uint64_t starts[N_SHARDS + 1];
	const struct order_shards shards = {starts, N_SHARDS};

	for (uint64_t i = 0; i <= N_SHARDS; i++)
		starts[i] = n * i / N_SHARDS;
	for (int i = 0; i < 3; i++) {
		struct order o;
		double best = 1e9;

		order_init(&o, &timed[i], &shards, 0);
		for (int k = 0; k < 3; k++) {
			double ns = ns_each(&o, n);

			best = ns < best ? ns : best;
		}
		printf("order_sample, N = 10^9 in %d shards, %s: %.1f ns\n", N_SHARDS, names[i],
		       best);
		order_deinit(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bijection),
		cmocka_unit_test(permutations),
		cmocka_unit_test(really_shuffled),
		cmocka_unit_test(parts_keep_to_their_run),
		cmocka_unit_test(pad_and_substitutes),
		cmocka_unit_test(shard_of),
		cmocka_unit_test(speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
