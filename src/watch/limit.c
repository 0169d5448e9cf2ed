/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The longest wait names the stage; how busy the workers are tells a full CPU from a shared one. */
#include "watch/limit.h"

#include <stdio.h>

#define BUSY 0.7

static unsigned longest(const struct limit_view *v)
{
	unsigned most = SNAPSHOT_WAIT_DECODE;

	for (unsigned i = 0; i < SNAPSHOT_WAITS; i++)
		if (v->waits[i] > v->waits[most])
			most = i;
	return most;
}

static int decoding(const struct limit_view *v, char *text, size_t n_text)
{
	if (v->busy < BUSY)
		return snprintf(text, n_text, "decoding, with the workers on a CPU only %.0f %% of the time: other "
				"processes use the CPUs too (daemon.cpus keeps them apart)", 100 * v->busy);
	if (v->n_workers < v->n_cpus)
		return snprintf(text, n_text, "decoding: the workers (%u) are busy %.0f %% of the time; daemon.workers "
				"may grow, there are %u CPUs", v->n_workers, 100 * v->busy, v->n_cpus);
	return snprintf(text, n_text, "decoding: the workers (%u) on %u CPUs are busy %.0f %% of the time; more CPUs "
			"help, and decode: {image: fast} where JPEGs are at least twice the size that the transforms "
			"make", v->n_workers, v->n_cpus, 100 * v->busy);
}

int limit_sentence(const struct limit_view *v, char *text, size_t n_text)
{
	switch (longest(v)) {
	case SNAPSHOT_WAIT_READ:
		return snprintf(text, n_text, "reading: workers wait for the storage; faster storage helps, or "
				"source.reads: buffered where the set fits into memory and is read again and again");
	case SNAPSHOT_WAIT_SLOTS:
		return snprintf(text, n_text, "slots: batches wait for memory; feeds.%s.slots or daemon.memory may grow",
				v->feed);
	case SNAPSHOT_WAIT_TRAINER:
		return snprintf(text, n_text, "the trainer: batches are full before they are asked for");
	default:
		return decoding(v, text, n_text);
	}
}
