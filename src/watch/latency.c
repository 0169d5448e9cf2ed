/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "watch/latency.h"

static const struct {
	uint64_t ns;
	const char *text;
} ends[LATENCY_BUCKETS] = {
	{100000, "0.0001"},    {200000, "0.0002"},    {500000, "0.0005"},     {1000000, "0.001"},
	{2000000, "0.002"},    {5000000, "0.005"},    {10000000, "0.01"},     {20000000, "0.02"},
	{50000000, "0.05"},    {100000000, "0.1"},    {200000000, "0.2"},     {500000000, "0.5"},
	{1000000000, "1"},     {5000000000, "5"},     {30000000000, "30"},    {UINT64_MAX, "+Inf"},
};

void latency_add(struct latency *l, uint64_t ns)
{
	unsigned i = 0;

	while (ns > ends[i].ns)
		i++;
	l->counts[i]++;
	l->sum_ns += ns;
}

const char *latency_end(unsigned i)
{
	return ends[i].text;
}
