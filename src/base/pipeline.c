/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Tables from the .def files; a name is written in exactly one place. */
#include "base/pipeline.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *name;
	size_t n_bytes;
} dtypes[] = {
#define DTYPE(name, n_bytes) {#name, n_bytes},
#include "base/dtypes.def"
#undef DTYPE
};

static const struct {
	const char *name, *text;
	bool is_doubtful;
} causes[] = {
#define DOUBTFUL true
#define CERTAIN false
#define CAUSE(name, kind, text) {#name, text, kind},
#include "base/causes.def"
#undef CAUSE
#undef CERTAIN
#undef DOUBTFUL
};

static const char *const step_names[STEP_COUNT] = {
	[STEP_RESIZE] = "resize",
	[STEP_CENTER_CROP] = "center_crop",
	[STEP_RANDOM_CROP] = "random_crop",
	[STEP_RANDOM_RESIZED_CROP] = "random_resized_crop",
	[STEP_PAD] = "pad",
	[STEP_RANDOM_HORIZONTAL_FLIP] = "random_horizontal_flip",
	[STEP_RANDOM_VERTICAL_FLIP] = "random_vertical_flip",
	[STEP_GRAYSCALE] = "grayscale",
	[STEP_NORMALIZE] = "normalize",
};

static const char *const filter_names[] = {
	[FILTER_NEAREST] = "nearest",	[FILTER_BOX] = "box",	      [FILTER_BILINEAR] = "bilinear",
	[FILTER_HAMMING] = "hamming", [FILTER_BICUBIC] = "bicubic", [FILTER_LANCZOS] = "lanczos",
};

size_t dtype_bytes(enum dtype dtype)
{
	assert(dtype < DTYPE_COUNT);
	return dtypes[dtype].n_bytes;
}

const char *dtype_name(enum dtype dtype)
{
	assert(dtype < DTYPE_COUNT);
	return dtypes[dtype].name;
}

bool dtype_is_for_images(enum dtype dtype)
{
	return dtype == DTYPE_uint8 || dtype == DTYPE_float16 || dtype == DTYPE_bfloat16 ||
	       dtype == DTYPE_float32;
}

int dtype_parse(const char *name)
{
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (strcmp(name, dtypes[i].name) == 0)
			return i;
	return -1;
}

const char *cause_name(enum cause cause)
{
	assert(cause < CAUSE_COUNT);
	return causes[cause].name;
}

const char *cause_text(enum cause cause)
{
	assert(cause < CAUSE_COUNT);
	return causes[cause].text;
}

bool cause_is_doubtful(enum cause cause)
{
	assert(cause < CAUSE_COUNT);
	return causes[cause].is_doubtful;
}

const char *step_name(enum step_kind kind)
{
	assert(kind < STEP_COUNT);
	return step_names[kind];
}

const char *filter_name(enum filter filter)
{
	return filter_names[filter];
}

bool field_is_ragged(const struct field *f)
{
	return (f->decode == DECODE_TEXT || f->decode == DECODE_BYTES) && !f->classes;
}

size_t field_row_bytes(const struct field *f)
{
	size_t n = dtype_bytes(f->dtype);

	for (unsigned i = 0; i < f->n_dims; i++)
		n *= f->dims[i];
	return n;
}
