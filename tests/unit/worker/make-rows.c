/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Makes rows on request, for the tests in tests/python that compare them with Pillow's. Reads lines on
 * stdin and writes answers on stdout until stdin ends:
 *
 *   field DTYPE LAYOUT SCALE PASSES EXIF FAST HEIGHT WIDTH   a new pipeline of one field "image" of that shape
 *   integer DTYPE                                       the same with an integer field
 *   value KIND DTYPE KEY DIMS…                         a field of enum decode_kind KIND; KEY "-": none
 *   step NAME …                                         one more transform, its numbers in the order below
 *   limits MAX_PIXELS MAX_SCANS DECODE_MEMORY SCRATCH
 *   draws SEED EPOCH POSITION WIDTH HEIGHT              answers with one line of text
 *   size PATH                                           answers "CAUSE WIDTH HEIGHT"
 *   run SEED EPOCH POSITION HAS_LARGE PATH              answers "CODE CAUSE WARNINGS BYTES DETAIL", then the bytes
 */
#include "worker/maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pipeline pipeline;
static struct maker *maker;
static size_t scratch;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "make-rows: %s\n", what);
	exit(2);
}

static enum filter filter_parse(const char *name)
{
	for (int i = 0; i <= FILTER_LANCZOS; i++)
		if (strcmp(filter_name((enum filter)i), name) == 0)
			return (enum filter)i;
	die("unknown filter");
}

static void set_field(const char *line)
{
	char dtype[16], layout[8], scale[16], passes[16];
	struct field *f = &pipeline.fields[0];
	unsigned exif, fast, h, w;

	if (sscanf(line, "field %15s %7s %15s %15s %u %u %u %u", dtype, layout, scale, passes, &exif, &fast, &h, &w) != 8)
		die(line);
	*f = (struct field){.name = "image", .decode = DECODE_IMAGE, .n_dims = 3, .has_exif = exif, .is_fast = fast,
			    .dtype = (enum dtype)dtype_parse(dtype),
			    .layout = strcmp(layout, "chw") == 0 ? LAYOUT_CHW : LAYOUT_HWC,
			    .scale = strcmp(scale, "divide") == 0	? SCALE_DIVIDE
				     : strcmp(scale, "reciprocal") == 0 ? SCALE_RECIPROCAL
									: SCALE_NONE,
			    .pass_order = strcmp(passes, "pillow13") == 0 ? PASS_PILLOW13 : PASS_PILLOW};
	f->dims[0] = f->layout == LAYOUT_CHW ? 3 : h;
	f->dims[1] = f->layout == LAYOUT_CHW ? h : w;
	f->dims[2] = f->layout == LAYOUT_CHW ? w : 3;
	pipeline.n_fields = 1;
}

static void add_step(const char *line)
{
	struct field *f = &pipeline.fields[0];
	struct step *s = &f->steps[f->n_steps++];
	char name[32], filter[16] = "bilinear";
	const char *rest;
	unsigned fill = 0;
	int n = 0, ok = 1;

	if (f->n_steps > STEPS_MAX || sscanf(line, "step %31s%n", name, &n) != 1)
		die(line);
	rest = line + n;
	*s = (struct step){0};
	if (strcmp(name, "resize") == 0) {
		s->kind = STEP_RESIZE;
		ok = sscanf(rest, "%u %u %15s", &s->height, &s->width, filter) == 3;
	} else if (strcmp(name, "center_crop") == 0) {
		s->kind = STEP_CENTER_CROP;
		ok = sscanf(rest, "%u %u", &s->height, &s->width) == 2;
	} else if (strcmp(name, "random_crop") == 0) {
		s->kind = STEP_RANDOM_CROP;
		ok = sscanf(rest, "%u %u %u %u %u %u %u", &s->height, &s->width, &s->padding[0],
			    &s->padding[1], &s->padding[2], &s->padding[3], &fill) == 7;
		s->fill = (uint8_t)fill;
	} else if (strcmp(name, "random_resized_crop") == 0) {
		s->kind = STEP_RANDOM_RESIZED_CROP;
		ok = sscanf(rest, "%u %u %lf %lf %lf %lf %15s", &s->height, &s->width, &s->scale[0],
			    &s->scale[1], &s->ratio[0], &s->ratio[1], filter) == 7;
	} else if (strcmp(name, "random_horizontal_flip") == 0) {
		s->kind = STEP_RANDOM_HORIZONTAL_FLIP;
		ok = sscanf(rest, "%lf", &s->p) == 1;
	} else if (strcmp(name, "random_vertical_flip") == 0) {
		s->kind = STEP_RANDOM_VERTICAL_FLIP;
		ok = sscanf(rest, "%lf", &s->p) == 1;
	} else if (strcmp(name, "grayscale") == 0) {
		s->kind = STEP_GRAYSCALE;
	} else if (strcmp(name, "pad") == 0) {
		s->kind = STEP_PAD;
		ok = sscanf(rest, "%u %u %u %u %u", &s->padding[0], &s->padding[1], &s->padding[2],
			    &s->padding[3], &fill) == 5;
		s->fill = (uint8_t)fill;
	} else if (strcmp(name, "normalize") == 0) {
		s->kind = STEP_NORMALIZE;
		ok = sscanf(rest, "%f %f %f %f %f %f", &s->mean[0], &s->mean[1], &s->mean[2], &s->std[0],
			    &s->std[1], &s->std[2]) == 6;
	} else {
		ok = 0;
	}
	if (!ok)
		die(line);
	s->interpolation = filter_parse(filter);
}

static unsigned char *read_whole(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "rb");
	unsigned char *bytes = NULL;
	long n = -1;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (n = ftell(f)) < 0)
		die(path);
	rewind(f);
	bytes = malloc((size_t)n + 1);
	if (!bytes || fread(bytes, 1, (size_t)n, f) != (size_t)n)
		die(path);
	fclose(f);
	*ret_n = (size_t)n;
	return bytes;
}

static void run(const char *line)
{
	unsigned long long seed, epoch, position;
	struct answer_sample answer;
	struct maker_job job = {0};
	unsigned char *bytes, *row;
	size_t n_bytes, n_row = field_row_bytes(&pipeline.fields[0]);
	unsigned has_large;
	int n = 0;

	if (sscanf(line, "run %llu %llu %llu %u %n", &seed, &epoch, &position, &has_large, &n) != 4)
		die(line);
	if (!maker && maker_new(&pipeline, scratch, &maker) < 0)
		die("maker_new failed");
	bytes = read_whole(line + n, &n_bytes);
	row = calloc(1, n_row);
	if (!row)
		die("no memory");
	job.seed = seed;
	job.epoch = epoch;
	job.position = position;
	job.payload = bytes;
	job.n_payload = n_bytes;
	job.has_large = has_large;
	job.row = row;
	maker_run(maker, &job, &answer);
	n_row = answer.code == ANSWER_DONE ? n_row : 0;
	printf("%u %s %u %zu %s\n", answer.code, cause_name(answer.cause), answer.n_warnings, n_row,
	       answer.detail);
	fwrite(row, 1, n_row, stdout);
	free(row);
	free(bytes);
}

static void image_size(const char *path)
{
	uint32_t w = 0, h = 0;
	size_t n;
	unsigned char *bytes = read_whole(path, &n);

	printf("%s ", cause_name(maker_image_size(&pipeline.fields[0], bytes, n, &w, &h)));
	printf("%u %u\n", w, h);
	free(bytes);
}

static void draws(const char *line)
{
	unsigned long long seed, epoch, position;
	char text[1000];
	unsigned w, h;

	if (sscanf(line, "draws %llu %llu %llu %u %u", &seed, &epoch, &position, &w, &h) != 5)
		die(line);
	maker_draws(&pipeline, 0, seed, epoch, position, w, h, text, sizeof(text));
	printf("%s\n", text);
}

static void set_limits(const char *line)
{
	unsigned long long pixels, scratch_bytes, memory;
	unsigned scans;

	if (sscanf(line, "limits %llu %u %llu %llu", &pixels, &scans, &memory, &scratch_bytes) != 4)
		die(line);
	pipeline.limits = (struct limits){.max_pixels = pixels, .max_scans = scans, .decode_memory = memory};
	scratch = scratch_bytes;
}

static void set_integer(const char *line)
{
	char dtype[16];

	if (sscanf(line, "integer %15s", dtype) != 1)
		die(line);
	pipeline.fields[0] = (struct field){.name = "label", .decode = DECODE_INTEGER,
					    .dtype = (enum dtype)dtype_parse(dtype)};
	pipeline.n_fields = 1;
}

static void set_value(const char *line)
{
	char dtype[16], key[KEY_BYTES];
	struct field *f = &pipeline.fields[0];
	unsigned kind, n_read;
	int n = 0, more;

	if (sscanf(line, "value %u %15s %127s%n", &kind, dtype, key, &n) != 3)
		die(line);
	*f = (struct field){.name = "value", .decode = (enum decode_kind)kind,
			    .dtype = (enum dtype)dtype_parse(dtype)};
	if (strcmp(key, "-") != 0)
		memcpy(f->key, key, sizeof(key));
	while (f->n_dims < DIMS_MAX && sscanf(line + n, "%u%n", &n_read, &more) == 1) {
		f->dims[f->n_dims++] = n_read;
		n += more;
	}
	pipeline.n_fields = 1;
}

int main(void)
{
	char line[4096];

	pipeline.limits = (struct limits){.max_pixels = 178956970, .max_scans = 100,
					  .decode_memory = 64 << 20};
	scratch = 4 << 20;
	while (fgets(line, sizeof(line), stdin)) {
		const bool is_run = strncmp(line, "run ", 4) == 0;

		line[strcspn(line, "\n")] = '\0';
		if (is_run) {
			run(line);
			fflush(stdout);
			continue;
		}
		if (strncmp(line, "draws ", 6) == 0) {
			draws(line);
			fflush(stdout);
			continue;
		}
		if (strncmp(line, "size ", 5) == 0) {
			image_size(line + 5);
			fflush(stdout);
			continue;
		}
		maker = maker_free(maker); /* the pipeline is about to change */
		if (strncmp(line, "field ", 6) == 0)
			set_field(line);
		else if (strncmp(line, "integer ", 8) == 0)
			set_integer(line);
		else if (strncmp(line, "value ", 6) == 0)
			set_value(line);
		else if (strncmp(line, "step ", 5) == 0)
			add_step(line);
		else if (strncmp(line, "limits ", 7) == 0)
			set_limits(line);
		else
			die(line);
	}
	maker_free(maker);
	return 0;
}
