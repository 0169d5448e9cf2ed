/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Largest remainders; doubles are computed in the order that proto/order.md writes. */
#include "base/shares.h"

#include <assert.h>
#include <math.h>

/* Which of them has the largest fraction, the first of equals, among those that were not given one yet. */
static size_t largest_fraction(const double *fractions, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (fractions[i] > fractions[best])
			best = i;
	return best;
}

void shares_make(const double *weights, size_t n, uint32_t *ret_shares)
{
	double fractions[SHARES_ALL], sum = 0;
	uint32_t n_given = 0;

	assert(n >= 1 && n <= SHARES_ALL);
	for (size_t i = 0; i < n; i++)
		sum += weights[i];
	for (size_t i = 0; i < n; i++) {
		const double quota = SHARES_ALL * (weights[i] / sum), whole = floor(quota);

		ret_shares[i] = (uint32_t)whole;
		fractions[i] = quota - whole;
		n_given += ret_shares[i];
	}
	for (; n_given < SHARES_ALL; n_given++) {
		const size_t i = largest_fraction(fractions, n);

		ret_shares[i]++;
		fractions[i] = -1;
	}
}
