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
 *   view DTYPE LAYOUT SCALE PASSES HEIGHT WIDTH         another view of the field or, with layout "-", of the integer;
 *                                                       steps that follow are its own
 *   limits MAX_PIXELS MAX_SCANS DECODE_MEMORY SCRATCH
 *   draws SEED EPOCH POSITION WIDTH HEIGHT              answers with one line of text
 *   size PATH                                           answers "CAUSE WIDTH HEIGHT"
 *   run SEED EPOCH POSITION HAS_LARGE TARGETS PATH      answers "CODE CAUSE WARNINGS BYTES DETAIL", then the bytes of
 *                                                       the rows; TARGETS: the view of each, 0 the first, "0,2,0"
 */
#include "worker/maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VIEWS_MAX = 8, TARGETS_MAX = 16 };

static struct pipeline pipelines[VIEWS_MAX];
static unsigned n_views = 1;
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

static enum scale_kind scale_parse(const char *name)
{
	return strcmp(name, "divide") == 0 ? SCALE_DIVIDE : strcmp(name, "reciprocal") == 0 ? SCALE_RECIPROCAL : SCALE_NONE;
}

static void set_shape(struct field *f, unsigned h, unsigned w)
{
	f->n_dims = 3;
	f->dims[0] = f->layout == LAYOUT_CHW ? 3 : h;
	f->dims[1] = f->layout == LAYOUT_CHW ? h : w;
	f->dims[2] = f->layout == LAYOUT_CHW ? w : 3;
}

static void set_field(const char *line)
{
	char dtype[16], layout[8], scale[16], passes[16];
	struct field *f = &pipelines[0].fields[0];
	unsigned exif, fast, h, w;

	if (sscanf(line, "field %15s %7s %15s %15s %u %u %u %u", dtype, layout, scale, passes, &exif, &fast, &h, &w) != 8)
		die(line);
	*f = (struct field){.name = "image", .decode = DECODE_IMAGE, .has_exif = exif, .is_fast = fast,
			    .dtype = (enum dtype)dtype_parse(dtype),
			    .layout = strcmp(layout, "chw") == 0 ? LAYOUT_CHW : LAYOUT_HWC,
			    .scale = scale_parse(scale),
			    .pass_order = strcmp(passes, "pillow13") == 0 ? PASS_PILLOW13 : PASS_PILLOW};
	set_shape(f, h, w);
	pipelines[0].n_fields = n_views = 1;
}

static void add_view(const char *line)
{
	char dtype[16], layout[8], scale[16], passes[16];
	struct field *f = &pipelines[n_views].fields[0];
	unsigned h, w;

	if (n_views == VIEWS_MAX ||
	    sscanf(line, "view %15s %7s %15s %15s %u %u", dtype, layout, scale, passes, &h, &w) != 6)
		die(line);
	pipelines[n_views++] = pipelines[0];
	f->dtype = (enum dtype)dtype_parse(dtype);
	if (strcmp(layout, "-") == 0)
		return;
	f->n_steps = 0;
	f->layout = strcmp(layout, "chw") == 0 ? LAYOUT_CHW : LAYOUT_HWC;
	f->scale = scale_parse(scale);
	f->pass_order = strcmp(passes, "pillow13") == 0 ? PASS_PILLOW13 : PASS_PILLOW;
	set_shape(f, h, w);
}

static void add_step(const char *line)
{
	struct field *f = &pipelines[n_views - 1].fields[0];
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

static void make_maker(void)
{
	static char names[VIEWS_MAX][16];
	struct maker_view views[VIEWS_MAX];

	for (unsigned i = 0; i < n_views; i++) {
		snprintf(names[i], sizeof(names[i]), "v%u", i);
		pipelines[i].limits = pipelines[0].limits;
		views[i] = (struct maker_view){&pipelines[i], i ? names[i] : NULL};
	}
	if (maker_new_views(views, n_views, scratch, &maker) < 0)
		die("maker_new_views failed");
}

/* Fills in rows for "0,2,0"; returns how many. */
static unsigned take_targets(const char *text, struct maker_target *ret)
{
	unsigned n = 0;

	for (;; text++) {
		char *end;
		const unsigned long view = strtoul(text, &end, 10);

		if (end == text || view >= n_views || n == TARGETS_MAX)
			die("no such target");
		ret[n++] = (struct maker_target){.view = (unsigned)view,
						 .row = calloc(1, field_row_bytes(&pipelines[view].fields[0]))};
		text = end;
		if (*text != ',')
			return n;
	}
}

static void print_answer(const struct answer_sample *answer, const struct maker_target *targets, unsigned n)
{
	size_t n_bytes = 0;

	for (unsigned i = 0; i < n && answer->code == ANSWER_DONE; i++)
		n_bytes += field_row_bytes(&pipelines[targets[i].view].fields[0]);
	printf("%u %s %u %zu %s\n", answer->code, cause_name(answer->cause), answer->n_warnings, n_bytes,
	       answer->detail);
	for (unsigned i = 0; i < n; i++) {
		if (answer->code == ANSWER_DONE)
			fwrite(targets[i].row, 1, field_row_bytes(&pipelines[targets[i].view].fields[0]), stdout);
		free(targets[i].row);
	}
}

static void run(const char *line)
{
	unsigned long long seed, epoch, position;
	struct maker_target targets[TARGETS_MAX];
	struct answer_sample answer;
	struct maker_job job = {0};
	unsigned has_large, n_targets;
	char text[64];
	size_t n_bytes;
	unsigned char *bytes;
	int n = 0;

	if (sscanf(line, "run %llu %llu %llu %u %63s %n", &seed, &epoch, &position, &has_large, text, &n) != 5)
		die(line);
	if (!maker)
		make_maker();
	bytes = read_whole(line + n, &n_bytes);
	n_targets = take_targets(text, targets);
	job.seed = seed;
	job.epoch = epoch;
	job.position = position;
	job.payload = bytes;
	job.n_payload = n_bytes;
	job.has_large = has_large;
	job.first = targets[0];
	job.more = targets + 1;
	job.n_more = n_targets - 1;
	maker_run(maker, &job, &answer);
	print_answer(&answer, targets, n_targets);
	free(bytes);
}

static void image_size(const char *path)
{
	uint32_t w = 0, h = 0;
	size_t n;
	unsigned char *bytes = read_whole(path, &n);

	printf("%s ", cause_name(maker_image_size(&pipelines[0].fields[0], bytes, n, &w, &h)));
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
	maker_draws(&pipelines[0], 0, seed, epoch, position, w, h, text, sizeof(text));
	printf("%s\n", text);
}

static void set_limits(const char *line)
{
	unsigned long long pixels, scratch_bytes, memory;
	unsigned scans;

	if (sscanf(line, "limits %llu %u %llu %llu", &pixels, &scans, &memory, &scratch_bytes) != 4)
		die(line);
	pipelines[0].limits = (struct limits){.max_pixels = pixels, .max_scans = scans, .decode_memory = memory};
	scratch = scratch_bytes;
}

static void set_integer(const char *line)
{
	char dtype[16];

	if (sscanf(line, "integer %15s", dtype) != 1)
		die(line);
	pipelines[0].fields[0] = (struct field){.name = "label", .decode = DECODE_INTEGER,
					    .dtype = (enum dtype)dtype_parse(dtype)};
	pipelines[0].n_fields = n_views = 1;
}

static void set_value(const char *line)
{
	char dtype[16], key[KEY_BYTES];
	struct field *f = &pipelines[0].fields[0];
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
	pipelines[0].n_fields = n_views = 1;
}

int main(void)
{
	char line[4096];

	pipelines[0].limits = (struct limits){.max_pixels = 178956970, .max_scans = 100,
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
		else if (strncmp(line, "view ", 5) == 0)
			add_view(line);
		else if (strncmp(line, "limits ", 7) == 0)
			set_limits(line);
		else
			die(line);
	}
	maker_free(maker);
	return 0;
}
