/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Each kernel of each table this CPU can run beside its twin in plain C, in turns on the same row,
 * in cache. Usage: bench-kernels [--json] [ROUNDS]; prints nanoseconds a row (median over the
 * rounds) and how many times the twin's speed that is (median, least and most of the rounds'
 * ratios).
 */
#include "base/arena.h"
#include "transform/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_MAX = 101, PIXELS_MAX = 4096, TURN_NS = 300000 };

enum part { SPLIT, HORIZONTAL, VERTICAL, PREPARE, PICK, TRANSPOSE, CONVERT };

struct shape {
	const char *what;
	enum part part;
	uint32_t n_in, n_out; /* split and convert: pixels in n_in */
	enum filter filter;
	enum dtype dtype;
	bool is_planar, is_flipped;
};

static const struct shape shapes[] = {
	{"split 320 pixels", SPLIT, 320},
	{"split 4096 pixels", SPLIT, 4096},
	{"prepare bilinear 320 to 224", PREPARE, 320, 224, FILTER_BILINEAR},
	{"horizontal bilinear 150 to 224", HORIZONTAL, 150, 224, FILTER_BILINEAR},
	{"horizontal bilinear 320 to 224", HORIZONTAL, 320, 224, FILTER_BILINEAR},
	{"horizontal bilinear 500 to 224", HORIZONTAL, 500, 224, FILTER_BILINEAR},
	{"horizontal bilinear 1000 to 224", HORIZONTAL, 1000, 224, FILTER_BILINEAR},
	{"horizontal bilinear 1500 to 224", HORIZONTAL, 1500, 224, FILTER_BILINEAR},
	{"horizontal bilinear 2500 to 224", HORIZONTAL, 2500, 224, FILTER_BILINEAR},
	{"horizontal bilinear 4096 to 224", HORIZONTAL, 4096, 224, FILTER_BILINEAR},
	{"horizontal box 320 to 224", HORIZONTAL, 320, 224, FILTER_BOX},
	{"horizontal hamming 320 to 224", HORIZONTAL, 320, 224, FILTER_HAMMING},
	{"horizontal bicubic 320 to 224", HORIZONTAL, 320, 224, FILTER_BICUBIC},
	{"horizontal lanczos 320 to 224", HORIZONTAL, 320, 224, FILTER_LANCZOS},
	{"vertical bilinear 150 to 224", VERTICAL, 150, 224, FILTER_BILINEAR},
	{"vertical bilinear 320 to 224", VERTICAL, 320, 224, FILTER_BILINEAR},
	{"vertical bilinear 4096 to 224", VERTICAL, 4096, 224, FILTER_BILINEAR},
	{"vertical bicubic 320 to 224", VERTICAL, 320, 224, FILTER_BICUBIC},
	{"vertical lanczos 320 to 224", VERTICAL, 320, 224, FILTER_LANCZOS},
	{"pick (nearest) 320 to 224", PICK, 320, 224, FILTER_NEAREST},
	{"transpose 16 x 16", TRANSPOSE, 16},
	{"convert 224 uint8 chw", CONVERT, 224, .dtype = DTYPE_uint8, .is_planar = true},
	{"convert 224 float16 chw", CONVERT, 224, .dtype = DTYPE_float16, .is_planar = true},
	{"convert 224 float16 chw flipped", CONVERT, 224, .dtype = DTYPE_float16, .is_planar = true,
	 .is_flipped = true},
	{"convert 224 bfloat16 chw", CONVERT, 224, .dtype = DTYPE_bfloat16, .is_planar = true},
	{"convert 224 float32 chw", CONVERT, 224, .dtype = DTYPE_float32, .is_planar = true},
	{"convert 224 uint8 hwc", CONVERT, 224, .dtype = DTYPE_uint8},
	{"convert 224 float16 hwc", CONVERT, 224, .dtype = DTYPE_float16},
	{"convert 224 float32 hwc", CONVERT, 224, .dtype = DTYPE_float32},
};

/* All that a call needs, ready for any table. */
struct stage {
	const struct shape *shape;
	struct taps taps;
	void *weights;
	const uint8_t *rows[64];
	struct value_table table;
};

static struct arena arena;
static uint8_t in[64 * (3 * PIXELS_MAX + KERNELS_SLACK)], out[12 * PIXELS_MAX + KERNELS_SLACK];

static void prepare(struct stage *s, const struct shape *shape, const struct kernels *k)
{
	const struct taps_axis axis = {shape->filter, shape->n_in, shape->n_out, 0, shape->n_in, 0, shape->n_out};
	const struct field field = {.dtype = shape->dtype,
				    .n_steps = shape->dtype == DTYPE_uint8 ? 0 : 1,
				    .steps = {{.kind = STEP_NORMALIZE,
					       .mean = {0.485f, 0.456f, 0.406f},
					       .std = {0.229f, 0.224f, 0.225f}}}};
	size_t n;

	s->shape = shape;
	if (shape->part == CONVERT)
		table_make(&field, &s->table);
	if (shape->part == CONVERT || shape->part == SPLIT || shape->part == TRANSPOSE)
		return;
	if (!taps_make(&axis, &arena, &s->taps))
		abort();
	if (shape->part == PICK)
		return;
	n = shape->part == VERTICAL ? k->vertical_bytes(&s->taps) : k->horizontal_bytes(&s->taps);
	s->weights = arena_alloc(&arena, n);
	if (!s->weights || s->taps.n_taps > 64)
		abort();
	if (shape->part == VERTICAL)
		k->prepare_vertical(&s->taps, s->weights);
	else
		k->prepare_horizontal(&s->taps, s->weights);
	for (uint32_t y = 0; y < 64; y++)
		s->rows[y] = in + y * (3 * 224 + KERNELS_SLACK);
}

static void call(const struct stage *s, const struct kernels *k)
{
	const struct shape *p = s->shape;
	const struct row row = {in, PIXELS_MAX};
	const struct row_target to = {out, p->is_planar ? p->n_in : 0, p->n_in, p->is_flipped};

	switch (p->part) {
	case SPLIT:
		k->split(in, p->n_in, (struct row_room){out, PIXELS_MAX});
		break;
	case PREPARE:
		k->prepare_horizontal(&s->taps, s->weights);
		break;
	case HORIZONTAL:
		k->horizontal(&s->taps, s->weights, row, (struct row_room){out, 224});
		break;
	case VERTICAL:
		k->vertical(&s->taps, s->weights, p->n_out / 2, s->rows, 3 * 224, out);
		break;
	case PICK:
		k->pick(&s->taps, row, (struct row_room){out, 224});
		break;
	case TRANSPOSE:
		k->transpose(in, PIXELS_MAX, out, KERNELS_BLOCK);
		break;
	case CONVERT:
		k->convert(&s->table, row, &to);
		break;
	}
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double turn(const struct stage *s, const struct kernels *k, unsigned n_calls)
{
	const double began = now_ns();

	for (unsigned i = 0; i < n_calls; i++)
		call(s, k);
	return (now_ns() - began) / n_calls;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(const struct shape *shape, const struct kernels *k, unsigned n_rounds,
		    bool is_json)
{
	static struct stage twin, mine;
	double ratios[ROUNDS_MAX], times[ROUNDS_MAX];
	unsigned n_twin, n_mine;

	arena_reset(&arena, arena.n_reserved);
	prepare(&twin, shape, &kernels_c);
	prepare(&mine, shape, k);
	n_twin = 1 + (unsigned)(TURN_NS / turn(&twin, &kernels_c, 100));
	n_mine = 1 + (unsigned)(TURN_NS / turn(&mine, k, 100));
	for (unsigned i = 0; i < n_rounds; i++) {
		const double c = turn(&twin, &kernels_c, n_twin);

		times[i] = turn(&mine, k, n_mine);
		ratios[i] = c / times[i];
	}
	qsort(times, n_rounds, sizeof(*times), compare);
	qsort(ratios, n_rounds, sizeof(*ratios), compare);
	printf(is_json ? "{\"kernel\": \"%s\", \"table\": \"%s\", \"ns\": %.0f, \"times_c\": %.2f, "
			 "\"least\": %.2f, \"most\": %.2f}\n"
		       : "%-34s %-7s %8.0f ns  %6.2f times C (%.2f to %.2f)\n",
	       shape->what, k->name, times[n_rounds / 2], ratios[n_rounds / 2], ratios[0],
	       ratios[n_rounds - 1]);
}

int main(int argc, char **argv)
{
	const bool is_json = argc > 1 && strcmp(argv[1], "--json") == 0;
	const char *rounds = argc > 1 + is_json ? argv[1 + is_json] : "15";
	const unsigned n_rounds = (unsigned)strtoul(rounds, NULL, 10);
	const struct kernels *usable[KERNELS_MAX];
	const unsigned n = kernels_usable(usable);

	if (n_rounds < 1 || n_rounds > ROUNDS_MAX || arena_init(&arena, 64 << 20) < 0)
		return 2;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 2654435761u >> 13);
	for (unsigned s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
		for (unsigned k = 1; k < n; k++)
			measure(&shapes[s], usable[k], n_rounds, is_json);
	arena_deinit(&arena);
	return 0;
}
