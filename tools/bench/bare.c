/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The yardstick: what decoding the crops costs with libjpeg-turbo alone, in the loop that a careful
 * user of jpeglib.h writes. One decompressor for all photos, accurate integer DCT, fancy upsampling,
 * columns cropped with one iMCU of margin on each side, rows above skipped, the rest of the file not
 * read, rows into one small aligned buffer that is used again and again. PNG is decoded whole by
 * libpng, which knows no regions. Nothing of ringfeed is in here.
 *
 * bench-bare PHOTO…; commands on stdin:
 *   crops N        N lines follow, "PHOTO X0 Y0 X1 Y1"; PHOTO counts from 0
 *   decode I N     decodes N of them from the I-th on; answers with CPU seconds
 *   hash           decodes all; answers with a line for each: a hash of its pixels, or "-"
 *   coefficients I N   undoes the entropy coding of those crops' photos, no more; CPU seconds
 *   raw I N        the same and the inverse DCT, no upsampling, no colours; CPU seconds
 * The last two run whole photos: their profiles tell which code of libjpeg does what.
 */
#include "turn.h"

#include <jpeglib.h>
#include <png.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16, SIDE_MAX = 65500 };

struct bare {
	struct jpeg_decompress_struct jpeg;
	struct jpeg_error_mgr errors;
	jmp_buf failed;
	JSAMPLE *rows; /* ROWS rows of the widest photo so far */
	size_t row_bytes;
	png_bytep picture; /* of the largest PNG so far */
	size_t picture_bytes;
	uint64_t *hash; /* where the pixels' hash goes, or NULL */
};

static void on_error(j_common_ptr c)
{
	struct bare *b = c->client_data;

	longjmp(b->failed, 1);
}

static void on_message(j_common_ptr c, int level)
{
}

static void rows_reserve(struct bare *b, size_t row_bytes)
{
	row_bytes = (row_bytes + 63) / 64 * 64;
	if (row_bytes <= b->row_bytes)
		return;
	free(b->rows);
	b->rows = aligned_alloc(64, ROWS * row_bytes);
	if (!b->rows)
		turn_die("out of memory");
	b->row_bytes = row_bytes;
}

static void jpeg_crop(struct bare *b, const struct photo *p, const struct crop *crop)
{
	struct jpeg_decompress_struct *c = &b->jpeg;
	JDIMENSION imcu, x0, x1, width;
	JSAMPROW rows[ROWS];

	jpeg_mem_src(c, p->bytes, (unsigned long)p->n_bytes);
	jpeg_read_header(c, TRUE);
	c->out_color_space = JCS_RGB;
	c->dct_method = JDCT_ISLOW;
	c->do_fancy_upsampling = TRUE;
	jpeg_start_decompress(c);

	imcu = (JDIMENSION)(c->max_h_samp_factor * DCTSIZE);
	x0 = crop->x0 / imcu * imcu;
	x0 = x0 > imcu ? x0 - imcu : 0;
	x1 = (crop->x1 + imcu - 1) / imcu * imcu + imcu;
	width = (x1 < c->output_width ? x1 : c->output_width) - x0;
	if (width < c->output_width)
		jpeg_crop_scanline(c, &x0, &width);
	if (crop->y0 > 0)
		jpeg_skip_scanlines(c, crop->y0);

	rows_reserve(b, (size_t)c->output_width * 3);
	for (int i = 0; i < ROWS; i++)
		rows[i] = b->rows + (size_t)i * b->row_bytes;
	while (c->output_scanline < crop->y1) {
		const JDIMENSION left = crop->y1 - c->output_scanline;
		const JDIMENSION n = jpeg_read_scanlines(c, rows, left < ROWS ? left : ROWS);

		for (JDIMENSION i = 0; b->hash && i < n; i++)
			*b->hash = turn_hash(*b->hash, rows[i] + 3 * (crop->x0 - x0),
					     3 * (size_t)(crop->x1 - crop->x0));
	}
	jpeg_abort_decompress(c);
}

struct png_bytes {
	const unsigned char *at;
	size_t n_left;
};

static void png_bytes_read(png_structp png, png_bytep to, size_t n)
{
	struct png_bytes *bytes = png_get_io_ptr(png);

	if (n > bytes->n_left)
		png_error(png, "cut");
	memcpy(to, bytes->at, n);
	bytes->at += n;
	bytes->n_left -= n;
}

static void png_quiet(png_structp png, png_const_charp text)
{
}

static _Noreturn void png_failed(png_structp png, png_const_charp text)
{
	struct bare *b = png_get_error_ptr(png);

	longjmp(b->failed, 1);
}

/* Whole, to 8-bit RGB; the rows lie one after the other in b->picture. */
static void png_whole(struct bare *b, png_structp png, png_infop info, const struct crop *crop)
{
	png_uint_32 height;
	size_t row_bytes;

	png_read_info(png, info);
	png_set_expand(png);
	png_set_strip_16(png);
	png_set_strip_alpha(png);
	png_set_gray_to_rgb(png);
	png_set_interlace_handling(png);
	png_read_update_info(png, info);
	height = png_get_image_height(png, info);
	row_bytes = png_get_rowbytes(png, info);
	if (height * row_bytes > b->picture_bytes) {
		b->picture = turn_array(b->picture, height, row_bytes);
		b->picture_bytes = height * row_bytes;
	}
	for (int i = png_set_interlace_handling(png); i > 0; i--)
		for (png_uint_32 y = 0; y < height; y++)
			png_read_row(png, b->picture + y * row_bytes, NULL);
	for (uint32_t y = crop->y0; b->hash && y < crop->y1; y++)
		*b->hash = turn_hash(*b->hash, b->picture + y * row_bytes + 3 * (size_t)crop->x0,
				     3 * (size_t)(crop->x1 - crop->x0));
}

static bool png_crop(struct bare *b, const struct photo *p, const struct crop *crop)
{
	struct png_bytes bytes = {p->bytes, p->n_bytes};
	png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, b, png_failed, png_quiet);
	png_infop info = png ? png_create_info_struct(png) : NULL;

	if (!info)
		turn_die("out of memory");
	if (setjmp(b->failed)) {
		png_destroy_read_struct(&png, &info, NULL);
		return false;
	}
	png_set_read_fn(png, &bytes, png_bytes_read);
	png_whole(b, png, info, crop);
	png_destroy_read_struct(&png, &info, NULL);
	return true;
}

static bool crop_decode(struct bare *b, const struct photo *p, const struct crop *crop)
{
	if (p->n_bytes > 8 && png_sig_cmp(p->bytes, 0, 8) == 0)
		return png_crop(b, p, crop);
	if (setjmp(b->failed)) {
		jpeg_abort_decompress(&b->jpeg);
		return false;
	}
	jpeg_crop(b, p, crop);
	return true;
}

static void jpeg_coefficients(struct bare *b, const struct photo *p)
{
	jpeg_mem_src(&b->jpeg, p->bytes, (unsigned long)p->n_bytes);
	jpeg_read_header(&b->jpeg, TRUE);
	jpeg_read_coefficients(&b->jpeg);
	jpeg_abort_decompress(&b->jpeg);
}

/* One iMCU row at a time into rows that all components share: nobody looks at them. */
static void jpeg_raw(struct bare *b, const struct photo *p)
{
	struct jpeg_decompress_struct *c = &b->jpeg;
	JSAMPROW rows[MAX_SAMP_FACTOR * DCTSIZE];
	JSAMPARRAY planes[MAX_COMPONENTS];

	jpeg_mem_src(c, p->bytes, (unsigned long)p->n_bytes);
	jpeg_read_header(c, TRUE);
	c->raw_data_out = TRUE;
	c->dct_method = JDCT_ISLOW;
	jpeg_start_decompress(c);
	rows_reserve(b, (size_t)c->output_width + 2 * MAX_SAMP_FACTOR * DCTSIZE);
	for (int i = 0; i < MAX_SAMP_FACTOR * DCTSIZE; i++)
		rows[i] = b->rows + (size_t)(i % ROWS) * b->row_bytes;
	for (int i = 0; i < MAX_COMPONENTS; i++)
		planes[i] = rows;
	while (c->output_scanline < c->output_height)
		jpeg_read_raw_data(c, planes, (JDIMENSION)(c->max_v_samp_factor * DCTSIZE));
	jpeg_abort_decompress(c);
}

static void whole_each(struct bare *b, const struct photo *photos, const struct crop *crops, unsigned n,
		       void (*decode)(struct bare *, const struct photo *))
{
	for (unsigned i = 0; i < n; i++) {
		if (setjmp(b->failed)) {
			jpeg_abort_decompress(&b->jpeg);
			continue;
		}
		decode(b, &photos[crops[i].photo]);
	}
}

static struct crop *crops_read(unsigned n, unsigned n_photos, struct crop *old)
{
	struct crop *crops = turn_array(old, n, sizeof(*crops));

	for (unsigned i = 0; i < n; i++) {
		struct crop *c = &crops[i];
		const char *line = turn_line();

		if (!line || sscanf(line, "%u %u %u %u %u", &c->photo, &c->x0, &c->y0, &c->x1, &c->y1) != 5 ||
		    c->photo >= n_photos || c->x0 >= c->x1 || c->y0 >= c->y1 || c->x1 > SIDE_MAX)
			turn_die("a crop is not one");
	}
	return crops;
}

static void run(struct bare *b, const char *line, const struct photo *photos, const struct crop *crops,
		unsigned n_crops)
{
	const double began = turn_cpu_seconds();
	unsigned first, n;
	char command[16];

	if (sscanf(line, "%15s %u %u", command, &first, &n) != 3 || first > n_crops || n > n_crops - first)
		turn_die(line);
	crops += first;
	if (strcmp(command, "decode") == 0)
		for (unsigned i = 0; i < n; i++)
			crop_decode(b, &photos[crops[i].photo], &crops[i]);
	else if (strcmp(command, "coefficients") == 0)
		whole_each(b, photos, crops, n, jpeg_coefficients);
	else if (strcmp(command, "raw") == 0)
		whole_each(b, photos, crops, n, jpeg_raw);
	else
		turn_die(command);
	printf("%.6f\n", turn_cpu_seconds() - began);
}

static void hash(struct bare *b, const struct photo *photos, const struct crop *crops, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t h = HASH_BEGIN;

		b->hash = &h;
		if (crop_decode(b, &photos[crops[i].photo], &crops[i]))
			printf("%016llx\n", (unsigned long long)h);
		else
			puts("-");
	}
	b->hash = NULL;
}

int main(int argc, char **argv)
{
	const struct photo *photos = photos_load(argv + 1, (unsigned)(argc - 1));
	static struct bare bare;
	struct crop *crops = NULL;
	unsigned n = 0;
	char *line;

	bare.jpeg.err = jpeg_std_error(&bare.errors);
	bare.errors.error_exit = on_error;
	bare.errors.emit_message = on_message;
	bare.jpeg.client_data = &bare;
	jpeg_create_decompress(&bare.jpeg);
	bare.jpeg.client_data = &bare;
	while ((line = turn_line())) {
		if (sscanf(line, "crops %u", &n) == 1)
			crops = crops_read(n, (unsigned)(argc - 1), crops);
		else if (strcmp(line, "hash") == 0)
			hash(&bare, photos, crops, n);
		else
			run(&bare, line, photos, crops, n);
	}
	jpeg_destroy_decompress(&bare.jpeg);
	return 0;
}
