/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Fuzzes the whole pixel path: any bytes give a row or a cause, never a crash, a leak or memory past the
 * limits, and the same bytes give the same answer whatever the arena held before (under the address
 * sanitizer it holds other bytes each time). As views of one feed, each gives the same row alone and with the
 * others, and all are good or none. Which of them an input runs alone and which it begins with, its hash says: there
 * is more in many inputs than in much work on each. A picture that is good is not called bad for want of memory.
 */
#include "base/hash.h"
#include "worker/maker.h"

#include "fuzz.h"

#include <string.h>

enum { SIDE = 24, N_PIPELINES = 4 };

static struct pipeline pipelines[N_PIPELINES];
static struct maker *makers[N_PIPELINES];
static struct maker *family; /* with all of them as views */

static const struct step steps[N_PIPELINES][2] = {
	{{.kind = STEP_RANDOM_RESIZED_CROP, .height = SIDE, .width = SIDE, .scale = {0.08, 1.0},
	  .ratio = {0.75, 1.3333}, .interpolation = FILTER_BILINEAR},
	 {.kind = STEP_RANDOM_HORIZONTAL_FLIP, .p = 0.5}},
	{{.kind = STEP_RESIZE, .height = SIDE, .interpolation = FILTER_LANCZOS},
	 {.kind = STEP_CENTER_CROP, .height = SIDE, .width = SIDE}},
	{{.kind = STEP_CENTER_CROP, .height = 300, .width = 300},
	 {.kind = STEP_RESIZE, .height = SIDE, .width = SIDE, .interpolation = FILTER_NEAREST}},
	{{.kind = STEP_RANDOM_CROP, .height = SIDE, .width = SIDE, .padding = {8, 8, 8, 8}, .fill = 9},
	 {.kind = STEP_RANDOM_HORIZONTAL_FLIP, .p = 0.5}},
};

static void make_all(void)
{
	struct maker_view views[N_PIPELINES];

	for (int i = 0; i < N_PIPELINES; i++) {
		struct field *f = &pipelines[i].fields[0];

		pipelines[i].n_fields = 1;
		pipelines[i].limits = (struct limits){.max_pixels = 1 << 20, .max_scans = 20,
						      .decode_memory = 16 << 20};
		*f = (struct field){.name = "image", .decode = DECODE_IMAGE, .has_exif = true,
				    .dtype = i % 2 ? DTYPE_uint8 : DTYPE_float16, .layout = LAYOUT_CHW,
				    .pass_order = i == 1 ? PASS_PILLOW13 : PASS_PILLOW, .n_dims = 3,
				    .dims = {3, SIDE, SIDE}, .n_steps = 2};
		memcpy(f->steps, steps[i], sizeof(steps[i]));
		views[i] = (struct maker_view){&pipelines[i], i ? "other" : NULL};
		CHECK(maker_new(&pipelines[i], 4 << 20, &makers[i]) == 0);
	}
	CHECK(maker_new_views(views, N_PIPELINES, 4 << 20, &family) == 0);
}

static void run(int i, const uint8_t *bytes, size_t n, uint8_t *row, struct answer_sample *ret)
{
	const struct maker_job job = {.position = n, .payload = bytes, .n_payload = n, .has_large = true,
				      .first.row = row};

	memset(row, 0, 3 * SIDE * SIDE * 2);
	maker_run(makers[i], &job, ret);
	CHECK(ret->code == ANSWER_DONE || ret->code == ANSWER_BAD);
	CHECK((ret->code == ANSWER_DONE) == (ret->cause == CAUSE_none));
}

/* View i alone, then each view once, i first; the rows are those that lone makers give. */
static void run_views(unsigned i, const uint8_t *bytes, size_t n)
{
	static uint8_t rows[1 + N_PIPELINES][3 * SIDE * SIDE * 2], alone[3 * SIDE * SIDE * 2];
	struct maker_target targets[N_PIPELINES];
	struct maker_job job = {.position = n, .payload = bytes, .n_payload = n, .has_large = true,
				.first = {.view = i, .row = rows[N_PIPELINES]}};
	struct answer_sample one, all, lone;

	memset(rows, 0, sizeof(rows));
	maker_run(family, &job, &one);
	for (unsigned k = 0; k < N_PIPELINES; k++)
		targets[k] = (struct maker_target){.view = (i + k) % N_PIPELINES, .row = rows[(i + k) % N_PIPELINES]};
	job.first = targets[0];
	job.more = targets + 1;
	job.n_more = N_PIPELINES - 1;
	maker_run(family, &job, &all);
	CHECK(memcmp(&one, &all, sizeof(one)) == 0);
	if (one.code != ANSWER_DONE)
		return;
	run((int)i, bytes, n, alone, &lone);
	CHECK(lone.code == ANSWER_DONE && memcmp(alone, rows[i], sizeof(alone)) == 0 &&
	      memcmp(alone, rows[N_PIPELINES], sizeof(alone)) == 0);
}

static void starve_maker(void)
{
	struct maker *other = NULL;
	int r = maker_new(&pipelines[0], 4 << 20, &other);

	CHECK(r == 0 || starve_explains(r));
	maker_free(other);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	static uint8_t rows[2][3 * SIDE * SIDE * 2];
	const int i = (int)(hash_bytes(bytes, n) % N_PIPELINES);
	struct answer_sample answers[2];
	uint32_t w, h;

	if (!makers[0])
		make_all();
	starve_maker();
	starve_pause();
	run(i, bytes, n, rows[0], &answers[0]);
	starve_resume();
	run(i, bytes, n, rows[1], &answers[1]);
	CHECK(memcmp(&answers[0], &answers[1], sizeof(answers[0])) == 0);
	CHECK(answers[0].code != ANSWER_DONE || memcmp(rows[0], rows[1], sizeof(rows[0])) == 0);
	run_views((unsigned)i, bytes, n);
	maker_image_size(&pipelines[0].fields[0], bytes, n, &w, &h);
}
