/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Decodes regions of an image on request, for the tests in tests/python that compare them with Pillow's.
 * Reads lines on stdin and answers each with one line on stdout until stdin ends:
 *
 *   limit BYTES             the arena of all that follows
 *   image PATH              "CAUSE WIDTH HEIGHT MAX_SHRINK"
 *   shrink N                regions from now on are of the image shrunk by that
 *   reference PATH          raw RGB, what a decode of the whole image gives
 *   region X0 Y0 X1 Y1      "same", "differs at ROW", or "bad CAUSE: DETAIL"
 *   warnings                how many the last decode had
 *   sweep N SEED            all pairs of columns and of rows, then N random regions: "same COUNT", or the
 *                           first region that is not, with its answer as above
 *
 * Every decode finds other bytes in the arena, so whatever depends on them is seen.
 */
#include "decode/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 256 << 20, ANSWER_MAX = 256 };

static const struct limits limits = {.max_pixels = 1 << 28, .max_scans = 100, .decode_memory = ARENA_BYTES};
static struct image *image;
static struct arena arena;
static size_t n_limit = ARENA_BYTES, n_dirty;
static uint8_t *bytes, *reference;
static size_t n_bytes;
static struct image_info info;
static uint32_t shrink = 1;
static unsigned long long state;

struct check {
	const struct image_region *region;
	uint32_t y;
	bool differs;
	uint32_t first;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "decode-regions: %s\n", what);
	exit(2);
}

static uint8_t *load(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "rb");
	uint8_t *at;
	long n;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (n = ftell(f)) < 0)
		die(path);
	rewind(f);
	at = malloc(n > 0 ? (size_t)n : 1); /* no byte more: a read past the end is seen */
	if (!at || fread(at, 1, (size_t)n, f) != (size_t)n)
		die(path);
	fclose(f);
	*ret_n = (size_t)n;
	return at;
}

/* Other bytes in what the last image used. */
static void refill(void)
{
	static uint8_t filling = 1;
	void *at;

	n_dirty = arena.n_used > n_dirty ? arena.n_used : n_dirty;
	arena_reset(&arena, ARENA_BYTES);
	at = arena_alloc(&arena, n_dirty);
	if (at)
		memset(at, filling, n_dirty);
	filling = (uint8_t)(filling * 5 + 3);
	arena_reset(&arena, n_limit);
}

static enum cause open_image(void)
{
	const struct image_source source = {.bytes = bytes, .n_bytes = n_bytes, .limits = &limits};

	refill();
	info = (struct image_info){0};
	return image_open(image, &arena, &source, &info);
}

static void compare(void *user, const uint8_t *rgb)
{
	struct check *c = user;
	const size_t width = image_shrunk(info.width, shrink);
	const uint8_t *want = reference + 3 * (c->y * width + c->region->x0);

	if (!c->differs && memcmp(rgb, want, 3 * (size_t)(c->region->x1 - c->region->x0)) != 0) {
		c->differs = true;
		c->first = c->y;
	}
	c->y++;
}

/* Does the region come out right? The answer as text. */
static bool check(const struct image_region *region, char *answer)
{
	struct check c = {.region = region, .y = region->y0};
	enum cause cause = open_image();

	if (cause == CAUSE_none)
		cause = image_read(image, region, compare, &c);
	if (cause == CAUSE_decode_memory && c.y != region->y0)
		die("memory was asked for after the first row");
	if (cause != CAUSE_none)
		snprintf(answer, ANSWER_MAX, "bad %s: %s", cause_name(cause), image_trouble(image)->detail);
	else if (c.differs)
		snprintf(answer, ANSWER_MAX, "differs at %u", c.first);
	else if (c.y != region->y1)
		die("rows are missing");
	else
		snprintf(answer, ANSWER_MAX, "same");
	return cause == CAUSE_none && !c.differs;
}

static uint32_t below(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((state >> 33) % n);
}

static bool sweep_one(struct image_region r, unsigned *n_done)
{
	char answer[ANSWER_MAX];

	if (!check(&r, answer)) {
		printf("%u %u %u %u %s\n", r.x0, r.y0, r.x1, r.y1, answer);
		return false;
	}
	++*n_done;
	return true;
}

static bool sweep_pairs(uint32_t w, uint32_t h, unsigned *n_done)
{
	for (uint32_t x0 = 0; x0 < w; x0++)
		for (uint32_t x1 = x0 + 1; x1 <= w; x1++) {
			const uint32_t y = below(h);

			if (!sweep_one((struct image_region){x0, y, x1, y + 1, shrink}, n_done))
				return false;
		}
	for (uint32_t y0 = 0; y0 < h; y0++)
		for (uint32_t y1 = y0 + 1; y1 <= h; y1++) {
			const uint32_t x = below(w);

			if (!sweep_one((struct image_region){x, y0, x + 1, y1, shrink}, n_done))
				return false;
		}
	return true;
}

static void sweep(const char *line)
{
	unsigned n_random, n_done = 0;
	uint32_t w, h;

	if (sscanf(line, "sweep %u %llu", &n_random, &state) != 2 || open_image() != CAUSE_none)
		die(line);
	w = image_shrunk(info.width, shrink);
	h = image_shrunk(info.height, shrink);
	if (!sweep_pairs(w, h, &n_done))
		return;
	for (unsigned i = 0; i < n_random; i++) {
		const uint32_t x0 = below(w), y0 = below(h);
		const struct image_region r = {x0, y0, x0 + 1 + below(w - x0), y0 + 1 + below(h - y0),
						shrink};

		if (!sweep_one(r, &n_done))
			return;
	}
	printf("same %u\n", n_done);
}

static void one_region(const char *line)
{
	struct image_region r = {.shrink = shrink};
	char answer[ANSWER_MAX];

	if (sscanf(line, "region %u %u %u %u", &r.x0, &r.y0, &r.x1, &r.y1) != 4)
		die(line);
	check(&r, answer);
	printf("%s\n", answer);
}

static void set_image(const char *path)
{
	enum cause cause;

	free(bytes);
	bytes = load(path, &n_bytes);
	cause = open_image();
	printf("%s %u %u %u\n", cause_name(cause), info.width, info.height, info.max_shrink);
}

static void set_reference(const char *path)
{
	size_t n;

	free(reference);
	reference = load(path, &n);
	printf("%zu\n", n);
}

int main(void)
{
	char line[4096];

	if (image_new(&image) < 0 || arena_init(&arena, ARENA_BYTES) < 0)
		die("no memory");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "limit ", 6) == 0)
			printf("%zu\n", n_limit = strtoul(line + 6, NULL, 10));
		else if (strncmp(line, "shrink ", 7) == 0)
			printf("%u\n", shrink = (uint32_t)strtoul(line + 7, NULL, 10));
		else if (strncmp(line, "image ", 6) == 0)
			set_image(line + 6);
		else if (strncmp(line, "reference ", 10) == 0)
			set_reference(line + 10);
		else if (strncmp(line, "region ", 7) == 0)
			one_region(line);
		else if (strcmp(line, "warnings") == 0)
			printf("%u\n", image_trouble(image)->n_warnings);
		else if (strncmp(line, "sweep ", 6) == 0)
			sweep(line);
		else
			die(line);
		fflush(stdout);
	}
	image_free(image);
	arena_deinit(&arena);
	free(bytes);
	free(reference);
	return 0;
}
