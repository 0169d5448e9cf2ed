/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What one sample becomes: the words that the config fills in and that transform, batch, core and
 * worker read. Plain data of fixed size; its one pointer, to names of classes, is inherited by workers.
 *
 * Names are torchvision.transforms.v2's and NumPy's.
 */
#ifndef BASE_PIPELINE_H
#define BASE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FIELDS_MAX = 16,     /* fields of a feed */
	FIELD_NAME_MAX = 64, /* with the closing zero */
	EXTENSIONS_MAX = 8,  /* extensions one field accepts */
	EXTENSION_MAX = 32,
	STEPS_MAX = 16, /* transforms of one field */
	DIMS_MAX = 4,	/* dimensions of one sample of a field */
	KEY_BYTES = 128, /* of a path into a JSON document, with the closing zero */
};

enum dtype {
#define DTYPE(name, n_bytes) DTYPE_##name,
#include "base/dtypes.def"
#undef DTYPE
	DTYPE_COUNT
};

enum cause {
#define CAUSE(name, kind, text) CAUSE_##name,
#include "base/causes.def"
#undef CAUSE
	CAUSE_COUNT
};

enum filter { FILTER_NEAREST, FILTER_BOX, FILTER_BILINEAR, FILTER_HAMMING, FILTER_BICUBIC, FILTER_LANCZOS };
enum layout { LAYOUT_CHW, LAYOUT_HWC };
enum decode_kind { DECODE_IMAGE, DECODE_INTEGER, DECODE_FLOAT, DECODE_JSON, DECODE_RAW, DECODE_NPY,
		   DECODE_TEXT, DECODE_BYTES };
/* Where a field's bytes come from: a member of the sample, its key, or the path of its shard. */
enum field_source { SOURCE_MEMBER, SOURCE_KEY, SOURCE_URL };
enum scale_kind { SCALE_DIVIDE, SCALE_RECIPROCAL, SCALE_NONE };
enum pass_order { PASS_PILLOW, PASS_PILLOW13 };

enum step_kind {
	STEP_RESIZE,
	STEP_CENTER_CROP,
	STEP_RANDOM_CROP,
	STEP_RANDOM_RESIZED_CROP,
	STEP_PAD,
	STEP_RANDOM_HORIZONTAL_FLIP,
	STEP_RANDOM_VERTICAL_FLIP,
	STEP_GRAYSCALE,
	STEP_NORMALIZE,
	STEP_COUNT
};

/* One transform with its parameters; what a kind does not have is zero. */
struct step {
	enum step_kind kind;
	uint32_t height, width; /* size; resize with width 0: the short side becomes height */
	double scale[2], ratio[2];
	double p;
	float mean[3], std[3];
	enum filter interpolation;
	uint32_t padding[4]; /* random_crop, pad: left, top, right, bottom */
	uint8_t fill;	     /* what the padding holds */
	uint8_t n_channels;  /* grayscale: 3 */
};

struct classes;

struct field {
	char name[FIELD_NAME_MAX];
	char extensions[EXTENSIONS_MAX][EXTENSION_MAX]; /* lower case, in order of preference */
	unsigned n_extensions; /* 0 unless source is SOURCE_MEMBER */
	enum field_source source;
	enum decode_kind decode;
	bool is_fast;	/* decode: {image: fast} */
	bool has_exif;	/* decode: {image: …, exif: true} */
	enum scale_kind scale;
	enum pass_order pass_order;
	enum dtype dtype;
	enum layout layout;
	struct step steps[STEPS_MAX];
	unsigned n_steps;
	char key[KEY_BYTES]; /* decode: json: "a.b.0"; "": the whole document */
	uint64_t max_bytes;   /* decode: text, bytes */
	struct classes *classes; /* decode: text; the config's, or NULL */
	/* Of one sample: {3, h, w}, {h, w, 3}, what shape says, {max} for a ragged field, or none for a scalar. */
	unsigned n_dims;
	uint32_t dims[DIMS_MAX];
};

/* What makes a sample bad, whatever the machine. */
struct limits {
	uint64_t max_pixels;
	uint32_t max_scans;
	uint64_t decode_memory; /* bytes */
};

struct pipeline {
	struct field fields[FIELDS_MAX];
	unsigned n_fields;
	struct limits limits;
};

size_t dtype_bytes(enum dtype dtype);
const char *dtype_name(enum dtype dtype);
/* The dtypes that images can have: uint8, float16, bfloat16, float32. */
bool dtype_is_for_images(enum dtype dtype);
/* The dtype of that name, or -1. */
int dtype_parse(const char *name);
const char *cause_name(enum cause cause);
const char *cause_text(enum cause cause);
/* Other bytes in its place might have been good. */
bool cause_is_doubtful(enum cause cause);
const char *step_name(enum step_kind kind);
const char *filter_name(enum filter filter);
/* Rows of different length: dims[0] bytes of room for each, and an int64 with the length beside it. */
bool field_is_ragged(const struct field *f);
/* Bytes of one sample of the field in a batch, its length not counted. */
size_t field_row_bytes(const struct field *f);

#endif
