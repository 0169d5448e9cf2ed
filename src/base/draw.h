/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Counter-based randomness, as proto/order.md defines it: a number depends on its key alone, never
 * on who asks or when. Streams, keys, and what a 64-bit draw becomes: a real, an integer, an event.
 *
 * Threads: any; nothing here has state.
 */
#ifndef BASE_DRAW_H
#define BASE_DRAW_H

#include <stdbool.h>
#include <stdint.h>

enum draw_stream {
	DRAW_SHARDS = 1,
	DRAW_SAMPLES = 2,
	DRAW_WINDOW = 3,
	DRAW_TRANSFORM = 4, /* DRAW in order.md */
	DRAW_SUBSTITUTE = 5,
	DRAW_MIX = 6,
	DRAW_BATCH = 7,
};

/* key(stream, rest…) of order.md: XXH64 over version 1, seed, epoch, stream and n_rest (0 … 4) more. */
uint64_t draw_key(uint64_t seed, uint64_t epoch, uint64_t stream, const uint64_t *rest,
		  unsigned n_rest);

/* Which draws one transform makes for one position. */
struct draw_source {
	uint64_t seed, epoch, position;
	uint64_t field_hash; /* hash_text of the field's name */
	uint64_t path_hash;  /* hash_text of the transform's path, "2" */
};

uint64_t draw_number(const struct draw_source *from, uint64_t n);

double draw_unit(uint64_t u);				/* [0, 1) */
double draw_uniform(uint64_t u, double a, double b);	/* [a, b) */
uint64_t draw_below(uint64_t u, uint64_t m);		/* [0, m), m > 0 */
bool draw_event(uint64_t u, double p);
double draw_log_uniform(uint64_t u, double a, double b); /* [a, b], 0 < a <= b */

#endif
