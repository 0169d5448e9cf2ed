/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The forecast of reads against one counted by hand, for samples laid out so that this is possible. */
#include "apart.h"
#include "core/forecast.h"
#include "counted.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = APART_SAMPLES_MAX };

struct scene {
	struct apart laid;
	struct core_forecast forecast;
};

static int set_up(void **state)
{
	static struct scene scene;
	struct scene *s = &scene;

	memset(s, 0, sizeof(*s));
	apart_init(&s->laid, SAMPLES);
	s->laid.feed.batch_size = s->laid.feed.n_rows = 8;
	s->laid.feed.n_slots = 4;
	s->laid.feed.slots_per_rank = 2;
	s->laid.spec.n_streams = 1;
	*state = s;
	return 0;
}

static int call(struct scene *s, uint64_t n_most, unsigned which_fails)
{
	int r;

	counted_begin(which_fails);
	r = core_forecast(&s->laid.spec, 0, n_most, &s->forecast);
	assert_int_equal(counted.n_live, 0);
	return r;
}

static void forecast(struct scene *s, uint64_t n_most)
{
	assert_int_equal(call(s, n_most, 0), 0);
}

static void expect(struct scene *s, uint64_t n_reads, uint64_t n_bytes)
{
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_samples, SAMPLES);
	assert_int_equal(s->forecast.n_reads, n_reads);
	assert_int_equal(s->forecast.read_bytes, n_bytes);
}

/* One after the other, each of so many bytes with its header, three pages from the one before. */
static void lay_side_by_side(struct scene *s, uint32_t n_bytes)
{
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i] = (struct sample_place){.header_block = i * 3 * 8, .size = n_bytes - 512};
}

/* So much staging that a round has so many pages: a quarter of the three quarters that are read ahead into. */
static void give_rounds(struct scene *s, uint64_t n_pages)
{
	s->laid.spec.staging_bytes = (n_pages * 4 * 4 / 3 + 1) * 4096;
}

static void no_memory(void **state)
{
	struct scene *s = *state;

	s->laid.feed.order = (struct order_spec){.shuffle = SHUFFLE_BLOCK, .seed = 1, .window = 64, .parts = 1};
	for (unsigned i = 1; i <= 4; i++) /* of the order two, the candidates, the units */
		assert_int_equal(call(s, SAMPLES, i), -ENOMEM);
	assert_int_equal(call(s, SAMPLES, 5), 0);
	assert_int_equal(counted.n_callocs, 4);
}

static void apart(void **state)
{
	struct scene *s = *state;

	forecast(s, SAMPLES);
	assert_true(s->forecast.is_exact);
	assert_int_equal(s->forecast.n_samples, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES * 3 * 4096);
}

/* Half of them miss a field, and cost nothing. */
static void missing(void **state)
{
	struct scene *s = *state;

	for (uint32_t i = 0; i < SAMPLES; i += 2)
		s->laid.places[i].header_block = i % 4 ? SAMPLE_MISSING : SAMPLE_REPEATED;
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_samples, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 2);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES / 2 * 3 * 4096);
}

/*
 * One after the other without a gap: as many go into one request as read_max takes, within a round. A round has a
 * quarter of the read-ahead zone, which is three quarters of 16 MiB: 3 MiB, of which each sample takes its three pages
 * and one more: 192 samples, 2.25 MiB, two requests of 1 MiB (85 samples of three pages each) and a shorter one.
 */
static void neighbours(void **state)
{
	struct scene *s = *state;

	lay_side_by_side(s, 3 * 4096);
	s->laid.spec.staging_bytes = 16 << 20;
	expect(s, SAMPLES / 192 * 3 + 1, (uint64_t)SAMPLES * 3 * 4096); /* 64 are left for the last round */
}

/* A round of 680 pages ends with the sample that it has no byte left for: of four pages each, booked, the 170th; if they
 * are a byte shorter, the 171st. Two requests hold 170 of them. */
static void to_the_byte(void **state)
{
	struct scene *s = *state;

	give_rounds(s, 680);
	lay_side_by_side(s, 3 * 4096);
	expect(s, SAMPLES / 170 * 2 + 1, (uint64_t)SAMPLES * 3 * 4096);
	lay_side_by_side(s, 3 * 4096 - 1);
	expect(s, SAMPLES / 171 * 3 + 2, (uint64_t)SAMPLES * 3 * 4096);
	for (uint32_t i = 0; i < SAMPLES; i++) { /* those that miss a field take nothing from the round: 171 again */
		s->laid.places[i].header_block = i / 2 * 3 * 8;
		if (i % 2 == 0)
			s->laid.places[i].header_block = SAMPLE_MISSING;
	}
	expect(s, SAMPLES / 2 / 171 * 3 + 2, (uint64_t)SAMPLES / 2 * 3 * 4096);
}

/* Whatever order they come in, a round's are read in that of their places. */
static void sorted(void **state)
{
	struct scene *s = *state;

	lay_side_by_side(s, 3 * 4096);
	for (uint32_t i = 0; i < SAMPLES; i += 170) /* each round's backwards, the last one shorter */
		for (uint32_t k = i; k < i + 170 && k < SAMPLES; k++)
			s->laid.places[k].header_block = ((i + 170 < SAMPLES ? i + 170 : SAMPLES) - 1 - (k - i)) * 3 * 8;
	give_rounds(s, 680);
	expect(s, SAMPLES / 170 * 2 + 1, (uint64_t)SAMPLES * 3 * 4096);
}

/* The last round, of 16, has nothing to do with the one before, though that went on where this one ends. */
static void last_round(void **state)
{
	struct scene *s = *state;

	lay_side_by_side(s, 3 * 4096);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		const uint32_t k = i % 170;
		const uint32_t place = i < 23 * 170 ? 300 + i : i < 24 * 170 ? k < 16 ? k : 62 - 16 + k
							      : k == 0	     ? 20 : 47 - 1 + k;

		s->laid.places[i].header_block = place * 3 * 8;
	}
	give_rounds(s, 680);
	expect(s, 23 * 2 + 3 + 2, (uint64_t)SAMPLES * 3 * 4096);
}

/* The orders of two epochs differ, and so do the reads: of epoch 0, whose rounds are looked at here one by one. */
static void first_epoch(void **state)
{
	struct scene *s = *state;
	const struct order_shards shards = {s->laid.starts, 1};
	uint64_t n_reads = 0;
	struct order order;

	s->laid.feed.order = (struct order_spec){.shuffle = SHUFFLE_FULL, .seed = 1, .parts = 1};
	lay_side_by_side(s, 3 * 4096);
	give_rounds(s, 680);
	s->laid.spec.read_max = UINT32_MAX;
	assert_int_equal(order_init(&order, &s->laid.feed.order, &shards, 0), 0);
	for (uint64_t t = 0; t < SAMPLES; t += 170) {
		bool is_there[SAMPLES + 2] = {false};

		for (uint64_t i = t; i < t + 170 && i < SAMPLES; i++)
			is_there[order_sample(&order, i) + 2] = true;
		for (uint32_t i = 2; i < SAMPLES + 2; i++) /* over a gap of one sample, 12 KiB, it reads on */
			n_reads += is_there[i] && !is_there[i - 1] && !is_there[i - 2];
	}
	order_deinit(&order);
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_reads, n_reads);
}

/* So small that a round takes as many as are sorted at once, 2048: two requests of 1 MiB. */
static void many(void **state)
{
	struct scene *s = *state;

	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i] = (struct sample_place){.header_block = i * 2, .size = 512};
	expect(s, SAMPLES / 2048 * 2, (uint64_t)SAMPLES * 1024);
}

/* Two fields, side by side: one request a sample; where one of them is missing nothing is read. */
static void fields(void **state)
{
	struct scene *s = *state;

	s->laid.samples.n_fields = 2;
	s->laid.samples.n_samples = s->laid.starts[1] = s->laid.feed.n_positions = SAMPLES / 2;
	s->laid.samples.largest_extent = 2 * 4096;
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i] = (struct sample_place){.header_block = (i / 2 * 16 + i % 2 * 2) * 8, .size = 2 * 4096 - 512};
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_samples, SAMPLES / 2);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 2);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES / 2 * 4 * 4096);
	for (uint32_t i = 1; i < SAMPLES; i += 4)
		s->laid.places[i].header_block = SAMPLE_MISSING;
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 4);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES / 4 * 4 * 4096);
}

/* The last extent ends where the file does. */
static void at_the_end(void **state)
{
	struct scene *s = *state;

	s->laid.shard.raw_size = s->laid.shard.file_size = (uint64_t)(SAMPLES - 1) * APART + 4096;
	expect(s, SAMPLES, (uint64_t)(SAMPLES - 1) * 3 * 4096 + 4096);
	s->laid.shard.raw_size = s->laid.shard.file_size += 1;
	expect(s, SAMPLES, (uint64_t)(SAMPLES - 1) * 3 * 4096 + 2 * 4096);
}

/* More samples than are looked at: those of rounds at other places, of which each is read as it would be. */
static void sampled(void **state)
{
	struct scene *s = *state;

	s->laid.spec.staging_bytes = 16 << 20;
	forecast(s, 1000);
	assert_false(s->forecast.is_exact);
	assert_in_range(s->forecast.n_samples, 1000, 1000 + 192 - 1);
	assert_int_equal(s->forecast.n_reads, s->forecast.n_samples);
	assert_int_equal(s->forecast.read_bytes, s->forecast.n_reads * 3 * 4096);
	forecast(s, SAMPLES - 1);
	assert_false(s->forecast.is_exact);
	forecast(s, 192); /* one round: the first place that is looked at is not so near the end */
	assert_int_equal(s->forecast.n_samples, 192);
}

/* A compressed shard in units of eight samples. */
static void lay_units(struct scene *s, uint64_t n_bytes)
{
	s->laid.shard.packing = PACKING_ZSTD;
	s->laid.shard.n_units = SAMPLES / 8;
	for (uint32_t i = 0; i < SAMPLES / 8; i++)
		s->laid.units[i] = (struct sample_unit){.offset = (uint64_t)i * n_bytes, .n_bytes = n_bytes,
						   .raw_offset = (uint64_t)i * 8 * APART, .n_raw = 8 * APART};
	s->laid.samples.units = s->laid.units;
	s->laid.samples.n_units = SAMPLES / 8;
	s->laid.samples.largest_unit = 8 * APART;
	s->laid.samples.most_units = 1;
	s->laid.spec.staging_bytes = 16 << 20;
}

/* Unit 0 in rounds 0, 2, 3 and 4, else unit 1: each is read for rounds 0 and 1, unit 0 again for round 2, since round
 * 1 was without it, not for 3 and 4, and unit 1 for round 5, and never after. */
static void rounds_of_units(void **state)
{
	struct scene *s = *state;

	lay_units(s, 1000);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		const uint32_t round = i / 192;

		s->laid.places[i].header_block = (round == 0 || (round >= 2 && round <= 4) ? 0 : 8) * (APART / 512);
	}
	expect(s, 4, 4 * 1000);
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i].header_block = 0;
	forecast(s, 1000); /* at other places each round begins with nothing */
	assert_int_equal(s->forecast.n_reads, (s->forecast.n_samples + 191) / 192);
}

static void pieces(void **state)
{
	struct scene *s = *state;

	lay_units(s, 2 * CORE_PIECE);
	expect(s, SAMPLES / 8 * 2, (uint64_t)SAMPLES / 8 * 2 * CORE_PIECE);
	lay_units(s, 2 * CORE_PIECE + 1);
	expect(s, SAMPLES / 8 * 3, (uint64_t)SAMPLES / 8 * (2 * CORE_PIECE + 1));
	s->laid.samples.n_fields = 2; /* in two units each */
	s->laid.samples.n_samples = s->laid.starts[1] = s->laid.feed.n_positions = SAMPLES / 2;
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->laid.places[i].header_block = (i % 2 * SAMPLES / 2 + i / 2) * (APART / 512);
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 8 * 3);
}

/* In order a unit, of two pieces, is read once, however many of its samples there are. */
static void units(void **state)
{
	struct scene *s = *state;

	lay_units(s, 600 * 1024);
	expect(s, SAMPLES / 8 * 2, (uint64_t)SAMPLES / 8 * 600 * 1024);
	forecast(s, 1000); /* nothing is there of the round before */
	assert_in_range(s->forecast.n_reads, (1000 / 192 + 1) * 24 * 2, (1000 / 192 + 1) * 25 * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(apart, set_up),	  cmocka_unit_test_setup(missing, set_up),
		cmocka_unit_test_setup(neighbours, set_up), cmocka_unit_test_setup(at_the_end, set_up),
		cmocka_unit_test_setup(sampled, set_up),  cmocka_unit_test_setup(units, set_up),
		cmocka_unit_test_setup(rounds_of_units, set_up), cmocka_unit_test_setup(pieces, set_up),
		cmocka_unit_test_setup(to_the_byte, set_up), cmocka_unit_test_setup(sorted, set_up),
		cmocka_unit_test_setup(last_round, set_up),
		cmocka_unit_test_setup(first_epoch, set_up), cmocka_unit_test_setup(many, set_up),
		cmocka_unit_test_setup(fields, set_up),	  cmocka_unit_test_setup(no_memory, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
