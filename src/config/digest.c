/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Keys of a map count in any order, so sums; items of a list in theirs, so chains. How a scalar is quoted
 * does not count, nor where anything stands.
 */
#include "config/digest.h"

#include "base/hash.h"

#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
	const uint64_t both[2] = {a, b};

	return hash_bytes(both, sizeof(both));
}

uint64_t tree_digest(const struct node *n)
{
	uint64_t sum = (uint64_t)n->kind;

	if (n->kind == NODE_SCALAR)
		return mix(sum, hash_text(n->text));
	for (const struct node *child = n->first; child; child = child->next)
		if (n->kind == NODE_MAP)
			sum += mix(hash_text(child->key->text), tree_digest(child));
		else
			sum = mix(sum, tree_digest(child));
	return sum;
}
