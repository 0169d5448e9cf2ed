/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What each of the 256 values of each channel becomes: scaled, normalised in float32 in torchvision's
 * order of operations, rounded once to the dtype. The table is the truth. Beside it stand formulas for
 * machines that compute faster than they look up, each used only where it was found to give the same
 * bits for all 256 values of all channels.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TRANSFORM_TABLE_H
#define TRANSFORM_TABLE_H

#include "base/pipeline.h"

#include <stdint.h>

/* How a value v of channel c may be computed, in float32, before the rounding to the dtype. */
enum value_form {
	/* fma(v, slope, offset) */
	FORM_FMA,
	/* x = v * up; x = fma(fma(-x, down, v), again, x); y = x - mean; z = y * up_std; z = fma(fma(-z, std, y), up_std, z):
	 * two divisions, each a multiplication and one correction (Markstein's) */
	FORM_DIVIDE,
	/* no formula: look it up */
	FORM_LOOKUP,
};

struct value_formula {
	enum value_form form;
	float slope[3], offset[3];		   /* FORM_FMA */
	float up, down, again;			   /* FORM_DIVIDE */
	float mean[3], std[3], up_std[3];	   /* FORM_DIVIDE */
};

struct value_table {
	enum dtype dtype;
	unsigned n_value; /* bytes of a value */
	uint8_t to8[3][256]; /* each value itself */
	uint16_t to16[3][256];
	uint32_t to32[3][256];
	/* The same, one byte of each value apart: bytes[c][k][v] is byte k of what v becomes. */
	uint8_t bytes[3][4][256];
	struct value_formula formula; /* FORM_LOOKUP for 8 bits */
};

/* Fills the table for the field's scale, normalize steps and dtype. */
void table_make(const struct field *f, struct value_table *ret);

/* One rounding, to nearest even, as NumPy's and ml_dtypes' astype. */
uint16_t table_float16(float value);
uint16_t table_bfloat16(float value);

#endif
