/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A feed of one shard, laid out so that reads can be counted by hand: samples of three whole pages each, so far apart
 * that none is read together with its neighbour. One worker, one megabyte a read, four reads in flight. */
#ifndef TESTS_APART_H
#define TESTS_APART_H

#include "core/core.h"

enum { APART_SAMPLES_MAX = 4096, APART = 32 << 10 /* bytes from sample to sample */, APART_PAYLOAD = 3 * 4096 - 512 };

/* Tests change it as they need. */
struct apart {
	struct sample_place places[APART_SAMPLES_MAX];
	uint64_t starts[2];
	struct sample_shard shard;
	struct sample_unit units[APART_SAMPLES_MAX]; /* room for them: the shard is a plain one */
	struct samples samples;
	struct core_feed feed; /* what samples say; batches and slots are the test's */
	struct core_spec spec;
};

/* It keeps pointers into itself. */
void apart_init(struct apart *a, uint32_t n_samples);

#endif
