/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Rank r has the positions t with t mod R = r, part p those with t mod P = p. With g the greatest common
 * divisor of the two, r meets the parts with p mod g = r mod g: P / g of them, and takes one of R / g samples there.
 * A machine whose ranks are neighbours meets as many such classes as it has ranks, all g at most.
 */
#include "serve/nodes.h"

#include "batch/plan.h"

#include <stdio.h>

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

bool nodes_share_parts(const struct order_spec *order, uint64_t world, uint64_t local_world, uint64_t total_bytes,
		       struct node_reads *ret)
{
	uint64_t classes = common_divisor(order->parts, world), met;

	if (order->shuffle != SHUFFLE_BLOCK || local_world >= world || classes == world)
		return false;
	met = local_world < classes ? local_world : classes;
	ret->n_parts = order->parts / classes * met;
	ret->own_bytes = (uint64_t)((double)total_bytes * (double)local_world / (double)world);
	ret->most_bytes = (uint64_t)((double)total_bytes * (double)met / (double)classes);
	return true;
}

int nodes_sentence(const struct order_spec *order, uint64_t world, uint64_t local_world,
		   const struct node_reads *reads, char *text, size_t n_text)
{
	char own[32], most[32];

	plan_bytes_print(reads->own_bytes, own, sizeof(own));
	plan_bytes_print(reads->most_bytes, most, sizeof(most));
	return snprintf(text, n_text, "world size %llu does not divide order.parts %llu, so a machine with %llu of the "
			"ranks takes samples from %llu of %llu parts and may read %s an epoch for its own %s; a "
			"multiple of %llu as order.parts, which makes another order, keeps each to its own",
			(unsigned long long)world, (unsigned long long)order->parts, (unsigned long long)local_world,
			(unsigned long long)reads->n_parts, (unsigned long long)order->parts, most, own,
			(unsigned long long)world);
}
