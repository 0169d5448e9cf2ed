/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Fuzzes every decoder of what is no image: any bytes give a row or a cause, and nothing is written behind the
 * row. Rows are as long as the field says, in memory of exactly that size. Forms and use as fuzz-tar.c.
 */
#include "base/classes.h"
#include "worker/maker.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static const struct field fields[] = {
	{.name = "i", .decode = DECODE_INTEGER, .dtype = DTYPE_int32},
	{.name = "f", .decode = DECODE_FLOAT, .dtype = DTYPE_float16},
	{.name = "j", .decode = DECODE_JSON, .dtype = DTYPE_bfloat16, .key = "a.1.b", .n_dims = 2, .dims = {2, 3}},
	{.name = "k", .decode = DECODE_JSON, .dtype = DTYPE_uint64},
	{.name = "r", .decode = DECODE_RAW, .dtype = DTYPE_bool, .n_dims = 1, .dims = {24}},
	{.name = "n", .decode = DECODE_NPY, .dtype = DTYPE_float32, .n_dims = 2, .dims = {2, 3}},
	{.name = "s", .decode = DECODE_NPY, .dtype = DTYPE_int8},
	{.name = "t", .decode = DECODE_TEXT, .dtype = DTYPE_uint8, .n_dims = 1, .dims = {40}},
	{.name = "b", .decode = DECODE_BYTES, .dtype = DTYPE_uint8, .n_dims = 1, .dims = {40}},
	{.name = "c", .decode = DECODE_TEXT, .dtype = DTYPE_uint8},
};
enum { N_FIELDS = sizeof(fields) / sizeof(*fields) };

static struct pipeline pipeline;
static struct maker *maker;

static void make(void)
{
	static const char names[] = "cat\ndog\n";
	struct reason why;

	memcpy(pipeline.fields, fields, sizeof(fields));
	pipeline.n_fields = N_FIELDS;
	pipeline.limits = (struct limits){.max_pixels = 1 << 20, .max_scans = 20, .decode_memory = 1 << 20};
	if (classes_new(names, sizeof(names) - 1, &pipeline.fields[N_FIELDS - 1].classes, &why) != 0 ||
	    maker_new(&pipeline, 1 << 16, &maker) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (!maker)
		make();
	for (unsigned i = 0; i < N_FIELDS; i++) {
		const struct field *f = &pipeline.fields[i];
		struct answer_sample answer;
		int64_t length = -1;
		struct maker_job job = {.field = i, .payload = bytes, .n_payload = n, .has_large = true,
					.first.row = malloc(field_row_bytes(f))};

		if (field_is_ragged(f))
			job.first.length = &length;
		if (!job.first.row)
			abort();
		maker_run(maker, &job, &answer);
		if (answer.code != ANSWER_DONE && answer.code != ANSWER_BAD)
			abort();
		if ((answer.code == ANSWER_DONE) != (answer.cause == CAUSE_none))
			abort();
		if (answer.code == ANSWER_DONE && field_is_ragged(f) && length != (int64_t)n)
			abort();
		if (!memchr(answer.detail, 0, sizeof(answer.detail)))
			abort();
		for (const char *c = answer.detail; *c; c++)
			if (*c < 0x20 || *c > 0x7e)
				abort();
		free(job.first.row);
	}
	return 0;
}
