/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What reads an epoch will take, before it begins: the core's own sorting and merging, run over the index with one trainer
 * that takes all ranks' samples. Each round of reading ahead is taken to fill a quarter of its zone, as it is when
 * the trainer keeps up.
 *
 * Threads: any; allocates for the call.
 */
#ifndef CORE_FORECAST_H
#define CORE_FORECAST_H

#include "core/core.h"

struct core_forecast {
	uint64_t n_samples, n_reads, read_bytes; /* of the rounds looked at */
	bool is_exact;				 /* of a whole epoch */
};

/* Epoch 0 of that feed. An epoch of more than n_most samples is judged by about so many, in rounds at places that are always
 * the same. The order must have passed order_check. 0 or -errno. */
int core_forecast(const struct core_spec *spec, unsigned feed, uint64_t n_most, struct core_forecast *ret);

#endif
