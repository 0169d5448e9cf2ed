/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Sorting against libc's, and what goes into one request against the definition of it, one candidate after the other. */
#include "core/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 300, ROUNDS = 2000 };

static uint64_t random_state = 1;

static uint32_t below(uint32_t n)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % n;
}

/* Few values of each, so that each comes up as what decides. */
static uint32_t make(struct candidate *c)
{
	const uint32_t n = below(MOST);

	for (uint32_t i = 0; i < n; i++) {
		c[i] = (struct candidate){.feed = below(2), .shard = below(3), .offset = 512 * below(200), .extent = i};
		c[i].end = c[i].offset + 1 + below(20000);
	}
	for (uint32_t i = n; i > 1; i--) {
		const uint32_t k = below(i);
		const struct candidate swapped = c[k];

		c[k] = c[i - 1];
		c[i - 1] = swapped;
	}
	return n;
}

static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	const uint64_t left[] = {x->feed, x->shard, x->offset, x->extent}, right[] = {y->feed, y->shard, y->offset, y->extent};

	for (unsigned i = 0; i < 4; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

static void sorts(void **state)
{
	struct candidate ours[MOST], theirs[MOST];

	for (unsigned round = 0; round < ROUNDS; round++) {
		const uint32_t n = make(ours);

		memcpy(theirs, ours, sizeof(ours));
		candidates_sort(ours, n);
		qsort(theirs, n, sizeof(theirs[0]), compare);
		for (uint32_t i = 0; i < n; i++)
			assert_memory_equal(&ours[i], &theirs[i], sizeof(ours[i]));
	}
}

/* One shard, at most 16 KiB between what is wanted, and no longer than read_max from the page where it starts. */
static uint32_t merge(const struct candidate *c, uint32_t n, uint64_t read_max, uint64_t *ret_end)
{
	uint64_t end = c[0].end;
	uint32_t k;

	for (k = 1; k < n; k++) {
		const uint64_t longer = c[k].end > end ? c[k].end : end;

		if (c[k].feed != c[0].feed || c[k].shard != c[0].shard)
			break;
		if (c[k].offset > end && c[k].offset - end > 16384)
			break;
		if (longer - c[0].offset + c[0].offset % 4096 > read_max)
			break;
		end = longer;
	}
	*ret_end = end;
	return k;
}

static void merges(void **state)
{
	struct candidate c[MOST];

	for (unsigned round = 0; round < ROUNDS; round++) {
		const uint32_t n = make(c), read_max = 4096U << below(6);

		candidates_sort(c, n);
		for (uint32_t i = 0, k; i < n; i += k) {
			uint64_t end, expected;
			const uint32_t n_expected = merge(&c[i], n - i, read_max, &expected);

			k = candidates_merge(&c[i], n - i, read_max, &end);
			assert_int_equal(k, n_expected);
			assert_int_equal(end, expected);
			assert_int_equal(candidates_end(&c[i], k), expected);
		}
	}
}

/* Exactly at the edges. */
static void merges_edges(void **state)
{
	struct candidate c[2] = {{.offset = 4096, .end = 8192}, {.offset = 8192 + 16384, .end = 8192 + 16384 + 1}};
	uint64_t end;

	assert_int_equal(candidates_merge(c, 2, 1 << 20, &end), 2);
	assert_int_equal(end, 8192 + 16384 + 1);
	c[1].offset++;
	assert_int_equal(candidates_merge(c, 2, 1 << 20, &end), 1);
	assert_int_equal(end, 8192);
	c[1] = (struct candidate){.offset = 8192, .end = 12288};
	assert_int_equal(candidates_merge(c, 2, 8192, &end), 2);
	c[1].end++;
	assert_int_equal(candidates_merge(c, 2, 8192, &end), 1);
	assert_int_equal(candidates_end(c, 2), 12289);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts),
		cmocka_unit_test(merges),
		cmocka_unit_test(merges_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
