/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* nodes.c against counting: position after position, whose part is it and which machine takes it. */
#include "serve/nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PARTS_MOST = 24, WORLD_MOST = 12, TOTAL = 27720 /* every number up to 12 divides it */ };

/* Parts met by the first machine, and whether another one meets one of them. */
static unsigned count_parts(unsigned parts, unsigned world, unsigned local, bool *ret_shared)
{
	bool ours[PARTS_MOST] = {false}, theirs[PARTS_MOST] = {false};
	unsigned n = 0;

	for (unsigned t = 0; t < parts * world; t++)
		*(t % world < local ? &ours[t % parts] : &theirs[t % parts]) = true;
	*ret_shared = false;
	for (unsigned p = 0; p < parts; p++) {
		n += ours[p];
		*ret_shared |= ours[p] && theirs[p];
	}
	return n;
}

static void counted(void **state)
{
	for (unsigned parts = 1; parts <= PARTS_MOST; parts++) {
		const struct order_spec order = {.shuffle = SHUFFLE_BLOCK, .window = 1, .parts = parts};

		for (unsigned world = 1; world <= WORLD_MOST; world++) {
			for (unsigned local = 1; local <= world; local++) {
				struct node_reads reads = {0};
				bool is_shared;
				unsigned n = count_parts(parts, world, local, &is_shared);

				if (world % local)
					continue;
				assert_int_equal(nodes_share_parts(&order, world, local, TOTAL, &reads), is_shared);
				if (!is_shared)
					continue;
				assert_int_equal(reads.n_parts, n);
				assert_int_equal(reads.own_bytes, TOTAL * local / world);
				assert_in_range(reads.most_bytes, (uint64_t)TOTAL * n / parts - 1, TOTAL * n / parts);
			}
		}
	}
}

/* full reads single samples, none and one machine alone everything: nothing is to be said. */
static void nothing_to_say(void **state)
{
	struct node_reads reads;

	assert_false(nodes_share_parts(&(struct order_spec){.shuffle = SHUFFLE_FULL, .parts = 1}, 4, 1, TOTAL, &reads));
	assert_false(nodes_share_parts(&(struct order_spec){.shuffle = SHUFFLE_NONE, .parts = 1}, 4, 1, TOTAL, &reads));
	assert_false(nodes_share_parts(&(struct order_spec){.shuffle = SHUFFLE_BLOCK, .parts = 1}, 4, 4, TOTAL, &reads));
}

static void sentence(void **state)
{
	const struct order_spec order = {.shuffle = SHUFFLE_BLOCK, .window = 1, .parts = 8};
	struct node_reads reads;
	char text[400];
	int n;

	assert_true(nodes_share_parts(&order, 6, 2, (uint64_t)3 << 30, &reads));
	n = nodes_sentence(&order, 6, 2, &reads, text, sizeof(text));
	assert_in_range(n, 1, sizeof(text) - 1);
	assert_string_equal(text, "world size 6 does not divide order.parts 8, so a machine with 2 of the ranks takes samples "
				  "from 8 of 8 parts and may read 3.0 GiB an epoch for its own 1.0 GiB; a multiple of 6 as "
				  "order.parts, which makes another order, keeps each to its own");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted),
		cmocka_unit_test(nothing_to_say),
		cmocka_unit_test(sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
