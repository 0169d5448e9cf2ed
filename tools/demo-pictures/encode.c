/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libjpeg and libpng both write through us into a growing buffer. Neither can fail on a sound picture
 * but for want of memory, so any error of theirs is -ENOMEM.
 */
#include "encode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

struct jpeg_failure {
	struct jpeg_error_mgr manager; /* first: libjpeg sees only this */
	jmp_buf escape;
};

static void jpeg_fails(j_common_ptr c)
{
	longjmp(((struct jpeg_failure *)c->err)->escape, 1);
}

static int append(struct bytes *b, const void *data, size_t n)
{
	if (b->n_room - b->n < n) {
		size_t n_room = (b->n + n) * 2;
		uint8_t *grown = realloc(b->data, n_room);

		if (!grown)
			return -ENOMEM;
		b->data = grown;
		b->n_room = n_room;
	}
	memcpy(b->data + b->n, data, n);
	b->n += n;
	return 0;
}

int encode_jpeg(const struct picture *p, const struct encode_jpeg *how, struct bytes *ret)
{
	struct jpeg_compress_struct c = {0};
	struct jpeg_failure failure;
	unsigned char *volatile memory = NULL;
	unsigned char *data = NULL;
	unsigned long n = 0;
	volatile int r = -ENOMEM;

	c.err = jpeg_std_error(&failure.manager);
	failure.manager.error_exit = jpeg_fails;
	if (setjmp(failure.escape))
		goto out;
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &data, &n);
	c.image_width = (JDIMENSION)p->width;
	c.image_height = (JDIMENSION)p->height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, how->quality, TRUE);
	c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = how->is_444 ? 1 : 2;
	if (how->is_progressive)
		jpeg_simple_progression(&c);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = (JSAMPROW)p->rgb + (size_t)c.next_scanline * (size_t)p->width * 3;

		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	memory = data;
	ret->n = 0;
	r = append(ret, data, n);
out:
	jpeg_destroy_compress(&c);
	free(memory);
	return r;
}

static void png_bytes(png_structp png, png_bytep data, size_t n)
{
	if (append(png_get_io_ptr(png), data, n) < 0)
		png_error(png, "out of memory");
}

static void png_nothing_to_flush(png_structp png)
{
	(void)png;
}

int encode_png(const struct picture *p, struct bytes *ret)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	volatile int r = -ENOMEM;

	if (!info || setjmp(png_jmpbuf(png)))
		goto out;
	ret->n = 0;
	png_set_write_fn(png, ret, png_bytes, png_nothing_to_flush);
	png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8, PNG_COLOR_TYPE_RGB,
		     PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_compression_level(png, 1);
	png_set_filter(png, 0, PNG_FILTER_SUB);
	png_write_info(png, info);
	for (int y = 0; y < p->height; y++)
		png_write_row(png, p->rgb + (size_t)y * (size_t)p->width * 3);
	png_write_end(png, info);
	r = 0;
out:
	png_destroy_write_struct(&png, &info);
	return r;
}

void bytes_deinit(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}
