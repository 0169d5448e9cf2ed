/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A pass is dealt out completely: all ranks' batches together are the positions from start on, once
 * each, up to where `last` says; every rank gets its own positions in ascending order, batch by
 * batch within its global batch; the token after any batch goes on where the next batch starts.
 */
#include "order/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { END_MAX = 600 };

static const struct order_spec plain = {SHUFFLE_NONE, 0, 0, 1};

/* Where the pass must end, from the words of proto/order.md. */
static uint64_t end_of(const struct pass *p)
{
	uint64_t size = p->batch * p->world, end = p->start;

	if (p->last == LAST_SHORT)
		return p->n_samples;
	while (end + size <= p->n_samples)
		end += size;
	if (p->last == LAST_PAD && end < p->n_samples)
		end += size;
	return end;
}

/* One global batch: which of its positions each rank holds. */
static void deal(const struct pass *p, uint64_t j, unsigned char seen[END_MAX])
{
	uint64_t size = p->batch * p->world, from = p->start + j * size;

	for (uint64_t rank = 0; rank < p->world; rank++) {
		uint64_t n = pass_batch_length(p, j, rank), before = 0;

		assert_in_range(n, p->last == LAST_SHORT ? 0 : p->batch, p->batch);
		for (uint64_t i = 0; i < n; i++) {
			uint64_t t = pass_position(p, j, rank, i);

			assert_in_range(t, from, from + size - 1);
			assert_int_equal(t % p->world, rank);
			assert_true(i == 0 || t > before);
			assert_int_equal(seen[t]++, 0);
			before = t;
		}
	}
}

static void dealt_out(const struct pass *p)
{
	unsigned char seen[END_MAX] = {0};
	uint64_t end = end_of(p), n = pass_n_batches(p);

	for (uint64_t j = 0; j < n; j++) {
		uint64_t epoch, position;

		deal(p, j, seen);
		pass_after(p, 8, j, &epoch, &position);
		assert_int_equal(epoch, j + 1 < n ? 8 : 9);
		assert_int_equal(position,
				 j + 1 < n ? p->start + (j + 1) * p->batch * p->world : 0);
	}
	for (uint64_t t = 0; t < END_MAX; t++)
		assert_int_equal(seen[t], t >= p->start && t < end);
	for (uint64_t rank = 0; rank < p->world; rank++)
		assert_int_equal(pass_batch_length(p, n, rank), 0);
}

static void all_ranks_make_the_pass(void **state)
{
	static const uint64_t batches[] = {1, 2, 5, 16, 40};
	unsigned n_checked = 0;

	for (uint64_t n = 1; n < 120; n += n < 20 ? 1 : 7)
		for (uint64_t start = 0; start < n; start += 1 + n / 12)
			for (uint64_t world = 1; world <= 8; world += world < 3 ? 1 : 5)
				for (unsigned b = 0; b < 5; b++)
					for (enum last last = LAST_DROP; last <= LAST_SHORT;
					     last++) {
						struct pass p = {n, start, batches[b], world, last};
						struct reason why = {""};

						if (last == LAST_DROP && n < batches[b] * world) {
							assert_int_equal(
								order_check(&plain, &p, &why),
								ORDER_E_REFUSED);
							continue;
						}
						assert_int_equal(order_check(&plain, &p, &why), 0);
						dealt_out(&p);
						n_checked++;
					}
	assert_in_range(n_checked, 2000, 1000000);
}

/* With `global`, another number of ranks gives the same global batches. */
static void same_global_batches(void **state)
{
	for (uint64_t start = 0; start < 100; start += 7) {
		unsigned char wanted[END_MAX] = {0};

		deal(&(struct pass){100, start, 12, 1, LAST_SHORT}, 0, wanted);
		for (uint64_t world = 2; world <= 4; world++) {
			unsigned char seen[END_MAX] = {0};

			deal(&(struct pass){100, start, 12 / world, world, LAST_SHORT}, 0, seen);
			assert_memory_equal(seen, wanted, sizeof(seen));
		}
	}
}

static void refused(const struct order_spec *spec, struct pass p, const char *sentence)
{
	struct reason why = {""};

	assert_int_equal(order_check(spec, &p, &why), ORDER_E_REFUSED);
	if (!strstr(why.text, sentence))
		fail_msg("\"%s\" does not say \"%s\"", why.text, sentence);
}

static void refusals(void **state)
{
	const struct order_spec no_window = {SHUFFLE_BLOCK, 0, 0, 1},
				no_parts = {SHUFFLE_BLOCK, 0, 8, 0},
				odd_parts = {SHUFFLE_FULL, 0, 0, 2};
	const struct pass good = {10, 0, 2, 2, LAST_DROP};
	const uint64_t most = UINT64_MAX, half = UINT64_C(1) << 32;

	refused(&plain, (struct pass){0, 0, 2, 2, LAST_PAD}, "no samples");
	refused(&no_window, good, "order.window is 0");
	refused(&no_parts, good, "order.parts is 0");
	refused(&odd_parts, good, "belong to shuffle: block");
	refused(&plain, (struct pass){10, 0, 0, 2, LAST_PAD}, "the batch size is 0");
	refused(&plain, (struct pass){10, 0, 2, 0, LAST_PAD}, "the number of ranks is 0");
	refused(&plain, (struct pass){10, 10, 2, 2, LAST_PAD}, "position 10 is past the end");
	refused(&plain, (struct pass){10, 0, 4, 3, LAST_DROP},
		"10 samples are fewer than 3 ranks x 4");
	refused(&plain, (struct pass){10, 0, half, half, LAST_DROP}, "fewer than");
	refused(&plain, (struct pass){10, 0, half, half, LAST_PAD}, "past position");
	refused(&plain, (struct pass){most, 0, 2, 1, LAST_PAD}, "past position");
	refused(&plain, (struct pass){10, 9, most, 1, LAST_SHORT}, "past position");
}

static void edges(void **state)
{
	const struct pass empty = {10, 9, 2, 2, LAST_DROP},
			  long_one = {UINT64_MAX, 0, 5, 3, LAST_PAD};
	struct reason why = {""};

	assert_int_equal(order_check(&plain, &empty, &why), 0);
	assert_int_equal(pass_n_batches(&empty), 0);
	/* 2^64 - 1 is a multiple of 15. */
	assert_int_equal(order_check(&plain, &long_one, &why), 0);
	assert_int_equal(pass_n_batches(&long_one), UINT64_MAX / 15);
	assert_int_equal(pass_position(&long_one, UINT64_MAX / 15 - 1, 2, 4), UINT64_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_ranks_make_the_pass),
		cmocka_unit_test(same_global_batches),
		cmocka_unit_test(refusals),
		cmocka_unit_test(edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
