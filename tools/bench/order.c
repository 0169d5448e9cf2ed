/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a position of the order costs, and the order itself for statistics.
 *
 * bench-order [ROUNDS]: 10^9 samples in 100,000 shards that exist as a table alone. CPU nanoseconds
 * of the thread per position, one after the other as the core asks and at random; what is compared
 * takes turns within each round, every second round backwards. block is split by an order of the
 * same samples in one shard, where nothing is looked up: the difference, round by round, is the
 * look-up. After that what order_init allocated, and what order_bytes says.
 *
 * bench-order positions SHUFFLE WINDOW PARTS EPOCH SHARDS PER_SHARD: the sample at every position,
 * as 64-bit numbers of this machine on stdout. One thread.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "order/order.h"

enum {
	MOST_ROUNDS = 99,
	POSITIONS = 1 << 19,
	SEED = 42,
	WINDOW = 4096,
	PARTS = 64,
	SHARDS = 100000
};

static const uint64_t billion = UINT64_C(1000000000), million = 1000000;

enum way { SEQUENTIAL, RANDOM };

struct row {
	const char *name;
	const struct order *order;
	enum way way;
	bool is_shard_of; /* sample -> shard instead */
	double ns[MOST_ROUNDS];
};

static uint64_t draw(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Shards of different length, n samples in all; NULL without memory. */
static uint64_t *make_starts(uint64_t n, size_t n_shards)
{
	uint64_t *starts = calloc(n_shards + 1, sizeof(*starts));
	uint64_t x = 88172645463325252u, each = n / n_shards;

	if (!starts)
		return NULL;
	for (size_t i = 1; i < n_shards; i++)
		starts[i] = i * each + draw(&x) % (each / 2 + 1);
	starts[n_shards] = n;
	return starts;
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The same positions for every row of a round; the sum keeps the compiler from leaving the work
 * out. */
static double measure(const struct row *row, uint64_t seed, uint64_t *ret_sum)
{
	const struct order *o = row->order;
	uint64_t x = seed, first = draw(&x) % (o->n_samples - POSITIONS), in_shard;
	double began = cpu_ns();

	for (uint64_t i = 0; i < POSITIONS; i++) {
		uint64_t t = row->way == RANDOM ? draw(&x) % o->n_samples : first + i;

		if (row->is_shard_of)
			*ret_sum += order_shard_of(&o->shards, t, &in_shard) + in_shard;
		else
			*ret_sum += order_sample(o, t);
	}
	return (cpu_ns() - began) / POSITIONS;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void tell(const char *name, double *ns, unsigned n_rounds, const char *target)
{
	qsort(ns, n_rounds, sizeof(*ns), by_size);
	printf("%-44s %8.1f  (%.1f-%.1f)  %s\n", name, ns[n_rounds / 2], ns[0], ns[n_rounds - 1],
	       target);
}

/* Bytes that order_init takes from the heap; -1 when it fails. */
static int64_t init_counted(struct order *o, enum shuffle shuffle,
			    const struct order_shards *shards)
{
	const bool is_block = shuffle == SHUFFLE_BLOCK;
	const struct order_spec spec = {shuffle, SEED, is_block ? WINDOW : 0, is_block ? PARTS : 1};
	struct mallinfo2 before = mallinfo2(), after;

	if (order_init(o, &spec, shards, 0) < 0)
		return -1;
	after = mallinfo2();
	return (int64_t)(after.uordblks + after.hblkhd) -
	       (int64_t)(before.uordblks + before.hblkhd);
}

static int tell_memory(const uint64_t *of_million, const uint64_t *of_billion)
{
	static const struct {
		const char *name;
		enum shuffle shuffle;
	} orders[] = {{"full", SHUFFLE_FULL}, {"block", SHUFFLE_BLOCK}};
	const struct order_shards shards[] = {{of_million, SHARDS}, {of_billion, SHARDS}};
	int r = 0;

	printf("\n%-12s %-12s %16s %16s\n", "order", "samples", "order_bytes", "taken from heap");
	for (size_t i = 0; i < 2; i++) {
		size_t said[2];

		for (size_t k = 0; k < 2; k++) {
			struct order o;
			int64_t taken = init_counted(&o, orders[i].shuffle, &shards[k]);

			if (taken < 0)
				return -1;
			said[k] = order_bytes(&o.spec, &shards[k]);
			printf("%-12s %-12" PRIu64 " %16zu %16" PRId64 "\n", orders[i].name,
			       o.n_samples, said[k], taken);
			if (taken < (int64_t)said[k] || taken > (int64_t)said[k] + 16384)
				r = -1;
			order_deinit(&o);
		}
		if (said[0] != said[1])
			r = -1;
	}
	printf("%s\n", r ? "NOT constant" : "the same for 10^6 and for 10^9 samples");
	return r;
}

static void run_rounds(struct row *rows, size_t n_rows, unsigned n_rounds)
{
	uint64_t sum = 0;

	for (unsigned round = 0; round < n_rounds; round++)
		for (size_t i = 0; i < n_rows; i++) {
			struct row *row = &rows[round % 2 ? n_rows - 1 - i : i];

			row->ns[round] = measure(row, 1 + round, &sum);
		}
	printf("CPU ns per position, %u rounds of %u positions: median (least-most); sum %" PRIx64
	       "\n",
	       n_rounds, (unsigned)POSITIONS, sum);
}

static int bench(unsigned n_rounds)
{
	static const uint64_t half[] = {0, (UINT64_C(1) << 29) + 1};
	const uint64_t one[] = {0, billion};
	uint64_t *starts = make_starts(billion, SHARDS), *few = make_starts(million, SHARDS);
	struct order full, worst, alone, block;
	int r = -1;

	if (!starts || !few ||
	    init_counted(&full, SHUFFLE_FULL, &(struct order_shards){starts, SHARDS}) < 0 ||
	    init_counted(&worst, SHUFFLE_FULL, &(struct order_shards){half, 1}) < 0 ||
	    init_counted(&alone, SHUFFLE_BLOCK, &(struct order_shards){one, 1}) < 0 ||
	    init_counted(&block, SHUFFLE_BLOCK, &(struct order_shards){starts, SHARDS}) < 0) {
		fprintf(stderr, "bench-order: no memory\n");
	} else {
		struct row rows[] = {
			{.name = "full, 10^9, one after the other", .order = &full},
			{.name = "full, 10^9, at random", .order = &full, .way = RANDOM},
			{.name = "full, 2^29 + 1 (the most turns), at random",
			 .order = &worst,
			 .way = RANDOM},
			{.name = "block, permutation, one after the other", .order = &alone},
			{.name = "block, whole, one after the other", .order = &block},
			{.name = "block, permutation, at random", .order = &alone, .way = RANDOM},
			{.name = "block, whole, at random", .order = &block, .way = RANDOM},
			{.name = "sample -> shard, at random",
			 .order = &block,
			 .way = RANDOM,
			 .is_shard_of = true},
		};
		static const char *targets[] = {"< 500", "< 500",  "< 500", "< 1000",
						"",	 "< 1000", "",	    ""};
		double look_up[2][MOST_ROUNDS];

		run_rounds(rows, 8, n_rounds);
		for (unsigned i = 0; i < n_rounds; i++) {
			look_up[0][i] = rows[4].ns[i] - rows[3].ns[i];
			look_up[1][i] = rows[6].ns[i] - rows[5].ns[i];
		}
		for (size_t i = 0; i < 8; i++)
			tell(rows[i].name, rows[i].ns, n_rounds, targets[i]);
		tell("block, look-up, one after the other", look_up[0], n_rounds, "");
		tell("block, look-up, at random", look_up[1], n_rounds, "");
		order_deinit(&block);
		order_deinit(&alone);
		r = tell_memory(few, starts);
	}
	free(starts);
	free(few);
	return r < 0;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "bench-order: %s is no number\n", text);
		exit(2);
	}
	return value;
}

static int write_samples(const struct order *o)
{
	for (uint64_t t = 0; t < o->n_samples; t++) {
		uint64_t sample = order_sample(o, t);

		if (fwrite(&sample, sizeof(sample), 1, stdout) != 1)
			return -1;
	}
	return fflush(stdout);
}

/* words: SHUFFLE WINDOW PARTS EPOCH SHARDS PER_SHARD */
static int print_positions(char **words)
{
	static const char *names[] = {"none", "block", "full"};
	struct order_spec spec = {SHUFFLE_NONE, SEED, number(words[1]), number(words[2])};
	const size_t n_shards = number(words[4]);
	const uint64_t each = number(words[5]);
	const struct pass pass = {n_shards * each, 0, 1, 1, LAST_SHORT};
	uint64_t *starts = calloc(n_shards + 1, sizeof(*starts));
	const struct order_shards shards = {starts, n_shards};
	struct reason why;
	struct order o;
	int r = -1;

	for (int i = 0; i < 3; i++)
		if (strcmp(words[0], names[i]) == 0)
			spec.shuffle = (enum shuffle)i;
	for (size_t i = 0; starts && i <= n_shards; i++)
		starts[i] = i * each;
	if (starts && order_check(&spec, &pass, &why) == 0 &&
	    order_init(&o, &spec, &shards, number(words[3])) == 0) {
		r = write_samples(&o);
		order_deinit(&o);
	}
	if (r < 0)
		fprintf(stderr, "bench-order: no such order, or nobody reads it\n");
	free(starts);
	return r < 0;
}

int main(int argc, char **argv)
{
	uint64_t n_rounds = 15;

	if (argc == 8 && strcmp(argv[1], "positions") == 0)
		return print_positions(argv + 2);
	if (argc > 2) {
		fprintf(stderr, "usage: bench-order [ROUNDS] | positions SHUFFLE WINDOW PARTS "
				"EPOCH SHARDS PER_SHARD\n");
		return 2;
	}
	if (argc == 2)
		n_rounds = number(argv[1]);
	return bench(n_rounds < 1 || n_rounds > MOST_ROUNDS ? 15 : (unsigned)n_rounds);
}
