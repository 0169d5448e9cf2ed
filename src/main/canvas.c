/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* libpng writes to a stdio stream; its errors come back by longjmp to the one function that calls it. */
#include "main/canvas.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <png.h>

enum { DOTS = 5, ROWS = 8, FIRST_LETTER = ' ', PATH_BYTES = 4096 };

static const char *const letters[] = {
#define LETTER(code, dots) [code - FIRST_LETTER] = dots,
#include "main/letters.def"
#undef LETTER
};
static const char unknown[] = "##### #...# #...# #...# #...# #...# ##### .....";

int canvas_init(struct canvas *c, uint32_t width, uint32_t height)
{
	const size_t n = (size_t)width * height * 3;

	*c = (struct canvas){width, height, malloc(n ? n : 1)};
	if (!c->rgb)
		return fail(-ENOMEM);
	memset(c->rgb, 255, n);
	return 0;
}

void canvas_deinit(struct canvas *c)
{
	free(c->rgb);
	*c = (struct canvas){0};
}

static void put(struct canvas *c, uint32_t x, uint32_t y, uint32_t colour)
{
	uint8_t *at;

	if (x >= c->width || y >= c->height)
		return;
	at = c->rgb + ((size_t)y * c->width + x) * 3;
	at[0] = (uint8_t)(colour >> 16);
	at[1] = (uint8_t)(colour >> 8);
	at[2] = (uint8_t)colour;
}

void canvas_fill(struct canvas *c, const struct box *box, uint32_t colour)
{
	for (uint32_t y = 0; y < box->height; y++)
		for (uint32_t x = 0; x < box->width; x++)
			put(c, box->x + x, box->y + y, colour);
}

void canvas_frame(struct canvas *c, const struct box *box, uint32_t thickness, uint32_t colour)
{
	const uint32_t t = thickness, width = box->width + 2 * t;
	const struct box sides[] = {{box->x - t, box->y - t, width, t},
				    {box->x - t, box->y + box->height, width, t},
				    {box->x - t, box->y, t, box->height},
				    {box->x + box->width, box->y, t, box->height}};

	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		canvas_fill(c, &sides[i], colour);
}

void canvas_image(struct canvas *c, uint32_t x, uint32_t y, const uint8_t *rgb, uint32_t width, uint32_t height,
		  uint32_t times)
{
	for (uint32_t v = 0; v < height * times; v++) {
		for (uint32_t u = 0; u < width * times; u++) {
			const uint8_t *from = rgb + ((size_t)(v / times) * width + u / times) * 3;

			put(c, x + u, y + v, (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2]);
		}
	}
}

static void put_letter(struct canvas *c, uint32_t x, uint32_t y, unsigned char letter, uint32_t colour)
{
	const bool is_known = letter >= FIRST_LETTER && letter - FIRST_LETTER < (int)(sizeof(letters) / sizeof(letters[0]));
	const char *dots = is_known ? letters[letter - FIRST_LETTER] : unknown;

	for (uint32_t v = 0; v < ROWS; v++)
		for (uint32_t u = 0; u < DOTS; u++)
			if (dots[v * (DOTS + 1) + u] == '#')
				put(c, x + u, y + v, colour);
}

/* How many bytes the letter has: continuation bytes of UTF-8 belong to the one before. */
static size_t letter_bytes(const char *text)
{
	size_t n = 1;

	while (((unsigned char)text[n] & 0xC0) == 0x80)
		n++;
	return n;
}

/* The bytes of the line that text begins with. */
static size_t line_bytes(const char *text, uint32_t n_columns)
{
	size_t n = 0, n_good = 0;

	for (uint32_t column = 0; column < n_columns; column++) {
		if (!text[n] || text[n] == '\n')
			return n;
		n += letter_bytes(text + n);
		if (strchr(", \t(/", text[n - 1]))
			n_good = n;
	}
	if (!text[n] || text[n] == '\n' || n_good == 0)
		return n;
	return n_good;
}

uint32_t canvas_text(struct canvas *c, uint32_t x, uint32_t y, uint32_t n_columns, uint32_t n_lines, const char *text,
		     uint32_t colour)
{
	uint32_t line = 0;

	for (; *text && line < n_lines; line++, y += LETTER_HEIGHT) {
		const char *end = text + line_bytes(text, n_columns);
		const bool is_cut = line + 1 == n_lines && *end && end[*end == '\n'];

		for (uint32_t column = 0; text < end; text += letter_bytes(text), column++) {
			const bool is_dot = is_cut && column + 3 >= n_columns;
			const unsigned char letter = *text == '\t' ? ' ' : (unsigned char)*text;

			if (c)
				put_letter(c, x + column * LETTER_WIDTH, y, is_dot ? '.' : letter, colour);
		}
		text = end + (*end == '\n');
	}
	return line;
}

static int write_png(const struct canvas *c, FILE *file, const char *text)
{
	png_text chunk = {.compression = PNG_TEXT_COMPRESSION_NONE, .key = (char *)"ringfeed",
			  .text = (char *)(uintptr_t)text, .text_length = strlen(text)};
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	volatile int r = -EIO;

	if (!info) {
		png_destroy_write_struct(&png, NULL);
		return fail(-ENOMEM);
	}
	if (setjmp(png_jmpbuf(png)))
		goto out;
	png_init_io(png, file);
	png_set_IHDR(png, info, c->width, c->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
		     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_compression_level(png, 3);
	png_set_text(png, info, &chunk, 1);
	png_write_info(png, info);
	for (uint32_t y = 0; y < c->height; y++)
		png_write_row(png, c->rgb + (size_t)y * c->width * 3);
	png_write_end(png, NULL);
	r = 0;
out:
	png_destroy_write_struct(&png, &info);
	return r;
}

/* Everything but the name. */
static int write_file(const struct canvas *c, int fd, const char *text)
{
	const mode_t mask = umask(0);
	FILE *file;
	int r;

	umask(mask);
	if (fchmod(fd, 0666 & ~mask) < 0 || !(file = fdopen(fd, "wb"))) {
		r = fail(-errno);
		close(fd);
		return r;
	}
	r = write_png(c, file, text);
	if (fclose(file) != 0 && r == 0)
		r = fail(-errno);
	return r;
}

/* Not every file system knows how not to replace. */
static int give_name(const char *from, const char *to, bool is_forced)
{
	if (is_forced)
		return rename(from, to) < 0 ? fail(-errno) : 0;
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL)
		return fail(-errno);
	if (link(from, to) < 0)
		return fail(-errno);
	unlink(from);
	return 0;
}

int canvas_write(const struct canvas *c, const char *path, const char *text, bool is_forced)
{
	char part[PATH_BYTES];
	int fd, r;

	if (snprintf(part, sizeof(part), "%s.XXXXXX", path) >= (int)sizeof(part))
		return fail(-ENAMETOOLONG);
	fd = mkostemp(part, O_CLOEXEC);
	if (fd < 0)
		return fail(-errno);
	r = write_file(c, fd, text);
	if (r == 0)
		r = give_name(part, path, is_forced);
	if (r < 0)
		unlink(part);
	return r < 0 ? pass(r) : 0;
}
