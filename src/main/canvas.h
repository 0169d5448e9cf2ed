/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A picture in memory to draw boxes, images and small text on, and to write as PNG. Text is drawn with letters of
 * our own (letters.def): 95 of them are less than any library or font would bring along; what is not ASCII becomes a
 * hollow box. Threads: one caller.
 */
#ifndef MAIN_CANVAS_H
#define MAIN_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

enum { LETTER_WIDTH = 6, LETTER_HEIGHT = 10 }; /* with the space around it */

struct canvas {
	uint32_t width, height;
	uint8_t *rgb; /* rows from the top, three bytes a pixel */
};

struct box {
	uint32_t x, y, width, height;
};

/* White. 0 or -errno. */
int canvas_init(struct canvas *c, uint32_t width, uint32_t height);
void canvas_deinit(struct canvas *c);
/* Colours are 0xRRGGBB. What lies outside is left out, here and below. */
void canvas_fill(struct canvas *c, const struct box *box, uint32_t colour);
/* A frame of that thickness around the box, outside of it. */
void canvas_frame(struct canvas *c, const struct box *box, uint32_t thickness, uint32_t colour);
/* width x height pixels, each times as wide and high. */
void canvas_image(struct canvas *c, uint32_t x, uint32_t y, const uint8_t *rgb, uint32_t width, uint32_t height,
		  uint32_t times);
/* n_columns letters a line, at most n_lines lines; broken behind commas, spaces and the like where possible, "..." where it is
 * cut. c NULL: draws nothing. Returns how many lines it takes. */
uint32_t canvas_text(struct canvas *c, uint32_t x, uint32_t y, uint32_t n_columns, uint32_t n_lines, const char *text,
		     uint32_t colour);
/* Writes a PNG with a tEXt chunk "ringfeed" of that text, under another name first; a file that is there is replaced only if
 * is_forced. 0 or -errno (-EEXIST). */
int canvas_write(const struct canvas *c, const char *path, const char *text, bool is_forced);

#endif
