/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Sums of distances fit into doubles exactly up to 2^53, and past that their last bits do not matter. */
#include "order/quality.h"

enum { SEED = 2 };

static double distance(uint64_t a, uint64_t b)
{
	return (double)(a > b ? a - b : b - a);
}

/* Chances that two different samples lie in one shard. */
static double expect_same_shard(const struct order *o)
{
	const double n = (double)o->n_samples;
	double sum = 0;

	for (size_t i = 0; i < o->shards.n_shards; i++) {
		const double k = (double)(o->shards.starts[i + 1] - o->shards.starts[i]);

		sum += k / n * ((k - 1) / (n - 1));
	}
	return sum;
}

void order_quality(const struct order *o, uint64_t n_most, struct order_quality *ret)
{
	const uint64_t n = o->n_samples, n_looked = n < n_most ? n : n_most;
	const uint64_t first = o->shards.starts[0];
	const double real = (double)n;
	double moved = 0, apart = 0, n_same = 0, n_pairs = 0;

	*ret = (struct order_quality){1, 1, 1, 1, n <= n_most};
	if (n < 2)
		return;
	for (uint64_t i = 0; i < n_looked; i++) {
		const uint64_t t = ret->is_exact ? i : order_perm(n, SEED, i), sample = order_sample(o, t);
		uint64_t next, in_shard;

		moved += distance(sample - first, t);
		if (t + 1 == n)
			continue;
		next = order_sample(o, t + 1);
		apart += distance(sample, next);
		n_same += order_shard_of(&o->shards, sample, &in_shard) == order_shard_of(&o->shards, next, &in_shard);
		n_pairs++;
	}
	ret->displacement = moved / (double)n_looked / ((real - 1 / real) / 3);
	ret->adjacency = apart / n_pairs / ((real + 1) / 3);
	ret->same_shard = n_same / n_pairs;
	ret->same_shard_expected = expect_same_shard(o);
}
