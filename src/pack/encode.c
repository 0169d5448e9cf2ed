/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* libjpeg calls back when the buffer is full; that ends it here, as there is no more room. */
#include "pack/encode.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

enum { QUALITY = 95 };

struct encoder {
	struct jpeg_compress_struct cinfo;
	struct jpeg_error_mgr errors;
	struct jpeg_destination_mgr into;
	jmp_buf out;
};

static void give_up(j_common_ptr cinfo)
{
	struct encoder *e = cinfo->client_data;

	longjmp(e->out, 1);
}

static void say_nothing(j_common_ptr cinfo)
{
}

static void begin(j_compress_ptr cinfo)
{
}

static boolean is_full(j_compress_ptr cinfo)
{
	give_up((j_common_ptr)cinfo);
	return FALSE;
}

static void write_rows(struct encoder *e, const uint8_t *rgb, uint32_t width, uint32_t height)
{
	struct jpeg_compress_struct *c = &e->cinfo;

	c->image_width = width;
	c->image_height = height;
	c->input_components = 3;
	c->in_color_space = JCS_RGB;
	jpeg_set_defaults(c);
	jpeg_set_quality(c, QUALITY, TRUE);
	jpeg_start_compress(c, TRUE);
	while (c->next_scanline < height) {
		JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)c->next_scanline * width * 3);

		jpeg_write_scanlines(c, &row, 1);
	}
	jpeg_finish_compress(c);
}

uint32_t encode_jpeg(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *into, uint32_t n_room)
{
	struct encoder e;
	volatile uint32_t n = 0;

	e.cinfo.err = jpeg_std_error(&e.errors);
	e.errors.error_exit = give_up;
	e.errors.output_message = say_nothing;
	e.cinfo.client_data = &e;
	if (setjmp(e.out) == 0) {
		jpeg_create_compress(&e.cinfo);
		e.into = (struct jpeg_destination_mgr){.next_output_byte = into, .free_in_buffer = n_room,
						       .init_destination = begin, .empty_output_buffer = is_full,
						       .term_destination = begin};
		e.cinfo.dest = &e.into;
		write_rows(&e, rgb, width, height);
		n = n_room - (uint32_t)e.into.free_in_buffer;
	}
	jpeg_destroy_compress(&e.cinfo);
	return n;
}
