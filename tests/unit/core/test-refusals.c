/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Who is not let in, or may not go there, and every number in what it is told. Sentences are worked out by hand. */
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 1000, FEW = 10, STREAMS = 5, TRAIN = 0, GLOBAL = 1, SHARED = 2, SMALL = 3, FEEDS };

struct scene {
	struct sample_place places[SAMPLES];
	uint64_t starts[2], few_starts[2];
	struct sample_shard shard, few_shard;
	struct samples samples, few;
	struct core_feed feeds[FEEDS];
	struct core *core;
	struct reason why;
};

static void lay(struct samples *s, struct sample_place *places, uint64_t *starts, struct sample_shard *shard, uint64_t n)
{
	starts[1] = n;
	*shard = (struct sample_shard){.header_bytes = 512, .file_size = n * 1024, .raw_size = n * 1024, .n_samples = n};
	*s = (struct samples){.n_fields = 1, .places = places, .starts = starts, .shards = shard, .n_shards = 1,
			      .n_samples = n, .largest_extent = 1024};
}

static int set_up(void **state)
{
	static struct scene scene;
	struct scene *s = &scene;
	struct core_spec spec = {.feeds = s->feeds, .n_feeds = FEEDS, .n_workers = 1, .n_streams = STREAMS,
				 .read_max = 1 << 20, .reads_in_flight = 4, .read_timeout_ns = 1000000000,
				 .task_timeout_ns = 1000000000};

	memset(s, 0, sizeof(*s));
	for (uint32_t i = 0; i < SAMPLES; i++)
		s->places[i] = (struct sample_place){.header_block = i * 2, .size = 100};
	lay(&s->samples, s->places, s->starts, &s->shard, SAMPLES);
	lay(&s->few, s->places, s->few_starts, &s->few_shard, FEW);
	for (uint32_t i = 0; i < FEEDS; i++)
		s->feeds[i] = (struct core_feed){.name = "train", .samples = &s->samples, .n_positions = SAMPLES, .batch_size = 8,
						 .last = LAST_DROP, .bad_limit = 1, .slots_per_rank = 3, .n_slots = 7, .n_rows = 8,
						 .slot_bytes = 1 << 20, .base = i, .order.parts = 1};
	s->feeds[GLOBAL].name = "global";
	s->feeds[GLOBAL].batch_size = 0;
	s->feeds[GLOBAL].batch_global = 16;
	s->feeds[GLOBAL].slot_bytes = (1 << 20) + 1;
	s->feeds[SHARED].name = "shared";
	s->feeds[SHARED].window = 2;
	s->feeds[SMALL].name = "small";
	s->feeds[SMALL].samples = &s->few;
	s->feeds[SMALL].n_positions = FEW;
	spec.staging_bytes = core_staging_least(s->feeds, FEEDS);
	assert_int_equal(core_new(&spec, &s->core), 0);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	core_check(s->core);
	core_free(s->core);
	return 0;
}

static void drain(struct scene *s)
{
	struct core_action a;

	while (core_next(s->core, &a))
		;
}

static uint32_t attach(struct scene *s, struct core_attach a)
{
	uint32_t stream = UINT32_MAX;

	assert_int_equal(core_on_attach(s->core, 0, &a, &stream, &s->why), 0);
	drain(s);
	return stream;
}

static void refuse(struct scene *s, struct core_attach a, const char *sentence)
{
	uint32_t stream;

	assert_int_equal(core_on_attach(s->core, 0, &a, &stream, &s->why), CORE_E_REFUSED);
	assert_string_equal(s->why.text, sentence);
	drain(s);
}

static void refuse_seek(struct scene *s, uint32_t stream, struct core_seek to, const char *sentence)
{
	assert_int_equal(core_on_seek(s->core, 0, stream, &to, &s->why), CORE_E_REFUSED);
	assert_string_equal(s->why.text, sentence);
	drain(s);
}

#define RANK(r, w) .rank = (r), .world = (w), .local_world = (w)

static void worlds(void **state)
{
	struct scene *s = *state;

	refuse(s, (struct core_attach){.group = "", .rank = 2, .world = 2, .local_world = 1},
	       "rank 2 of world size 2 (1 on this machine) is impossible; ranks go from 0 to world size - 1");
	refuse(s, (struct core_attach){.group = "", .rank = 0, .world = 0, .local_world = 0},
	       "rank 0 of world size 0 (0 on this machine) is impossible; ranks go from 0 to world size - 1");
	refuse(s, (struct core_attach){.group = "", .rank = 0, .world = 1, .local_world = 0},
	       "rank 0 of world size 1 (0 on this machine) is impossible; ranks go from 0 to world size - 1");
	refuse(s, (struct core_attach){.group = "", .rank = 1, .world = 2, .local_world = 3},
	       "rank 1 of world size 2 (3 on this machine) is impossible; ranks go from 0 to world size - 1");
	refuse(s, (struct core_attach){.feed = GLOBAL, .group = "", RANK(0, 3)},
	       "feed global has batch.global 16, which world size 3 does not divide");
}

static void batches(void **state)
{
	struct scene *s = *state;

	refuse(s, (struct core_attach){.group = "", RANK(0, 1), .batch = 9},
	       "feed train would have 9 samples per rank for world size 1, and its slots hold 8; a larger batch.size makes "
	       "them larger");
	refuse(s, (struct core_attach){.feed = GLOBAL, .group = "", RANK(0, 1)},
	       "feed global would have 16 samples per rank for world size 1, and its slots hold 8; set batch.ranks to 1 or "
	       "less");
	refuse(s, (struct core_attach){.feed = SMALL, .group = "", RANK(0, 2)},
	       "feed small has 10 samples, fewer than one global batch of 16, and batch.last is drop: use pad or short, or a "
	       "smaller batch");
	attach(s, (struct core_attach){.feed = SMALL, .group = "", RANK(0, 1)});
	attach(s, (struct core_attach){.group = "", RANK(0, 1), .batch = 8});
}

static void ranks(void **state)
{
	struct scene *s = *state;

	attach(s, (struct core_attach){.group = "g", RANK(1, 2), .generation = 4});
	refuse(s, (struct core_attach){.group = "g", RANK(1, 2), .generation = 4},
	       "rank 1 of group g of feed train is taken by another trainer that is still attached; trainers that are to get "
	       "the same batches all say which replica they are");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 2), .generation = 3},
	       "group g has been restarted since (restart 4, this trainer is of restart 3)");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 1), .generation = 4},
	       "group g of feed train has world size 2, this trainer says 1: rank 0 of it is refused");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 2), .generation = 4, .has_place = true, .position = 40},
	       "rank 0 starts at position 40, no whole number of global batches of 16 from position 0 where rank 1 started: "
	       "give all ranks tokens of one run");
	attach(s, (struct core_attach){.group = "g", RANK(0, 2), .generation = 4, .has_place = true, .position = 32});
}

/* A restart may come with another world; from then on it is that one's. */
static void restarts(void **state)
{
	struct scene *s = *state;

	attach(s, (struct core_attach){.group = "g", RANK(0, 2)});
	attach(s, (struct core_attach){.group = "g", RANK(0, 1), .generation = 1});
	refuse(s, (struct core_attach){.group = "g", RANK(1, 2), .generation = 1},
	       "group g of feed train has world size 1, this trainer says 2: rank 1 of it is refused");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 1)},
	       "group g has been restarted since (restart 1, this trainer is of restart 0)");
}

static void replicas(void **state)
{
	struct scene *s = *state;

	attach(s, (struct core_attach){.group = "g", RANK(0, 1), .replica = 2, .has_place = true, .position = 24});
	refuse(s, (struct core_attach){.group = "g", RANK(0, 1), .replica = 2},
	       "replica 1 of rank 0 of group g of feed train is taken by another trainer that is still attached");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 1)},
	       "rank 0 of group g of feed train is taken by another trainer that is still attached; trainers that are to get "
	       "the same batches all say which replica they are");
	refuse(s, (struct core_attach){.group = "g", RANK(0, 1), .replica = 1, .batch = 4, .has_place = true, .position = 40},
	       "the other replicas of rank 0 of group g have batches of 8 from position 24 on, this one wants 4 from position "
	       "40 on: give all replicas the same token and size");
	attach(s, (struct core_attach){.group = "g", RANK(0, 1), .replica = 1, .has_place = true, .position = 40});
}

static void slots(void **state)
{
	struct scene *s = *state;

	/* Seven slots: three go to the first, and of two ranks that are to come three are kept for the second. */
	attach(s, (struct core_attach){.group = "a", RANK(0, 2)});
	refuse(s, (struct core_attach){.group = "b", RANK(0, 3)},
	       "feed train has 1 free slots of its 7, and 3 ranks on this machine need 2 each: raise daemon.memory by 5 MiB, or "
	       "end another group");
	attach(s, (struct core_attach){.feed = GLOBAL, .group = "a", RANK(0, 2)});
	refuse(s, (struct core_attach){.feed = GLOBAL, .group = "b", RANK(0, 2)},
	       "feed global has 1 free slots of its 7, and 2 ranks on this machine need 2 each: raise daemon.memory by 4 MiB, "
	       "or end another group");
	attach(s, (struct core_attach){.group = "a", RANK(1, 2)});
	/* All of that group are there: nothing is kept for it any more. */
	refuse(s, (struct core_attach){.group = "b", RANK(0, 1)},
	       "feed train has 1 free slots of its 7, and 1 ranks on this machine need 2 each: raise daemon.memory by 1 MiB, or "
	       "end another group");
	attach(s, (struct core_attach){.feed = GLOBAL, .group = "a", RANK(1, 2)});
	refuse(s, (struct core_attach){.feed = GLOBAL, .group = "b", RANK(0, 2)},
	       "feed global has 1 free slots of its 7, and 2 ranks on this machine need 2 each: raise daemon.memory by 4 MiB, "
	       "or end another group");
	refuse(s, (struct core_attach){.feed = GLOBAL, .group = "b", RANK(0, 1), .batch = 8},
	       "feed global has 1 free slots of its 7, and 1 ranks on this machine need 2 each: raise daemon.memory by 2 MiB, "
	       "or end another group");
	attach(s, (struct core_attach){.feed = SMALL, .group = "", RANK(0, 1)});
	refuse(s, (struct core_attach){.group = "", RANK(0, 1)},
	       "there are 5 sessions already, as many as the daemon takes");
}

static void shared_slots(void **state)
{
	struct scene *s = *state;
	const char *sentence = "feed shared has 1 free slots of its 7, and 1 ranks on this machine need 2 each: raise daemon.memory by "
			       "1 MiB, or end another group";

	/* What is kept for the rank that is to come is kept once for all groups whose ranks follow the same tracks. */
	attach(s, (struct core_attach){.feed = SHARED, .group = "g", RANK(0, 2)});
	refuse(s, (struct core_attach){.feed = SHARED, .group = "h", RANK(0, 1)}, sentence);
	attach(s, (struct core_attach){.feed = SHARED, .group = "i", RANK(0, 2)});
	refuse(s, (struct core_attach){.feed = SHARED, .group = "h", RANK(0, 1)}, sentence);
}

static void sharing(void **state)
{
	struct scene *s = *state;

	attach(s, (struct core_attach){.feed = SHARED, .group = "g", RANK(0, 1), .has_place = true, .epoch = 6, .position = 0});
	refuse(s, (struct core_attach){.feed = SHARED, .group = "h", .rank = 0, .world = 2, .local_world = 1},
	       "group h has ranks on other machines, and feed shared is at epoch 6 position 0 here: only with one token (state) "
	       "for all ranks do they start at the same place");
	/* 125 batches an epoch: two epochs and six batches are 256 behind, one more is too many. */
	refuse(s, (struct core_attach){.feed = SHARED, .group = "h", RANK(0, 1), .has_place = true, .epoch = 3,
				       .position = 1000 - 7 * 8},
	       "epoch 3 position 944 is more than 256 batches behind epoch 6 position 0, where the groups are that share feed "
	       "shared: start with them (start: now or next_epoch, no state), or use a feed with share: independent");
	attach(s, (struct core_attach){.feed = SHARED, .group = "h", RANK(0, 1), .has_place = true, .epoch = 3,
				       .position = 1000 - 6 * 8});
}

static void seeks(void **state)
{
	struct scene *s = *state;
	uint32_t alone = attach(s, (struct core_attach){.group = "", RANK(0, 1)});
	uint32_t one = attach(s, (struct core_attach){.feed = SHARED, .group = "g", RANK(0, 1)});

	attach(s, (struct core_attach){.feed = SHARED, .group = "h", RANK(0, 1)});
	refuse_seek(s, alone, (struct core_seek){.batch = 9},
		    "feed train would have 9 samples per rank for world size 1, and its slots hold 8; a larger batch.size makes "
		    "them larger");
	refuse_seek(s, one, (struct core_seek){.batch = 4},
		    "others get the same batches of feed shared as rank 0: they stay at 8 rows while they are shared");
	refuse_seek(s, one, (struct core_seek){.position = 12},
		    "position 12 is no boundary of the batches of 8 that feed shared shares among its groups");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(worlds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(batches, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ranks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(restarts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(replicas, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shared_slots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sharing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(seeks, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
