/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What proto/order.md promises of a mix, checked by counting: exact shares in every block, no sample twice with
 * until: first, the longest source whole with until: all, every pass a permutation. That each sample is the right one
 * is for the second implementation to say (compare.py).
 */
#include "base/fault.h"
#include "order/order.h"
#include "order/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { SOURCES = 3, SHARDS = 7, M = SHARES_ALL };

static const size_t first_shards[SOURCES + 1] = {0, 2, 6, 7};
/* 5,200, 2,909 and 611 samples; one shard is empty. */
static const uint64_t starts[SHARDS + 1] = {0, 5000, 5200, 6200, 6200, 8100, 8109, 8720};
static const struct order_shards shards = {starts, SHARDS};

struct made {
	uint32_t shares[SOURCES];
	struct order_mix mix;
	struct order_spec spec;
};

static void make(struct made *m, enum shuffle shuffle, uint64_t parts, enum until until)
{
	static const double weights[SOURCES] = {5, 2.5, 0.7};

	shares_make(weights, SOURCES, m->shares);
	m->mix = (struct order_mix){until, SOURCES, m->shares, first_shards};
	m->spec = (struct order_spec){.shuffle = shuffle, .seed = 11, .window = shuffle == SHUFFLE_BLOCK ? 100 : 0,
				      .parts = parts, .mix = &m->mix};
}

static unsigned source_of(uint64_t sample)
{
	return sample < 5200 ? 0 : sample < 8109 ? 1 : 2;
}

static void every(void (*check)(const struct made *, uint64_t epoch))
{
	for (unsigned i = 0; i < 8; i++) {
		static const struct {
			enum shuffle shuffle;
			uint64_t parts;
		} orders[] = {{SHUFFLE_NONE, 1}, {SHUFFLE_FULL, 1}, {SHUFFLE_BLOCK, 1}, {SHUFFLE_BLOCK, 4}};
		struct made m;

		make(&m, orders[i / 2].shuffle, orders[i / 2].parts, i % 2 ? UNTIL_ALL : UNTIL_FIRST);
		for (uint64_t epoch = 0; epoch < 7; epoch++)
			check(&m, epoch);
	}
}

/* Every 1024 positions of every part have each source's share, to the sample. */
static void check_shares(const struct made *m, uint64_t epoch)
{
	const uint64_t n = order_length(&m->spec, &shards), parts = m->spec.parts;
	struct order o;

	assert_int_equal(n % (parts * M), 0);
	assert_int_equal(order_init(&o, &m->spec, &shards, epoch), 0);
	assert_int_equal(o.n_samples, n);
	for (uint64_t from = 0; from < n; from += parts * M) {
		for (uint64_t p = 0; p < parts; p++) {
			uint32_t seen[SOURCES] = {0};

			for (uint64_t t = from + p; t < from + parts * M; t += parts)
				seen[source_of(order_sample(&o, t))]++;
			assert_memory_equal(seen, m->shares, sizeof(seen));
		}
	}
	order_deinit(&o);
}

/* How often each sample comes in an epoch. */
static void check_repeats(const struct made *m, uint64_t epoch)
{
	static uint32_t seen[8720];
	uint64_t first_seen = 0;
	struct order o;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(order_init(&o, &m->spec, &shards, epoch), 0);
	for (uint64_t t = 0; t < o.n_samples; t++)
		seen[order_sample(&o, t)]++;
	order_deinit(&o);
	for (unsigned x = 0; x < SOURCES; x++) {
		uint32_t least = UINT32_MAX, most = 0;

		for (uint64_t i = starts[first_shards[x]]; i < starts[first_shards[x + 1]]; i++) {
			least = seen[i] < least ? seen[i] : least;
			most = seen[i] > most ? seen[i] : most;
		}
		/* Whole passes, and one that may be cut; a part that is one element longer may be a pass behind. */
		assert_in_range(most - least, 0, m->spec.parts == 1 ? 1 : 2);
		if (m->mix.until == UNTIL_FIRST)
			assert_int_equal(most, 1);
		first_seen = x == 0 ? least : first_seen;
	}
	if (m->mix.until == UNTIL_ALL)
		assert_in_range(first_seen, 1, 2); /* the longest was there as a whole */
}

/* Epochs that share a pass together hold no sample twice, and what is left over is as many as order_source says. */
static void check_skipped(const struct made *m, uint64_t epoch)
{
	static uint32_t seen[8720];

	for (unsigned x = 0; x < SOURCES && epoch == 0; x++) {
		struct order_source s;
		uint64_t n_missing = 0;

		order_source(&m->spec, &shards, x, &s);
		memset(seen, 0, sizeof(seen));
		for (uint64_t e = s.n_epochs; e < 2 * s.n_epochs; e++) { /* the second such run */
			struct order o;

			assert_int_equal(order_init(&o, &m->spec, &shards, e), 0);
			for (uint64_t t = 0; t < o.n_samples; t++)
				seen[order_sample(&o, t)]++;
			order_deinit(&o);
		}
		assert_int_equal(s.n_samples, starts[first_shards[x + 1]] - starts[first_shards[x]]);
		assert_int_equal(s.n_taken, order_length(&m->spec, &shards) / M * s.share);
		if (s.n_passes > 1)
			continue;
		for (uint64_t i = starts[first_shards[x]]; i < starts[first_shards[x + 1]]; i++) {
			assert_in_range(seen[i], 0, 1);
			n_missing += seen[i] == 0;
		}
		assert_int_equal(n_missing, s.n_skipped);
	}
}

static void shares_are_exact(void **state)
{
	every(check_shares);
}

static void repeats(void **state)
{
	every(check_repeats);
}

static void skipped(void **state)
{
	every(check_skipped);
}

/* A substitute is of the same source, and of the same part. */
static void substitutes(void **state)
{
	struct made m;
	struct order o;

	make(&m, SHUFFLE_BLOCK, 4, UNTIL_ALL);
	assert_int_equal(order_init(&o, &m.spec, &shards, 3), 0);
	for (uint64_t t = 0; t < o.n_samples + 500; t++)
		for (unsigned a = 1; a <= ORDER_ATTEMPTS; a++)
			assert_int_equal(source_of(order_substitute(&o, t, a)), source_of(order_sample(&o, t)));
	order_deinit(&o);
}

/* Positions in any sequence give what they give in order, whatever passes were laid out in between. */
static void any_sequence(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct made m;
		struct order o;
		uint64_t *samples;

		make(&m, SHUFFLE_BLOCK, i ? 4 : 1, UNTIL_ALL);
		m.shares[0] = 24; /* the smallest goes round some hundred times */
		m.shares[2] = 1000 - m.shares[1];
		assert_int_equal(order_init(&o, &m.spec, &shards, 5), 0);
		samples = calloc(o.n_samples, sizeof(*samples));
		assert_non_null(samples);
		for (uint64_t t = 0; t < o.n_samples; t++)
			samples[t] = order_sample(&o, t);
		for (uint64_t k = 0; k < 20000; k++) {
			const uint64_t t = order_perm(o.n_samples, i, k % o.n_samples);

			assert_int_equal(order_sample(&o, t), samples[t]);
		}
		free(samples);
		order_deinit(&o);
	}
}

static void progress(void **state)
{
	struct order_source source;
	struct order_progress at;
	struct made m;

	make(&m, SHUFFLE_FULL, 1, UNTIL_ALL);
	order_source(&m.spec, &shards, 2, &source);
	assert_true(source.n_passes > 1 && source.n_epochs == 1);
	order_progress(&m.spec, &shards, 2, 0, 0, &at);
	assert_true(at.pass == 0 && at.n_behind == 0 && at.n_all == 611);
	order_progress(&m.spec, &shards, 2, 0, order_length(&m.spec, &shards), &at);
	assert_int_equal(at.pass, source.n_taken / 611);
	assert_int_equal(at.n_behind, source.n_taken % 611);
	order_progress(&m.spec, &shards, 2, 4, M + 5, &at);
	assert_int_equal(at.pass, 4 * source.n_passes + source.share / 611);
	assert_int_equal(at.n_behind, source.share % 611);
}

static void refused(const struct made *m, const char *sentence)
{
	struct reason why;

	assert_int_equal(order_check_mix(&m->spec, &shards, &why), ORDER_E_REFUSED);
	if (!strstr(why.text, sentence))
		fail_msg("'%s' is not in: %s", sentence, why.text);
}

static void refusals(void **state)
{
	struct reason why;
	struct made m;

	make(&m, SHUFFLE_FULL, 1, UNTIL_FIRST);
	assert_int_equal(order_check_mix(&m.spec, &shards, &why), 0);
	m.shares[2] = 0;
	refused(&m, "source.2 has so little weight that none of 1024 samples");
	m.shares[2] = 612;
	refused(&m, "source.2 has 611 samples in the smallest part of the order, and its weight takes 612 of every 1024");
	m.mix.until = UNTIL_ALL;
	assert_int_equal(order_check_mix(&m.spec, &shards, &why), 0);
	make(&m, SHUFFLE_BLOCK, 612, UNTIL_ALL);
	refused(&m, "source.2 has 611 samples, fewer than the 612 parts of the order");
	make(&m, SHUFFLE_BLOCK, 611, UNTIL_ALL);
	assert_int_equal(order_check_mix(&m.spec, &shards, &why), 0);
}

static void tokens(void **state)
{
	struct token t = {.fingerprint = "00000000000000000000000000000000", .seed = 11};
	struct reason why;
	struct made m, other;

	make(&m, SHUFFLE_FULL, 1, UNTIL_FIRST);
	make(&other, SHUFFLE_FULL, 1, UNTIL_FIRST);
	t.order_hash = token_order_hash(&m.spec);
	assert_int_equal(token_fits(&t, t.fingerprint, &other.spec, 1024, &why), 0);
	other.shares[0]--;
	other.shares[1]++;
	assert_int_equal(token_fits(&t, t.fingerprint, &other.spec, 1024, &why), TOKEN_E_ORDER);
	assert_non_null(strstr(why.text, "until, and by their weights the sources' shares of 1024: full 0 1 first 623 313 88"));
	make(&other, SHUFFLE_FULL, 1, UNTIL_ALL);
	assert_int_equal(token_fits(&t, t.fingerprint, &other.spec, 1024, &why), TOKEN_E_ORDER);
	other.spec.mix = NULL;
	assert_int_equal(token_fits(&t, t.fingerprint, &other.spec, 1024, &why), TOKEN_E_ORDER);
}

/* One source of 10^9 samples, one of 10^6, one of 1000 that goes round a thousand times; each in many shards. */
static void speed(void **state)
{
	enum { EACH = 1000, TURNS = 1 << 19 };
	static uint64_t large[3 * EACH + 1];
	static const size_t firsts[4] = {0, EACH, 2 * EACH, 3 * EACH};
	static const uint32_t shares[3] = {900, 100, 24};
	const struct order_mix mix = {UNTIL_ALL, 3, shares, firsts};
	const struct order_shards many = {large, 3 * EACH};
	volatile uint64_t sink = 0;

	for (size_t i = 0; i < 3 * EACH; i++)
		large[i + 1] = large[i] + (i < EACH ? 1000000 : i < 2 * EACH ? 1000 : 1);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = {"none", "full", "block, parts 64"};
		static const struct order_spec specs[] = {{SHUFFLE_NONE, 3, 0, 1, NULL}, {SHUFFLE_FULL, 3, 0, 1, NULL},
							  {SHUFFLE_BLOCK, 3, 4096, 64, NULL}};
		struct order_spec spec = specs[i];
		struct timespec from, to;
		struct order o;
		double ns;

		spec.mix = &mix;
		assert_int_equal(order_init(&o, &spec, &many, 1), 0);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		for (uint64_t t = 0; t < TURNS; t++)
			sink = sink + order_sample(&o, o.n_samples / 3 + t);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
		printf("order_sample of a mix, 10^9 + 10^6 + 10^3 samples in 3 x %d shards, N = %.3g, %s: %.1f ns, %zu bytes\n",
		       EACH, (double)o.n_samples, names[i], ns / TURNS, order_bytes(&spec, &many));
		assert_true(ns / TURNS < 20000); /* a figure, not a race: the machine may be busy */
		order_deinit(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_exact), cmocka_unit_test(repeats),	    cmocka_unit_test(skipped),
		cmocka_unit_test(substitutes),	    cmocka_unit_test(any_sequence), cmocka_unit_test(progress),
		cmocka_unit_test(refusals),	    cmocka_unit_test(tokens),	    cmocka_unit_test(speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
