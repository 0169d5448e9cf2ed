/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a worker does to photos, stage by stage, on given positions of the order: random_resized_crop
 * 224, flip, normalize, float16 or float32 CHW.
 *
 * bench-pixels PHOTO…; its first line of output is the name of the kernels in use. Commands on stdin:
 *   positions SEED N   N lines follow, "PHOTO EPOCH POSITION"; PHOTO counts from 0. Answers with a line
 *                      for each: the crop "X0 Y0 X1 Y1", or "- CAUSE"
 *   decode I N         decodes N crops from the I-th on, rows thrown away; answers with CPU seconds
 *   float16 I N        makes whole rows of that dtype; CPU seconds
 *   float32 I N        the same
 *   fast-float32 I N   the same with decode: {image: fast}
 *   hash               decodes all; a line for each: a hash of its pixels, or "-"
 */
#include "turn.h"

#include "decode/image.h"
#include "transform/kernels.h"
#include "transform/plan.h"
#include "worker/maker.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 224 };

struct sample {
	unsigned photo;
	uint64_t epoch, position;
	struct image_region region;
};

/* One way to make rows; the maker borrows the pipeline. */
struct way {
	struct pipeline pipeline;
	struct maker *maker;
};

struct bench {
	struct way ways[2][2]; /* [float32][fast] */
	struct image *image;
	struct arena arena;
	const struct photo *photos;
	unsigned n_photos;
	struct sample *samples;
	unsigned n;
	uint64_t seed;
	void *row;
};

static const struct field photo_field = {
	.name = "image",
	.decode = DECODE_IMAGE,
	.layout = LAYOUT_CHW,
	.n_dims = 3,
	.dims = {3, SIDE, SIDE},
	.n_steps = 3,
	.steps = {{.kind = STEP_RANDOM_RESIZED_CROP, .height = SIDE, .width = SIDE, .scale = {0.08, 1.0},
		   .ratio = {0.75, 4.0 / 3}, .interpolation = FILTER_BILINEAR},
		  {.kind = STEP_RANDOM_HORIZONTAL_FLIP, .p = 0.5},
		  {.kind = STEP_NORMALIZE, .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}}},
};
static const struct limits limits = {.max_pixels = 178956970, .max_scans = 100, .decode_memory = 64 << 20};

static void ignore_row(void *user, const uint8_t *rgb)
{
}

struct hashed {
	uint64_t h;
	size_t row_bytes;
};

static void hash_row(void *user, const uint8_t *rgb)
{
	struct hashed *to = user;

	to->h = turn_hash(to->h, rgb, to->row_bytes);
}

static enum cause open_photo(struct bench *b, const struct photo *p, struct image_info *ret)
{
	const struct image_source source = {p->bytes, p->n_bytes, &limits, false};

	arena_reset(&b->arena, limits.decode_memory);
	return image_open(b->image, &b->arena, &source, ret);
}

static enum cause plan_sample(struct bench *b, struct sample *s)
{
	struct image_info info;
	struct plan plan;
	enum cause cause = open_photo(b, &b->photos[s->photo], &info);

	if (cause != CAUSE_none)
		return cause;
	const struct plan_at at = {.seed = b->seed, .epoch = s->epoch, .position = s->position,
				   .width = info.width, .height = info.height, .orientation = 1};

	cause = plan_make(&photo_field, &at, &plan);
	if (cause == CAUSE_none)
		s->region = (struct image_region){plan.source.x0, plan.source.y0, plan.source.x1, plan.source.y1};
	return cause;
}

static void positions(struct bench *b, const char *line)
{
	unsigned long long seed;

	if (sscanf(line, "positions %llu %u", &seed, &b->n) != 2)
		turn_die(line);
	b->seed = seed;
	b->samples = turn_array(b->samples, b->n, sizeof(*b->samples));
	for (unsigned i = 0; i < b->n; i++) {
		struct sample *s = &b->samples[i];
		unsigned long long epoch, position;

		line = turn_line();
		if (!line || sscanf(line, "%u %llu %llu", &s->photo, &epoch, &position) != 3 ||
		    s->photo >= b->n_photos)
			turn_die("a position is not one");
		s->epoch = epoch;
		s->position = position;
	}
	for (unsigned i = 0; i < b->n; i++) {
		struct sample *s = &b->samples[i];
		const enum cause cause = plan_sample(b, s);

		if (cause == CAUSE_none)
			printf("%u %u %u %u\n", s->region.x0, s->region.y0, s->region.x1, s->region.y1);
		else
			printf("- %s\n", cause_name(cause));
	}
}

static double decode(struct bench *b, unsigned first, unsigned n)
{
	const double began = turn_cpu_seconds();
	struct image_info info;

	for (unsigned i = first; i < first + n; i++)
		if (open_photo(b, &b->photos[b->samples[i].photo], &info) == CAUSE_none)
			image_read(b->image, &b->samples[i].region, ignore_row, NULL);
	return turn_cpu_seconds() - began;
}

static double rows(struct bench *b, const struct way *way, unsigned first, unsigned n)
{
	const double began = turn_cpu_seconds();
	struct answer_sample answer;

	for (unsigned i = first; i < first + n; i++) {
		const struct photo *p = &b->photos[b->samples[i].photo];
		const struct maker_job job = {.seed = b->seed, .epoch = b->samples[i].epoch,
					      .position = b->samples[i].position, .payload = p->bytes,
					      .n_payload = p->n_bytes, .has_large = true, .first.row = b->row};

		maker_run(way->maker, &job, &answer);
	}
	return turn_cpu_seconds() - began;
}

static void hash(struct bench *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		const struct sample *s = &b->samples[i];
		struct hashed to = {HASH_BEGIN, 3 * (size_t)(s->region.x1 - s->region.x0)};
		struct image_info info;

		if (open_photo(b, &b->photos[s->photo], &info) == CAUSE_none &&
		    image_read(b->image, &s->region, hash_row, &to) == CAUSE_none)
			printf("%016llx\n", (unsigned long long)to.h);
		else
			puts("-");
	}
}

static void way_init(struct way *w, enum dtype dtype, bool is_fast)
{
	w->pipeline.n_fields = 1;
	w->pipeline.fields[0] = photo_field;
	w->pipeline.fields[0].dtype = dtype;
	w->pipeline.fields[0].is_fast = is_fast;
	w->pipeline.limits = limits;
	if (maker_new(&w->pipeline, 8 << 20, &w->maker) < 0)
		turn_die("out of memory");
}

static double timed(struct bench *b, const char *line)
{
	unsigned first, n;
	char command[16];

	if (sscanf(line, "%15s %u %u", command, &first, &n) != 3 || first > b->n || n > b->n - first)
		turn_die(line);
	if (strcmp(command, "decode") == 0)
		return decode(b, first, n);
	if (strcmp(command, "float16") == 0)
		return rows(b, &b->ways[0][false], first, n);
	if (strcmp(command, "float32") == 0)
		return rows(b, &b->ways[1][false], first, n);
	if (strcmp(command, "fast-float32") == 0)
		return rows(b, &b->ways[1][true], first, n);
	turn_die(line);
}

static void run(struct bench *b, const char *line)
{
	if (strncmp(line, "positions ", 10) == 0)
		positions(b, line);
	else if (strcmp(line, "hash") == 0)
		hash(b);
	else
		printf("%.6f\n", timed(b, line));
}

int main(int argc, char **argv)
{
	static struct bench b;
	char *line;

	b.n_photos = (unsigned)(argc - 1);
	b.photos = photos_load(argv + 1, b.n_photos);
	for (unsigned is_fast = 0; is_fast < 2; is_fast++) {
		way_init(&b.ways[0][is_fast], DTYPE_float16, is_fast);
		way_init(&b.ways[1][is_fast], DTYPE_float32, is_fast);
	}
	b.row = turn_array(NULL, field_row_bytes(&b.ways[1][0].pipeline.fields[0]), 1);
	if (image_new(&b.image) < 0 || arena_init(&b.arena, limits.decode_memory) < 0)
		turn_die("out of memory");
	puts(kernels_best()->name);
	while ((line = turn_line()))
		run(&b, line);
	for (unsigned i = 0; i < 4; i++)
		maker_free(b.ways[i / 2][i % 2].maker);
	image_free(b.image);
	arena_deinit(&b.arena);
	return 0;
}
