/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * How many photos a CPU second makes: the region decode alone (what the crop needs, rows thrown away),
 * and the whole row (random_resized_crop 224, flip, normalize, float32 CHW). Both on the same crops,
 * in turns, CPU time of this thread. Usage: bench-pixels ROUNDS FILE…; prints "decode N" and "row N"
 * lines, photos per CPU second of one round each.
 */
#include "decode/image.h"
#include "transform/plan.h"
#include "worker/maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SIDE = 224 };

struct photo {
	unsigned char *bytes;
	size_t n_bytes;
};

static struct pipeline pipeline = {
	.n_fields = 1,
	.limits = {.max_pixels = 178956970, .max_scans = 100, .decode_memory = 64 << 20},
	.fields = {{.name = "image",
		    .decode = DECODE_IMAGE,
		    .dtype = DTYPE_float32,
		    .layout = LAYOUT_CHW,
		    .n_dims = 3,
		    .dims = {3, SIDE, SIDE},
		    .n_steps = 3,
		    .steps = {{.kind = STEP_RANDOM_RESIZED_CROP, .height = SIDE, .width = SIDE,
			       .scale = {0.08, 1.0}, .ratio = {0.75, 4.0 / 3}, .interpolation = FILTER_BILINEAR},
			      {.kind = STEP_RANDOM_HORIZONTAL_FLIP, .p = 0.5},
			      {.kind = STEP_NORMALIZE, .mean = {0.485f, 0.456f, 0.406f},
			       .std = {0.229f, 0.224f, 0.225f}}}}},
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void ignore_row(void *user, const uint8_t *rgb)
{
}

static void decode_region(struct image *image, struct arena *arena, const struct photo *p, uint64_t position)
{
	const struct image_source source = {p->bytes, p->n_bytes, &pipeline.limits, false};
	struct image_info info;
	struct plan plan;

	arena_reset(arena, pipeline.limits.decode_memory);
	if (image_open(image, arena, &source, &info) != CAUSE_none)
		return;
	const struct plan_at at = {.position = position, .width = info.width, .height = info.height,
				   .orientation = 1};
	if (plan_make(&pipeline.fields[0], &at, &plan) != CAUSE_none)
		return;
	const struct image_region region = {plan.source.x0, plan.source.y0, plan.source.x1, plan.source.y1};
	image_read(image, &region, ignore_row, NULL);
}

static void make_row(struct maker *maker, const struct photo *p, uint64_t position, void *row)
{
	const struct maker_job job = {.position = position, .payload = p->bytes, .n_payload = p->n_bytes,
				      .has_large = true, .row = row};
	struct answer_sample answer;

	maker_run(maker, &job, &answer);
}

static int load(const char *path, struct photo *ret)
{
	FILE *f = fopen(path, "rb");
	long n;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (n = ftell(f)) < 0)
		return -1;
	rewind(f);
	ret->bytes = malloc((size_t)n + 1);
	ret->n_bytes = (size_t)n;
	if (!ret->bytes || fread(ret->bytes, 1, (size_t)n, f) != (size_t)n)
		return -1;
	fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	const int n_rounds = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0, n = argc - 2;
	struct photo *photos = calloc((size_t)argc, sizeof(*photos));
	void *row = malloc(field_row_bytes(&pipeline.fields[0]));
	struct maker *maker;
	struct arena arena;
	struct image *image;

	for (int i = 0; photos && i < n; i++)
		if (load(argv[2 + i], &photos[i]) < 0)
			return 1;
	if (n < 1 || !photos || !row || maker_new(&pipeline, 8 << 20, &maker) < 0 ||
	    image_new(&image) < 0 || arena_init(&arena, pipeline.limits.decode_memory) < 0)
		return 1;
	for (int round = 0; round < n_rounds; round++) {
		double t0 = cpu_seconds(), t1;

		for (int i = 0; i < n; i++)
			decode_region(image, &arena, &photos[i], (uint64_t)(round * n + i));
		t1 = cpu_seconds();
		printf("decode %.1f\n", n / (t1 - t0));
		for (int i = 0; i < n; i++)
			make_row(maker, &photos[i], (uint64_t)(round * n + i), row);
		printf("row %.1f\n", n / (cpu_seconds() - t1));
	}
	for (int i = 0; i < n; i++)
		free(photos[i].bytes);
	free(photos);
	free(row);
	image_free(image);
	arena_deinit(&arena);
	maker_free(maker);
	return 0;
}
