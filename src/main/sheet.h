/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where everything lies on a contact sheet: a title, then tiles in rows; a tile is the sample's images side by side and
 * its captions below. Threads: one caller.
 */
#ifndef MAIN_SHEET_H
#define MAIN_SHEET_H

#include "main/canvas.h"
#include "main/drawn.h"
#include "main/visible.h"

enum { SHEET_PIXELS_MAX = 64 << 20, SHEET_TITLE_MAX = 512 };

struct tile {
	char name[600];	  /* position and key */
	char mark[400];	  /* what is wrong with it; "": nothing */
	char labels[1400];
	char draws[DRAWN_MAX];
};

struct sheet {
	struct visible images[FIELDS_MAX];
	uint32_t times[FIELDS_MAX]; /* how much larger each is drawn */
	unsigned fields[FIELDS_MAX]; /* of the pipeline */
	unsigned n_images;
	char title[SHEET_TITLE_MAX];
	uint32_t n_tiles, n_columns, tile_width, tile_height, image_height;
	uint32_t first_y; /* of the first row of tiles */
	uint32_t n_name, n_mark, n_labels, n_draws; /* lines of captions, the most of any tile */
	struct canvas canvas;
};

/* The image fields, each with its size. */
void sheet_init(struct sheet *s, const struct pipeline *p);
void sheet_deinit(struct sheet *s);
/* A bound on the tiles that fit, whatever their captions say. */
uint64_t sheet_tiles_max(const struct sheet *s);
/* n_columns 0: about as many as fit on a screen. The title is filled in before. 0 or -errno. */
int sheet_lay_out(struct sheet *s, const struct tile *tiles, uint32_t n_tiles, uint32_t n_columns);
/* Where image k of tile i lies. */
struct box sheet_image_box(const struct sheet *s, uint32_t i, unsigned k);
void sheet_draw_tile(struct sheet *s, uint32_t i, const struct tile *tile);
/* rgb: of the image's own size. */
void sheet_draw_image(struct sheet *s, uint32_t i, unsigned k, const uint8_t *rgb);

#endif
