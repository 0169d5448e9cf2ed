/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The bound of whole shards at once, against the order itself: every window of every part, shard by shard. And what
 * small units, none and full get.
 */
#include "order/order.h"
#include "serve/inflating.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after the four above */
#include <cmocka.h>

enum { SHARDS_MAX = 40 };

#define MIB (UINT64_C(1) << 20)

static uint64_t random_state = 7;

static uint64_t below(uint64_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (random_state >> 33) % n;
}

struct made {
	struct samples samples;
	struct sample_shard shards[SHARDS_MAX];
	struct sample_unit units[SHARDS_MAX];
	uint64_t starts[SHARDS_MAX + 1];
};

/* Shards of random lengths, some empty, one unit each. */
static void make(struct made *m, uint64_t unit_bytes)
{
	memset(m, 0, sizeof(*m));
	m->samples = (struct samples){.n_fields = 1, .shards = m->shards, .units = m->units, .starts = m->starts,
				      .n_shards = 1 + below(SHARDS_MAX), .largest_unit = unit_bytes, .most_units = 1};
	for (size_t i = 0; i < m->samples.n_shards; i++) {
		m->shards[i] = (struct sample_shard){.n_samples = below(4) ? 1 + below(60) : below(3), .n_units = 1,
						     .first_unit = (uint32_t)i, .packing = PACKING_ZSTD};
		m->shards[i].path = (char *)"shard.tar.zst";
		m->units[i] = (struct sample_unit){.n_raw = unit_bytes - below(unit_bytes / 2)};
		m->starts[i + 1] = m->starts[i] + m->shards[i].n_samples;
	}
	m->units[below(m->samples.n_shards)].n_raw = unit_bytes;
	m->samples.n_units = m->samples.n_shards;
	m->samples.n_samples = m->starts[m->samples.n_shards];
}

/* The most different shards in a window of each part. */
static uint64_t most_at_once(const struct made *m, uint64_t window, uint64_t parts, uint64_t epoch)
{
	const struct order_spec spec = {.shuffle = SHUFFLE_BLOCK, .seed = 3, .window = window, .parts = parts};
	const struct order_shards shards = {m->starts, m->samples.n_shards};
	uint64_t most = 0, n = m->samples.n_samples;
	struct order o;

	assert_int_equal(order_init(&o, &spec, &shards, epoch), 0);
	for (uint64_t from = 0; from < n; from += window * parts) {
		bool is_touched[SHARDS_MAX] = {false};
		uint64_t n_touched = 0, in_shard;

		for (uint64_t t = from; t < n && t < from + window * parts; t++) {
			uint32_t shard = order_shard_of(&shards, order_sample(&o, t), &in_shard);

			n_touched += !is_touched[shard];
			is_touched[shard] = true;
		}
		most = n_touched > most ? n_touched : most;
	}
	order_deinit(&o);
	return most;
}

static void windows(void **state)
{
	static struct made m;
	const struct config config = {.daemon = {.memory = 512 * MIB}};
	unsigned n_tight = 0, n = 0;

	for (int turn = 0; turn < 400; turn++) {
		struct config_feed feed = {.shuffle = CONFIG_SHUFFLE_BLOCK, .window = 1 + below(100), .parts = 1 + below(4)};
		struct inflating room;
		uint64_t most = 0;

		make(&m, (5 + below(50)) * MIB);
		if (m.samples.n_samples == 0)
			continue;
		for (uint64_t epoch = 0; epoch < 8; epoch++) {
			uint64_t now = most_at_once(&m, feed.window, feed.parts, epoch);

			most = now > most ? now : most;
		}
		assert_int_equal(inflating_room(&config, &feed, &m.samples, &room), 0);
		assert_true(room.n_units >= most && room.n_units <= m.samples.n_shards);
		assert_int_equal(room.least, room.n_units * core_unit_bytes(&m.samples, m.samples.largest_unit));
		assert_true(room.wished >= room.least);
		n++;
		n_tight += room.n_units == most;
	}
	assert_true(n > 300 && n_tight > n / 20); /* shards are rarely laid so badly */
}

/* The most different shards in a block of all parts together. */
static uint64_t most_in_block(const struct made *m, const struct order_spec *spec, uint64_t epoch)
{
	const struct order_shards shards = {m->starts, m->samples.n_shards};
	uint64_t most = 0;
	struct order o;

	assert_int_equal(order_init(&o, spec, &shards, epoch), 0);
	for (uint64_t from = 0; from < o.n_samples; from += SHARES_ALL * spec->parts) {
		bool is_touched[SHARDS_MAX] = {false};
		uint64_t n_touched = 0, in_shard;

		for (uint64_t t = from; t < from + SHARES_ALL * spec->parts; t++) {
			uint32_t shard = order_shard_of(&shards, order_sample(&o, t), &in_shard);

			n_touched += !is_touched[shard];
			is_touched[shard] = true;
		}
		most = n_touched > most ? n_touched : most;
	}
	order_deinit(&o);
	return most;
}

/* Two sources of longer shards, the first ones and the rest. */
static void mixes(void **state)
{
	static struct made m;
	const struct config config = {.daemon = {.memory = 512 * MIB}};
	unsigned n = 0, n_less = 0;

	for (int turn = 0; turn < 300; turn++) {
		struct config_input inputs[2] = {{.weight = (double)(1 + below(9))}, {.weight = (double)(1 + below(9))}};
		const double weights[2] = {inputs[0].weight, inputs[1].weight};
		const bool is_block = below(3) > 0;
		struct config_feed feed = {.shuffle = is_block ? CONFIG_SHUFFLE_BLOCK : CONFIG_SHUFFLE_NONE, .is_mix = true,
					   .window = is_block ? 1 + below(200) : 0, .parts = is_block ? 1 + below(2) : 1,
					   .inputs = inputs, .n_inputs = 2};
		size_t first_shards[3] = {0};
		uint32_t shares[2];
		const struct order_mix mix = {UNTIL_FIRST, 2, shares, first_shards};
		const struct order_spec spec = {is_block ? SHUFFLE_BLOCK : SHUFFLE_NONE, 3, feed.window, feed.parts, &mix};
		struct inflating room;
		struct reason why;

		make(&m, (5 + below(50)) * MIB);
		for (size_t i = 0; i < m.samples.n_shards; i++) {
			m.shards[i].n_samples *= 20;
			m.shards[i].source = i >= m.samples.n_shards / 2;
			m.starts[i + 1] = m.starts[i] + m.shards[i].n_samples;
		}
		m.samples.n_samples = m.starts[m.samples.n_shards];
		first_shards[1] = m.samples.n_shards / 2;
		first_shards[2] = m.samples.n_shards;
		shares_make(weights, 2, shares);
		if (order_check_mix(&spec, &(struct order_shards){m.starts, m.samples.n_shards}, &why))
			continue;
		assert_int_equal(inflating_room(&config, &feed, &m.samples, &room), 0);
		assert_true(room.n_units <= m.samples.n_shards);
		for (uint64_t epoch = 0; epoch < 4; epoch++)
			assert_true(most_in_block(&m, &spec, epoch) <= room.n_units);
		n++;
		n_less += room.n_units < m.samples.n_shards;
	}
	assert_true(n > 100 && n_less > n / 4);
}

static void others(void **state)
{
	static struct made m;
	const struct config config = {.daemon = {.memory = 512 * MIB}};
	struct config_feed feed = {.shuffle = CONFIG_SHUFFLE_NONE, .parts = 1};
	struct inflating room;
	struct reason why;

	make(&m, 100 * MIB);
	assert_int_equal(inflating_room(&config, &feed, &m.samples, &room), 0);
	assert_int_equal(room.n_units, 1);
	assert_int_equal(room.least, 100 * MIB);
	assert_int_equal(inflating_check(&feed, &m.samples, &why), 0);
	feed.shuffle = CONFIG_SHUFFLE_FULL;
	assert_int_equal(inflating_check(&feed, &m.samples, &why), INFLATING_E_REFUSED);
	assert_non_null(strstr(why.text, "100.0 MiB"));
	assert_non_null(strstr(why.text, "shard.tar.zst"));
	make(&m, MIB);
	assert_int_equal(inflating_check(&feed, &m.samples, &why), 0);
	assert_int_equal(inflating_room(&config, &feed, &m.samples, &room), 0);
	assert_int_equal(room.least, MIB);
	assert_int_equal(room.wished, 32 * MIB);
	assert_int_equal(room.n_units, 0);
	m.samples.n_units = m.samples.largest_unit = m.samples.most_units = 0;
	assert_int_equal(inflating_room(&config, &feed, &m.samples, &room), 0);
	assert_true(room.least == 0 && room.wished == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(windows), cmocka_unit_test(mixes), cmocka_unit_test(others)};

	return cmocka_run_group_tests_name("serve-inflating", tests, NULL, NULL);
}
