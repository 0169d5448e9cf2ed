/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The golden values of proto/order.md, spelt out, and the larger table golden.txt, which the second
 * implementation wrote (make_golden.py): lines of `question => answer`. */
#include "answer.h"

#include "base/draw.h"
#include "order/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void page(void **state)
{
	const uint64_t starts[] = {0, 100, 200, 237};
	const struct order_shards shards = {starts, 3};
	const struct order_spec spec = {SHUFFLE_BLOCK, 7, 64, 4};
	const uint32_t shard[] = {0, 0, 1, 2, 0};
	const uint64_t sample[] = {10, 83, 54, 23, 8};
	const uint64_t small[] = {244, 831, 491, 467}, large[] = {631387332, 159540936, 275398713};
	uint64_t key = draw_key(7, 3, DRAW_SAMPLES, NULL, 0);
	struct order o;

	for (uint64_t x = 0; x < 4; x++)
		assert_int_equal(order_perm(1000, key, x), small[x]);
	for (uint64_t x = 0; x < 3; x++)
		assert_int_equal(order_perm(1000000000, key, x), large[x]);
	assert_int_equal(order_init(&o, &spec, &shards, 3), 0);
	for (uint64_t t = 0; t < 5; t++) {
		uint64_t in_shard;

		assert_int_equal(order_shard_of(&shards, order_sample(&o, t), &in_shard), shard[t]);
		assert_int_equal(in_shard, sample[t]);
	}
	order_deinit(&o);
}

static void page_of_mixes(void **state)
{
	static const double weights[3] = {0.7, 0.2, 0.1}, two[2] = {3, 1};
	const uint64_t first[] = {253, 1111, 327, 378, 1115}, all[] = {285, 1189, 430, 1523, 1542};
	const size_t first_shards[] = {0, 2, 3};
	uint32_t shares[3];

	shares_make(weights, 3, shares);
	assert_true(shares[0] == 717 && shares[1] == 205 && shares[2] == 102);
	shares_make(two, 2, shares);
	for (unsigned i = 0; i < 2; i++) {
		const uint64_t starts[] = {0, 700, 1500, i ? 1560 : 2100};
		const struct order_shards shards = {starts, 3};
		const struct order_mix mix = {i ? UNTIL_ALL : UNTIL_FIRST, 2, shares, first_shards};
		const struct order_spec spec = {SHUFFLE_FULL, 7, 0, 1, &mix};
		struct order o;

		assert_int_equal(order_init(&o, &spec, &shards, 3), 0);
		assert_int_equal(o.n_samples, i ? 2048 : 1024);
		for (uint64_t t = 0; t < 5; t++)
			assert_int_equal(order_sample(&o, i ? 952 + t : t), i ? all[t] : first[t]);
		order_deinit(&o);
	}
}

static void table(void **state)
{
	static char line[QUESTION_MAX], text[ANSWER_MAX];
	FILE *file = fopen(GOLDEN_FILE, "re");
	unsigned n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		char *wanted = strstr(line, " => ");

		if (line[0] == '#')
			continue;
		assert_non_null(wanted);
		*wanted = 0;
		wanted += 4;
		wanted[strcspn(wanted, "\n")] = 0;
		assert_int_equal(answer(line, text), 0);
		assert_string_equal(text, wanted);
		n++;
	}
	fclose(file);
	assert_in_range(n, 500, UINT32_MAX);
	printf("%u golden lines\n", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page),
		cmocka_unit_test(page_of_mixes),
		cmocka_unit_test(table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
