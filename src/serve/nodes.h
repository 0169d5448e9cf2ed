/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a machine that is one of several reads of a feed. order.parts keeps each to shards of its own when it is a
 * multiple of the world size; else machines share parts and read each other's samples on the way.
 *
 * Threads: any; nothing here has state.
 */
#ifndef SERVE_NODES_H
#define SERVE_NODES_H

#include "order/order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node_reads {
	uint64_t n_parts;    /* that the machine's ranks take samples from */
	uint64_t own_bytes;  /* of an epoch: those of its own samples */
	uint64_t most_bytes; /* of an epoch: those of all samples of these parts */
};

/* Does a machine with so many of the world's ranks, neighbours in number, read more than its own? */
bool nodes_share_parts(const struct order_spec *order, uint64_t world, uint64_t local_world, uint64_t total_bytes,
		       struct node_reads *ret);
/* The same in one sentence, without a full stop. Returns its length, as snprintf. */
int nodes_sentence(const struct order_spec *order, uint64_t world, uint64_t local_world,
		   const struct node_reads *reads, char *text, size_t n_text);

#endif
