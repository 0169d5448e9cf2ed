/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The forecast of reads against one counted by hand, for samples laid out so that this is possible. */
#include "core/core.h"
#include "core/forecast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 4096, APART = 32 << 10, PAYLOAD = 3 * 4096 - 512 };

struct scene {
	struct sample_place places[SAMPLES];
	uint64_t starts[2];
	struct sample_shard shard;
	struct sample_unit units[SAMPLES];
	struct samples samples;
	struct core_feed feed;
	struct core_spec spec;
	struct core_forecast forecast;
};

/* Samples of three whole pages each, so far apart that none is read together with its neighbour. */
static int set_up(void **state)
{
	static struct scene scene;
	struct scene *s = &scene;

	memset(s, 0, sizeof(*s));
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->places[i] = (struct sample_place){.header_block = i * (APART / 512), .size = PAYLOAD};
	s->starts[1] = SAMPLES;
	s->shard = (struct sample_shard){.header_bytes = 512, .n_samples = SAMPLES, .file_size = (uint64_t)SAMPLES * APART,
					 .raw_size = (uint64_t)SAMPLES * APART};
	s->samples = (struct samples){.n_fields = 1, .places = s->places, .starts = s->starts, .shards = &s->shard,
				      .n_shards = 1, .n_samples = SAMPLES, .largest_extent = 3 * 4096};
	s->feed = (struct core_feed){.name = "train", .samples = &s->samples, .n_positions = SAMPLES, .batch_size = 8,
				     .n_slots = 4, .n_rows = 8, .slots_per_rank = 2, .order.parts = 1};
	s->spec = (struct core_spec){.feeds = &s->feed, .n_feeds = 1, .n_workers = 1, .n_streams = 1, .read_max = 1 << 20,
				     .reads_in_flight = 4, .staging_bytes = 64 << 20};
	*state = s;
	return 0;
}

static void forecast(struct scene *s, uint64_t n_most)
{
	assert_int_equal(core_forecast(&s->spec, 0, n_most, &s->forecast), 0);
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
		s->places[i].header_block = i % 4 ? SAMPLE_MISSING : SAMPLE_REPEATED;
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

	for (uint32_t i = 0; i < SAMPLES; i++)
		s->places[i].header_block = i * 3 * 8;
	s->spec.staging_bytes = 16 << 20;
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_samples, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 192 * 3 + 1); /* 64 are left for the last round */
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES * 3 * 4096);
}

/* The last extent ends where the file does. */
static void at_the_end(void **state)
{
	struct scene *s = *state;

	s->shard.raw_size = s->shard.file_size = (uint64_t)(SAMPLES - 1) * APART + 4096;
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)(SAMPLES - 1) * 3 * 4096 + 4096);
}

/* More samples than are looked at: those of rounds at other places, of which each is read as it would be. */
static void sampled(void **state)
{
	struct scene *s = *state;

	s->spec.staging_bytes = 16 << 20;
	forecast(s, 1000);
	assert_false(s->forecast.is_exact);
	assert_in_range(s->forecast.n_samples, 1000, 1000 + 192 - 1);
	assert_int_equal(s->forecast.n_reads, s->forecast.n_samples);
	assert_int_equal(s->forecast.read_bytes, s->forecast.n_reads * 3 * 4096);
	forecast(s, SAMPLES - 1);
	assert_false(s->forecast.is_exact);
}

/*
 * A compressed shard in units of eight samples, of 600 KiB: two pieces each. In order a unit is read once, however many
 * of its samples there are; where every other sample is in another half, a unit is there still in the next round, and
 * not in the one after.
 */
static void units(void **state)
{
	struct scene *s = *state;

	s->shard.packing = PACKING_ZSTD;
	s->shard.n_units = SAMPLES / 8;
	for (uint32_t i = 0; i < SAMPLES / 8; i++)
		s->units[i] = (struct sample_unit){.offset = (uint64_t)i * 600 * 1024, .n_bytes = 600 * 1024,
						   .raw_offset = (uint64_t)i * 8 * APART, .n_raw = 8 * APART};
	s->samples.units = s->units;
	s->samples.n_units = SAMPLES / 8;
	s->samples.largest_unit = 8 * APART;
	s->samples.most_units = 1;
	s->spec.staging_bytes = 16 << 20;
	forecast(s, SAMPLES);
	assert_int_equal(s->forecast.n_samples, SAMPLES);
	assert_int_equal(s->forecast.n_reads, SAMPLES / 8 * 2);
	assert_int_equal(s->forecast.read_bytes, (uint64_t)SAMPLES / 8 * 600 * 1024);
	forecast(s, 1000); /* nothing is there of the round before */
	assert_in_range(s->forecast.n_reads, (1000 / 192 + 1) * 24 * 2, (1000 / 192 + 1) * 25 * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(apart, set_up),	  cmocka_unit_test_setup(missing, set_up),
		cmocka_unit_test_setup(neighbours, set_up), cmocka_unit_test_setup(at_the_end, set_up),
		cmocka_unit_test_setup(sampled, set_up),  cmocka_unit_test_setup(units, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
