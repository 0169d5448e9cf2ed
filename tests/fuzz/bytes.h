/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * An input read as a script: bytes one after the other, zeros once they are used up, and messages of the protocol that
 * are as they should be but for what the script says.
 */
#ifndef FUZZ_BYTES_H
#define FUZZ_BYTES_H

#include <string.h>

#include "fuzz.h"

struct script {
	const uint8_t *at, *end;
};

static inline bool script_is_over(const struct script *s)
{
	return s->at == s->end;
}

static inline uint8_t script_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static inline uint16_t script_pair(struct script *s)
{
	const uint8_t first = script_byte(s);

	return (uint16_t)(first | script_byte(s) << 8);
}

/* The script's next n bytes, or as many as there are: returns how many. */
static inline size_t script_take(struct script *s, size_t n, const uint8_t **ret)
{
	const size_t n_left = (size_t)(s->end - s->at);

	*ret = s->at;
	n = n < n_left ? n : n_left;
	s->at += n;
	return n;
}

/* How many places differ, and then of each: where, and what stands there. */
static inline void script_change(struct script *s, void *message, size_t n)
{
	for (unsigned n_places = script_byte(s) % 16; n_places > 0; n_places--) {
		const size_t at = script_pair(s);

		((uint8_t *)message)[at % n] = script_byte(s);
	}
}

#endif
