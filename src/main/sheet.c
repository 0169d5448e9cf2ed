/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Captions that all tiles have in the same place are easier to compare, so each kind has its own lines. */
#include "main/sheet.h"

#include "base/fault.h"

#include <errno.h>

enum {
	GAP = 12,	      /* around tiles; a mark's frame lies in it */
	BETWEEN = 4,	      /* images of one tile */
	FRAME = 4,
	TILE_LEAST = 25 * LETTER_WIDTH,
	IMAGE_LEAST = 96,     /* smaller ones are drawn larger */
	WIDTH_WISHED = 1600,
	SIDE_MAX = 60000,
	NAME_LINES = 3,
	MARK_LINES = 4,
	LABEL_LINES = 8,
	DRAW_LINES = 12,
};
static const uint32_t black = 0x000000, red = 0xC00000, blue = 0x003090, gray = 0x606060;

void sheet_init(struct sheet *s, const struct pipeline *p)
{
	uint32_t width = 0;

	*s = (struct sheet){.first_y = GAP};
	for (unsigned f = 0; f < p->n_fields; f++) {
		struct visible *v = &s->images[s->n_images];
		uint32_t times;

		if (p->fields[f].decode != DECODE_IMAGE)
			continue;
		visible_init(v, &p->fields[f]);
		times = v->width < IMAGE_LEAST ? (IMAGE_LEAST + v->width - 1) / v->width : 1;
		s->times[s->n_images] = times;
		s->fields[s->n_images++] = f;
		width += v->width * times + (width ? BETWEEN : 0);
		if (s->image_height < v->height * times)
			s->image_height = v->height * times;
	}
	s->tile_width = width > TILE_LEAST ? width : TILE_LEAST;
}

void sheet_deinit(struct sheet *s)
{
	canvas_deinit(&s->canvas);
}

uint64_t sheet_tiles_max(const struct sheet *s)
{
	const uint64_t lines = NAME_LINES + MARK_LINES + LABEL_LINES + DRAW_LINES + 1;
	const uint64_t height = s->image_height + GAP + lines * LETTER_HEIGHT;

	/* Two tiles' room for the title and the last row's empty places. */
	return SHEET_PIXELS_MAX / ((uint64_t)(s->tile_width + 2 * GAP) * height) / 2;
}

static uint32_t lines_of(const struct sheet *s, const char *text, uint32_t n_most)
{
	return canvas_text(NULL, 0, 0, s->tile_width / LETTER_WIDTH, n_most, text, 0);
}

static void raise(uint32_t *most, uint32_t n)
{
	if (*most < n)
		*most = n;
}

int sheet_lay_out(struct sheet *s, const struct tile *tiles, uint32_t n_tiles, uint32_t n_columns)
{
	uint32_t width, height, n_title;
	int r;

	for (uint32_t i = 0; i < n_tiles; i++) {
		raise(&s->n_name, lines_of(s, tiles[i].name, NAME_LINES));
		raise(&s->n_mark, lines_of(s, tiles[i].mark, MARK_LINES));
		raise(&s->n_labels, lines_of(s, tiles[i].labels, LABEL_LINES));
		raise(&s->n_draws, lines_of(s, tiles[i].draws, DRAW_LINES));
	}
	s->tile_height = s->image_height + LETTER_HEIGHT / 2 +
			 (s->n_name + s->n_mark + s->n_labels + s->n_draws) * LETTER_HEIGHT;
	if (n_columns == 0)
		n_columns = (WIDTH_WISHED - GAP) / (s->tile_width + GAP);
	if (n_columns > n_tiles)
		n_columns = n_tiles;
	s->n_tiles = n_tiles;
	s->n_columns = n_columns ? n_columns : 1;
	width = GAP + s->n_columns * (s->tile_width + GAP);
	n_title = canvas_text(NULL, 0, 0, (width - 2 * GAP) / LETTER_WIDTH, 4, s->title, 0);
	s->first_y = GAP + n_title * LETTER_HEIGHT + GAP;
	height = s->first_y + (n_tiles + s->n_columns - 1) / s->n_columns * (s->tile_height + GAP);
	if (width > SIDE_MAX || height > SIDE_MAX)
		return fail(-EFBIG);
	r = canvas_init(&s->canvas, width, height);
	if (r < 0)
		return pass(r);
	canvas_text(&s->canvas, GAP, GAP, (width - 2 * GAP) / LETTER_WIDTH, 4, s->title, black);
	return 0;
}

static uint32_t tile_x(const struct sheet *s, uint32_t i)
{
	return GAP + i % s->n_columns * (s->tile_width + GAP);
}

static uint32_t tile_y(const struct sheet *s, uint32_t i)
{
	return s->first_y + i / s->n_columns * (s->tile_height + GAP);
}

struct box sheet_image_box(const struct sheet *s, uint32_t i, unsigned k)
{
	struct box box = {tile_x(s, i), tile_y(s, i), s->images[k].width * s->times[k],
			  s->images[k].height * s->times[k]};

	for (unsigned before = 0; before < k; before++)
		box.x += s->images[before].width * s->times[before] + BETWEEN;
	return box;
}

void sheet_draw_tile(struct sheet *s, uint32_t i, const struct tile *tile)
{
	const uint32_t x = tile_x(s, i), n_columns = s->tile_width / LETTER_WIDTH;
	uint32_t y = tile_y(s, i) + s->image_height + LETTER_HEIGHT / 2;

	if (*tile->mark) {
		const struct box all = {x, tile_y(s, i), s->tile_width, s->tile_height};

		canvas_frame(&s->canvas, &all, FRAME, red);
	}
	canvas_text(&s->canvas, x, y, n_columns, s->n_name, tile->name, black);
	y += s->n_name * LETTER_HEIGHT;
	canvas_text(&s->canvas, x, y, n_columns, s->n_mark, tile->mark, red);
	y += s->n_mark * LETTER_HEIGHT;
	canvas_text(&s->canvas, x, y, n_columns, s->n_labels, tile->labels, blue);
	y += s->n_labels * LETTER_HEIGHT;
	canvas_text(&s->canvas, x, y, n_columns, s->n_draws, tile->draws, gray);
}

void sheet_draw_image(struct sheet *s, uint32_t i, unsigned k, const uint8_t *rgb)
{
	const struct box box = sheet_image_box(s, i, k);

	canvas_image(&s->canvas, box.x, box.y, rgb, s->images[k].width, s->images[k].height, s->times[k]);
}
