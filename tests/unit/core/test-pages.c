/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Pages against a table of owners, one byte a page: nothing twice, nothing lost, a run when there is one. */
#include "core/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 1000, RUNS_MAX = ROOM };

/* What the zone should look like: who owns each page, 0 = nobody. */
struct twin {
	uint16_t owner[ROOM];
	uint32_t at[RUNS_MAX], n[RUNS_MAX];
	unsigned n_runs;
	uint16_t last_owner;
	uint64_t random;
};

static uint32_t below(struct twin *t, uint32_t n)
{
	t->random = t->random * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(t->random >> 33) % n;
}

static uint32_t longest_hole(const struct twin *t, uint32_t first, uint32_t n_pages)
{
	uint32_t longest = 0, run = 0;

	for (uint32_t i = first; i < first + n_pages; i++) {
		run = t->owner[i] ? 0 : run + 1;
		longest = run > longest ? run : longest;
	}
	return longest;
}

static uint32_t count_free(const struct twin *t, uint32_t first, uint32_t n_pages)
{
	uint32_t n = 0;

	for (uint32_t i = first; i < first + n_pages; i++)
		n += t->owner[i] == 0;
	return n;
}

static void get(struct pages *p, struct twin *t, uint32_t n)
{
	uint32_t hole = longest_hole(t, p->first, p->n_pages), at = pages_get(p, n);

	if (n > hole) {
		assert_int_equal(at, PAGES_NONE);
		return;
	}
	assert_int_not_equal(at, PAGES_NONE);
	assert_in_range(at, p->first, p->first + p->n_pages - n);
	t->last_owner++;
	for (uint32_t i = at; i < at + n; i++) {
		assert_int_equal(t->owner[i], 0);
		t->owner[i] = t->last_owner;
	}
	t->at[t->n_runs] = at;
	t->n[t->n_runs++] = n;
}

static void put(struct pages *p, struct twin *t)
{
	unsigned which = below(t, t->n_runs);

	pages_put(p, t->at[which], t->n[which]);
	memset(&t->owner[t->at[which]], 0, t->n[which] * sizeof(t->owner[0]));
	t->at[which] = t->at[--t->n_runs];
	t->n[which] = t->n[t->n_runs];
}

static void compare(const struct pages *p, const struct twin *t)
{
	assert_int_equal(p->n_free, count_free(t, p->first, p->n_pages));
	for (uint32_t i = p->first; i < p->first + p->n_pages; i++)
		assert_int_equal(p->used[i / 64] >> (i % 64) & 1, t->owner[i] != 0);
}

/* Two zones that share a word of the bitmap, driven by chance and compared after every step. */
static void two_zones(uint32_t split, uint32_t n_max, uint64_t seed)
{
	static uint64_t words[ROOM / 64 + 1];
	static struct twin twins[2];
	struct pages zones[2];

	memset(words, 0, sizeof(words));
	memset(twins, 0, sizeof(twins));
	pages_init(&zones[0], words, 0, split);
	pages_init(&zones[1], words, split, ROOM - split);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned z = i & 1;
		struct twin *t = &twins[z];

		t->random ^= seed;
		if (t->n_runs == 0 || below(t, 9) < (i / 500 % 2 ? 6 : 4))
			get(&zones[z], t, 1 + below(t, n_max));
		else
			put(&zones[z], t);
		compare(&zones[0], &twins[0]);
		compare(&zones[1], &twins[1]);
	}
}

static void test_against_table(void **state)
{
	static const uint32_t splits[] = {1, 20, 63, 64, 65, 500, 936, 999};

	for (unsigned i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		two_zones(splits[i], 1, i);
		two_zones(splits[i], 12, i);
		two_zones(splits[i], 200, i);
	}
}

static void test_whole_zone(void **state)
{
	uint64_t words[4] = {0};
	struct pages p;

	pages_init(&p, words, 10, 200);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pages_get(&p, 200), 10);
		assert_int_equal(pages_get(&p, 1), PAGES_NONE);
		pages_put(&p, 10, 200);
	}
	assert_int_equal(pages_get(&p, 201), PAGES_NONE);
	assert_int_equal(pages_get(&p, UINT32_MAX), PAGES_NONE);
	assert_int_equal(p.n_free, 200);
}

/* The search goes round: a run that begins before the place where the last one ended is found. */
static void test_round(void **state)
{
	uint64_t words[2] = {0};
	struct pages p;

	pages_init(&p, words, 0, 100);
	assert_int_equal(pages_get(&p, 60), 0);
	assert_int_equal(pages_get(&p, 20), 60);
	pages_put(&p, 0, 60);
	assert_int_equal(pages_get(&p, 30), 0);
	assert_int_equal(pages_get(&p, 30), 30);
	assert_int_equal(pages_get(&p, 20), 80);
	assert_int_equal(pages_get(&p, 1), PAGES_NONE);
}

/* It goes on where the last one ended, whatever has become free before that. */
static void test_next(void **state)
{
	uint64_t words[2] = {0};
	struct pages p;

	pages_init(&p, words, 0, 100);
	assert_int_equal(pages_get(&p, 10), 0);
	assert_int_equal(pages_get(&p, 10), 10);
	pages_put(&p, 0, 10);
	assert_int_equal(pages_get(&p, 10), 20);
	assert_int_equal(pages_get(&p, 70), 30);
	assert_int_equal(pages_get(&p, 10), 0);
}

/* In an empty zone it begins at the front: what is asked for next has all the rest behind it. */
static void test_empty(void **state)
{
	uint64_t words[1] = {0};
	struct pages p;

	pages_init(&p, words, 0, 10);
	assert_int_equal(pages_get(&p, 5), 0);
	pages_put(&p, 0, 5);
	assert_int_equal(pages_get(&p, 3), 0);
	assert_int_equal(pages_get(&p, 7), 3);
}

/* Full words are skipped whole; the run right after them and across them is right. */
static void test_full_words(void **state)
{
	uint64_t words[6] = {0};
	struct pages p;

	pages_init(&p, words, 0, 384);
	assert_int_equal(pages_get(&p, 256), 0);
	assert_int_equal(pages_get(&p, 100), 256);
	pages_put(&p, 256, 100);
	p.next = 0;
	assert_int_equal(pages_get(&p, 128), 256);
	pages_put(&p, 200, 56);
	p.next = 0;
	assert_int_equal(pages_get(&p, 57), PAGES_NONE);
	assert_int_equal(pages_get(&p, 56), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_table),
		cmocka_unit_test(test_whole_zone),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_full_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
