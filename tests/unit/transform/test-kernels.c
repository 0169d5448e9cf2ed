/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Every table of kernels this CPU can run against the one in plain C: random sizes from 1 to 4096,
 * every filter, odd strides, every dtype and layout. All memory lies between pages that may not be
 * touched, each case once with its beginning at the lower one and once with its end at the upper
 * one.
 */
#include "transform/kernels.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIDE_MAX = 4096, PAGE = 4096 };

static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

/* Small sizes as often as large ones. */
static uint32_t draw_side(void)
{
	static const uint32_t most[] = {4, 20, 70, 300, SIDE_MAX};

	return 1 + draw(most[draw(5)]);
}

/* A stretch of memory between two guard pages. */
struct room {
	uint8_t *base;
	size_t n_bytes;
};

static struct room room_new(size_t n_bytes)
{
	struct room r = {.n_bytes = (n_bytes + PAGE - 1) / PAGE * PAGE};
	uint8_t *all =
		mmap(NULL, r.n_bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(all, MAP_FAILED);
	r.base = all + PAGE;
	assert_int_equal(mprotect(r.base, r.n_bytes, PROT_READ | PROT_WRITE), 0);
	return r;
}

static uint8_t *place(const struct room *r, size_t n_bytes, bool is_high)
{
	assert_true(n_bytes <= r->n_bytes);
	return is_high ? r->base + r->n_bytes - n_bytes : r->base;
}

static struct room in_room, out_room, expected_room;
static struct arena arena;

static void fill(uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)draw(256);
	if (n > 4 && draw(3) == 0) /* extremes, where overshoot is held */
		for (size_t i = 0; i < n; i++)
			at[i] = at[i] & 1 ? 255 : 0;
}

static size_t aligned(size_t n)
{
	return (n + KERNELS_ALIGN - 1) / KERNELS_ALIGN * KERNELS_ALIGN;
}

static size_t room_bytes(size_t stride)
{
	return 3 * stride + KERNELS_SLACK;
}

/* A row of n pixels with an odd stride, its slack up to the guard. */
static struct row draw_row(size_t n, bool is_high)
{
	const size_t stride = n + draw(40), n_bytes = 2 * stride + n + KERNELS_SLACK;
	struct row r = {place(&in_room, n_bytes, is_high), stride};

	fill((uint8_t *)r.at, n_bytes);
	return r;
}

static void assert_same_rows(struct row_room got, struct row_room wanted, size_t n)
{
	for (unsigned c = 0; c < 3; c++)
		assert_memory_equal(got.at + c * got.stride, wanted.at + c * wanted.stride, n);
}

static struct taps draw_taps(uint32_t n_in, uint32_t n_out, enum filter filter)
{
	n_out += n_out == n_in; /* such a pass is left out */
	const uint32_t first = draw(n_out), end = first + 1 + draw(n_out - first);
	const bool is_whole = draw(3) != 0;
	const struct taps_axis axis = {filter, n_in, n_out, 0, n_in, is_whole ? 0 : first,
				       is_whole ? n_out : end};
	struct taps t;

	assert_true(taps_make(&axis, &arena, &t));
	return t;
}

static void *prepared(const struct kernels *k, const struct taps *t, bool is_horizontal)
{
	const size_t n = is_horizontal ? k->horizontal_bytes(t) : k->vertical_bytes(t);
	void *weights = arena_alloc(&arena, n);

	assert_non_null(weights);
	if (is_horizontal)
		k->prepare_horizontal(t, weights);
	else
		k->prepare_vertical(t, weights);
	return weights;
}

static void check_split(const struct kernels *k)
{
	for (unsigned i = 0; i < 2000; i++) {
		const size_t n = draw_side(), stride = (n + 63) / 64 * 64;
		const bool is_high = i % 2;
		uint8_t *rgb = place(&in_room, 3 * n, is_high);
		const struct row_room got = {place(&out_room, room_bytes(stride), is_high), stride};
		const struct row_room wanted = {expected_room.base, stride};

		fill(rgb, 3 * n);
		kernels_c.split(rgb, n, wanted);
		k->split(rgb, n, got);
		assert_same_rows(got, wanted, n);
		assert_int_equal(wanted.at[n - 1], rgb[3 * n - 3]);
	}
}

static void check_horizontal(const struct kernels *k)
{
	for (unsigned i = 0; i < 10000; i++) {
		const enum filter filter = FILTER_BOX + draw(FILTER_LANCZOS - FILTER_BOX + 1);
		struct taps t;
		struct row in;

		arena_reset(&arena, arena.n_reserved);
		t = draw_taps(draw_side(), draw_side(), filter);
		const size_t stride = aligned(t.n_out);
		const struct row_room got = {place(&out_room, room_bytes(stride), i % 2), stride};
		const struct row_room wanted = {expected_room.base, stride};

		in = draw_row(t.end_in - t.first_in, i % 2);
		kernels_c.horizontal(&t, prepared(&kernels_c, &t, true), in, wanted);
		k->horizontal(&t, prepared(k, &t, true), in, got);
		assert_same_rows(got, wanted, t.n_out);
	}
}

static void check_pick(const struct kernels *k)
{
	for (unsigned i = 0; i < 3000; i++) {
		const uint32_t n_in = draw_side(), n_out = draw_side();
		const struct taps_axis axis = {FILTER_NEAREST, n_in, n_out, 0, n_in, 0, n_out};
		struct taps t;
		struct row in;

		arena_reset(&arena, arena.n_reserved);
		assert_true(taps_make(&axis, &arena, &t));
		const size_t stride = aligned(n_out);
		const struct row_room got = {place(&out_room, room_bytes(stride), i % 2), stride};
		const struct row_room wanted = {expected_room.base, stride};

		in = draw_row(t.end_in - t.first_in, i % 2);
		kernels_c.pick(&t, in, wanted);
		k->pick(&t, in, got);
		assert_same_rows(got, wanted, n_out);
	}
}

static void check_transpose(const struct kernels *k)
{
	for (unsigned i = 0; i < 200; i++) {
		const size_t n = KERNELS_BLOCK, in_stride = n + draw(50), out_stride = n + draw(50);
		const size_t n_in = (n - 1) * in_stride + n, n_out = (n - 1) * out_stride + n;
		uint8_t *in = place(&in_room, n_in, i % 2), *out = place(&out_room, n_out, i % 2);

		fill(in, n_in);
		memset(out, 7, n_out);
		memset(expected_room.base, 7, n_out);
		kernels_c.transpose(in, in_stride, expected_room.base, out_stride);
		k->transpose(in, in_stride, out, out_stride);
		assert_memory_equal(out, expected_room.base, n_out);
		assert_int_equal(expected_room.base[out_stride], in[1]);
	}
}

static void check_vertical(const struct kernels *k)
{
	for (unsigned i = 0; i < 2000; i++) {
		const enum filter filter = FILTER_BOX + draw(FILTER_LANCZOS - FILTER_BOX + 1);
		const size_t n = aligned(draw_side());
		const uint8_t **rows;
		uint32_t output;
		struct taps t;

		arena_reset(&arena, arena.n_reserved);
		t = draw_taps(draw_side(), 1 + draw(300), filter);
		if (t.n_taps > 300)
			continue;
		rows = arena_array(&arena, t.n_taps, sizeof(*rows));
		assert_non_null(rows);
		for (uint32_t y = 0; y < t.n_taps; y++)
			rows[y] = place(&in_room, n + KERNELS_SLACK, i % 2) +
				  (i % 2 ? -1 : 1) * (ptrdiff_t)(y * n);
		fill(in_room.base, i % 2 ? 0 : t.n_taps * n + KERNELS_SLACK);
		fill(in_room.base + in_room.n_bytes - (t.n_taps * n + KERNELS_SLACK),
		     i % 2 ? t.n_taps * n + KERNELS_SLACK : 0);
		output = draw(t.n_out);
		kernels_c.vertical(&t, prepared(&kernels_c, &t, false), output, rows, n,
				   expected_room.base);
		k->vertical(&t, prepared(k, &t, false), output, rows, n,
			    place(&out_room, n + KERNELS_SLACK, i % 2));
		assert_memory_equal(place(&out_room, n + KERNELS_SLACK, i % 2), expected_room.base,
				    n);
	}
}

/* Some fields have a formula, some only the table. */
static struct field draw_field(void)
{
	static const enum dtype dtypes[] = {DTYPE_uint8, DTYPE_float16, DTYPE_bfloat16,
					    DTYPE_float32};
	struct field f = {.decode = DECODE_IMAGE,
			  .dtype = dtypes[draw(4)],
			  .scale = (enum scale_kind)draw(3)};
	const unsigned kind = f.dtype == DTYPE_uint8 ? 0 : draw(4);
	static const struct step normalizes[3] = {
		{.kind = STEP_NORMALIZE,
		 .mean = {0.485f, 0.456f, 0.406f},
		 .std = {0.229f, 0.224f, 0.225f}},
		{.kind = STEP_NORMALIZE, .mean = {0.1f, -3.0f, 1e-3f}, .std = {1e-5f, 1e5f, 3e-7f}},
		{.kind = STEP_NORMALIZE, .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}}};

	if (kind == 0)
		return f;
	f.n_steps = 1 + (kind == 3);
	f.steps[0] = normalizes[draw(3)];
	f.steps[1] = normalizes[draw(3)];
	return f;
}

static void check_convert(const struct kernels *k)
{
	static struct value_table table;

	for (unsigned i = 0; i < 5000; i++) {
		const struct field f = draw_field();
		const uint32_t width = draw_side();
		const size_t plane = draw(2) ? width + draw(50) : 0;
		struct row_target to = {.plane = plane, .width = width, .is_flipped = draw(2)};
		const struct row in = draw_row(width, i % 2);
		size_t n_out;

		table_make(&f, &table);
		n_out = (plane ? 2 * plane + width : 3 * (size_t)width) * table.n_value;
		memset(expected_room.base, 7, n_out);
		to.at = expected_room.base;
		kernels_c.convert(&table, in, &to);
		to.at = place(&out_room, n_out, i % 2);
		memset(to.at, 7, n_out); /* what lies between planes stays */
		k->convert(&table, in, &to);
		assert_memory_equal(to.at, expected_room.base, n_out);
	}
}

static void check_all(void (*check)(const struct kernels *k))
{
	const struct kernels *usable[KERNELS_MAX];
	const unsigned n = kernels_usable(usable);

	for (unsigned i = 1; i < n; i++) {
		print_message("  %s\n", usable[i]->name);
		check(usable[i]);
	}
	if (n == 1)
		skip();
}

static void test_split(void **unused)
{
	check_all(check_split);
}

static void test_horizontal(void **unused)
{
	check_all(check_horizontal);
}

static void test_pick(void **unused)
{
	check_all(check_pick);
}

static void test_transpose(void **unused)
{
	check_all(check_transpose);
}

static void test_vertical(void **unused)
{
	check_all(check_vertical);
}

static void test_convert(void **unused)
{
	check_all(check_convert);
}

/* Three signed bytes hold a weight as long as none is as large as 127.5 x 2^16, about twice one. */
static void test_weights(void **unused)
{
	for (unsigned i = 0; i < 20000; i++) {
		const enum filter filter = FILTER_BOX + draw(FILTER_LANCZOS - FILTER_BOX + 1);
		struct taps t;

		arena_reset(&arena, arena.n_reserved);
		t = draw_taps(1 + draw(i % 4 ? 40 : 1000), 1 + draw(60), filter);
		for (size_t k = 0; k < (size_t)t.n_out * t.n_taps; k++)
			assert_in_range(t.weights[k] + (100 << 16), 0, 200 << 16);
	}
}

/* The table that the environment names is taken, one that is not there is refused. */
static void test_choice(void **unused)
{
	const struct kernels *usable[KERNELS_MAX];
	const unsigned n = kernels_usable(usable);

	assert_string_equal(usable[0]->name, "c");
	for (unsigned i = 0; i < n; i++) {
		setenv("RINGFEED_KERNELS", usable[i]->name, 1);
		assert_ptr_equal(kernels_best(), usable[i]);
	}
	setenv("RINGFEED_KERNELS", "mmx", 1);
	assert_null(kernels_best());
	unsetenv("RINGFEED_KERNELS");
	assert_ptr_equal(kernels_best(), usable[n - 1]);
}

static int set_up(void **unused)
{
	in_room = room_new(8 << 20);
	out_room = room_new(1 << 20);
	expected_room = room_new(1 << 20);
	return arena_init(&arena, 256 << 20);
}

static int tear_down(void **unused)
{
	arena_deinit(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),	 cmocka_unit_test(test_horizontal),
		cmocka_unit_test(test_vertical), cmocka_unit_test(test_pick),	  cmocka_unit_test(test_transpose),
		cmocka_unit_test(test_convert),	 cmocka_unit_test(test_weights),
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
