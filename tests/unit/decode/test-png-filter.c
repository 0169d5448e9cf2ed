/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The vector form of PNG's filters against the C form, over rows of one pixel to thousands that begin or
 * end at a page that must not be touched; and how long both take. That the C form is right, Pillow says
 * (test_decode_png.py). */
#include "decode/png-filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

enum { PAGE = 4096, N_PAGES = 5, N_ROOM = N_PAGES * PAGE, N_SMALL = 260, N_FILTERS = 5, ROUNDS = 4,
       N_LARGE = 300, TIMED = 600 };

static uint64_t state = 1;

static uint8_t random_byte(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	/* Extremes are where the predictors change their mind. */
	return (state >> 60) < 4 ? (uint8_t)-(int)(state >> 59 & 1) : (uint8_t)(state >> 33);
}

static void fill(uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = random_byte();
}

/* Room between two pages that nobody may touch. */
static uint8_t *guarded(void)
{
	uint8_t *at = mmap(NULL, N_ROOM + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(mprotect(at + PAGE, N_ROOM, PROT_READ | PROT_WRITE), 0);
	return at + PAGE;
}

struct room {
	uint8_t *row, *twin, *above;
};

static void compare(const struct room *room, size_t n, unsigned n_pixel, unsigned filter, bool at_end)
{
	/* Behind a row there is the slack, and nothing else. */
	const size_t at = at_end ? N_ROOM - n - PNG_FILTER_SLACK : 0;

	fill(room->row, N_ROOM);
	memcpy(room->twin, room->row, N_ROOM);
	fill(room->above + at, n);
	assert_true(png_unfilter(room->row + at, room->above + at, n, n_pixel, filter));
	assert_true(png_unfilter_plain(room->twin + at, room->above + at, n, n_pixel, filter));
	assert_memory_equal(room->row, room->twin, N_ROOM);
}

static void test_equal(void **unused)
{
	const struct room room = {guarded(), guarded(), guarded()};
	const size_t n_most = N_ROOM - PNG_FILTER_SLACK;

	for (unsigned filter = 0; filter < N_FILTERS; filter++)
		for (unsigned n_pixel = 1; n_pixel <= 4; n_pixel++) {
			for (size_t n = n_pixel; n <= N_SMALL; n += n_pixel)
				for (int round = 0; round < ROUNDS; round++)
					compare(&room, n, n_pixel, filter, round % 2);
			for (int i = 0; i < N_LARGE; i++) {
				const size_t n = (size_t)(random_byte() << 6 | random_byte()) % (n_most / 4);

				compare(&room, (n + 1) * n_pixel, n_pixel, filter, i % 2);
			}
		}
}

typedef bool undo_fn(uint8_t *row, const uint8_t *above, size_t n, unsigned n_pixel, unsigned filter);

/* CPU nanoseconds a pixel. */
static double cost(const struct room *room, undo_fn *undo, unsigned n_pixel, unsigned filter)
{
	const size_t n = 4096 * n_pixel;
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < TIMED; i++)
		undo(room->row, room->above, n, n_pixel, filter);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / TIMED / 4096;
}

static void test_timing(void **unused)
{
	static const char *const names[N_FILTERS] = {"none", "sub", "up", "average", "paeth"};
	const struct room room = {guarded(), guarded(), guarded()};

	fill(room.row, N_ROOM);
	fill(room.above, N_ROOM);
	for (unsigned n_pixel = 3; n_pixel <= 4; n_pixel++)
		for (unsigned filter = 1; filter < N_FILTERS; filter++) {
			const double plain = cost(&room, png_unfilter_plain, n_pixel, filter);
			const double fast = cost(&room, png_unfilter, n_pixel, filter);

			printf("%u bytes a pixel, %s: C %.2f ns, vector %.2f ns a pixel\n", n_pixel,
			       names[filter], plain, fast);
		}
}

static void test_unknown(void **unused)
{
	uint8_t row[8] = {1, 2, 3, 4, 5, 6, 7, 8}, above[8 + PNG_FILTER_SLACK] = {0};
	const uint8_t before[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	for (unsigned n_pixel = 1; n_pixel <= 4; n_pixel++) {
		assert_false(png_unfilter(row, above, n_pixel, n_pixel, N_FILTERS));
		assert_false(png_unfilter_plain(row, above, n_pixel, n_pixel, 255));
	}
	assert_memory_equal(row, before, sizeof(row));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_equal), cmocka_unit_test(test_timing),
					   cmocka_unit_test(test_unknown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
