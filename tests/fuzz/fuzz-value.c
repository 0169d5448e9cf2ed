/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Fuzzes every decoder of what is no image: any bytes give a row or a cause, and nothing is written behind the
 * row. Rows are as long as the field says, in memory of exactly that size. A good value is not called bad for want of
 * memory, and a maker that cannot be made says so.
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
	CHECK(classes_new(names, sizeof(names) - 1, &pipeline.fields[N_FIELDS - 1].classes, &why) == 0);
	CHECK(maker_new(&pipeline, 1 << 16, &maker) == 0);
}

static void starve_maker(void)
{
	struct maker *other = NULL;
	int r = maker_new(&pipeline, 1 << 16, &other);

	CHECK(r == 0 || starve_explains(r));
	maker_free(other);
}

static void run(unsigned i, const uint8_t *bytes, size_t n, struct answer_sample *ret)
{
	const struct field *f = &pipeline.fields[i];
	int64_t length = -1;
	struct maker_job job = {.field = i, .payload = bytes, .n_payload = n, .has_large = true,
				.first.row = starve_own(field_row_bytes(f))};

	if (field_is_ragged(f))
		job.first.length = &length;
	maker_run(maker, &job, ret);
	CHECK(ret->code == ANSWER_DONE || ret->code == ANSWER_BAD);
	CHECK((ret->code == ANSWER_DONE) == (ret->cause == CAUSE_none));
	CHECK(ret->code != ANSWER_DONE || !field_is_ragged(f) || length == (int64_t)n);
	CHECK(memchr(ret->detail, 0, sizeof(ret->detail)));
	for (const char *c = ret->detail; *c; c++)
		CHECK(*c >= 0x20 && *c <= 0x7e);
	free(job.first.row);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	struct answer_sample full, answer;

	if (!maker)
		make();
	starve_maker();
	for (unsigned i = 0; i < N_FIELDS; i++) {
		starve_pause();
		run(i, bytes, n, &full);
		starve_resume();
		run(i, bytes, n, &answer);
		CHECK(memcmp(&full, &answer, sizeof(full)) == 0);
	}
}
