/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One axis of a resize as a table: which inputs each output mixes and with what weights, in Pillow's
 * fixed point (22 fraction bits). nearest has one input of weight one.
 *
 * Every output of a table has the same number of taps, so that inner loops have no surprises: short
 * ones are filled with weights of zero, moved left where they would leave the inputs.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TRANSFORM_TAPS_H
#define TRANSFORM_TAPS_H

#include "base/arena.h"
#include "base/pipeline.h"

#include <stddef.h>
#include <stdint.h>

enum { TAPS_BITS = 22 };

struct taps {
	uint32_t first_out, n_out; /* the outputs that are wanted */
	uint32_t first_in, end_in; /* the inputs they need */
	uint32_t n_taps;	   /* of every output */
	uint32_t *at;		   /* n_out: first input of the output, counted from first_in */
	int32_t *weights;	   /* n_out x n_taps */
};

struct taps_axis {
	enum filter filter;
	uint32_t n_in, n_out;	     /* of the whole axis */
	double box_from, box_to;     /* the part of the inputs that the outputs cover, 0 and n_in for all;
				      * what lies outside counts for nothing. nearest: all. */
	uint32_t first_out, end_out; /* the outputs that are wanted */
};

/* Would a pass over the axis change nothing? */
bool taps_are_idle(const struct taps_axis *axis);
/* The inputs [ret_from, ret_to) that the wanted outputs need. */
void taps_need(const struct taps_axis *axis, uint32_t *ret_from, uint32_t *ret_to);

/* Makes the table in the arena, for an axis that is not idle or for nearest. false: the arena is too small. */
bool taps_make(const struct taps_axis *axis, struct arena *arena, struct taps *ret);

#endif
