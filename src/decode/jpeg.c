/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * JPEG through libjpeg-turbo, set as Pillow sets it: accurate integer DCT, fancy upsampling. Rows above
 * the region are skipped (entropy-decoded only), columns are cropped to the strip that the upsampling
 * looks at (jpeg-strip.h); the rest of the file after the last row is never looked at. Where a file has
 * restart markers, nothing is decoded but the segments around the region (jpeg-restart.h).
 *
 * Missing bytes: libjpeg fills in for them with a warning. The image is bad only if a row that is
 * wanted was decoded after that point. In a file of one scan that is known row by row; a file of
 * several scans is read as a whole first, so there the row where the bytes ended is remembered, and
 * scans that never came make every row bad.
 */
#include "decode/codec.h"
#include "decode/exif.h"
#include "decode/jpeg-memory.h"
#include "decode/jpeg-restart.h"
#include "decode/jpeg-strip.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>

enum {
	ROWS_AT_ONCE = 16,
	/* libjpeg-turbo writes aligned rows past the cache, which is where they are wanted a moment later. */
	OFF_ALIGNMENT = 8,
	MARKER_RST0 = 0xd0,
	MARKER_EOI = 0xd9,
	NEVER = 0x7fffffff,
};

struct jpeg {
	struct jpeg_decompress_struct cinfo;
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	struct jpeg_memory memory; /* cinfo.client_data points here */
	jmp_buf out;
	enum cause cause; /* why out was taken */
	struct image_trouble *trouble;
	uint32_t max_scans;
	bool is_past_end;	  /* libjpeg asked for bytes behind the last one */
	bool is_short;		  /* data ran out in the scan being read; cleared per row of scans */
	uint32_t first_short_row; /* first iMCU row of any scan that lacks data */
	uint32_t seen_components; /* a bit each, of those that some scan held */
	const uint8_t *bytes;	  /* the file; what is decoded may be a cut of it */
	size_t n_bytes;
	bool is_cut; /* the header in cinfo is a cut's */
	uint32_t height, n_rows_cut; /* of the file; how many of its rows lie above the cut */
};

static struct jpeg *jpeg_of(j_common_ptr cinfo)
{
	return (struct jpeg *)((char *)cinfo->client_data - offsetof(struct jpeg, memory));
}

static enum cause cause_of_error(int code)
{
	switch (code) {
	case JERR_OUT_OF_MEMORY:
		return CAUSE_decode_memory;
	case JERR_BAD_PRECISION: /* 12 bits */
	case JERR_SOF_UNSUPPORTED: /* lossless, hierarchical */
	case JERR_ARITH_NOTIMPL:
	case JERR_COMPONENT_COUNT:
	case JERR_CONVERSION_NOTIMPL:
	case JERR_FRACT_SAMPLE_NOTIMPL:
	case JERR_CCIR601_NOTIMPL:
	case JERR_NOTIMPL:
		return CAUSE_unsupported_image;
	default:
		return CAUSE_damaged_image;
	}
}

static void leave(struct jpeg *j, enum cause cause)
{
	j->cause = cause;
	longjmp(j->out, 1);
}

static void on_error(j_common_ptr cinfo)
{
	struct jpeg *j = jpeg_of(cinfo);
	char text[JMSG_LENGTH_MAX];

	cinfo->err->format_message(cinfo, text);
	codec_say(j->trouble, "libjpeg: %s", text);
	leave(j, cause_of_error(cinfo->err->msg_code));
}

/* libjpeg makes up data from here on: remember where, if it is for want of bytes. */
static void note_short(struct jpeg *j)
{
	j->is_short = true;
	if (j->cinfo.input_iMCU_row < j->first_short_row)
		j->first_short_row = j->cinfo.input_iMCU_row;
}

/* In a cut there are segments without any data on purpose; libjpeg says so, and what it makes up for
 * them it finds left over at a later marker. */
static bool is_about_cut(const struct jpeg *j)
{
	const uint8_t *at = j->source.next_input_byte; /* where the MCU in hand begins */

	if (!j->is_cut)
		return false;
	return j->errors.msg_code == JWRN_EXTRANEOUS_DATA ||
	       (j->errors.msg_code == JWRN_HIT_MARKER && j->source.bytes_in_buffer >= 2 && at[0] == 0xff &&
		at[1] >= MARKER_RST0 && at[1] < MARKER_RST0 + 8);
}

static void on_message(j_common_ptr cinfo, int level)
{
	struct jpeg *j = jpeg_of(cinfo);

	if (level >= 0 || is_about_cut(j))
		return;
	cinfo->err->num_warnings++;
	if (cinfo->err->msg_code == JWRN_HIT_MARKER && j->cinfo.unread_marker == MARKER_EOI)
		note_short(j);
}

static void no_output(j_common_ptr cinfo)
{
}

static void no_source_step(j_decompress_ptr cinfo)
{
}

/* All bytes were given at once: whoever wants more gets an end marker. */
static boolean on_empty(j_decompress_ptr cinfo)
{
	static const JOCTET end[2] = {0xff, MARKER_EOI};
	struct jpeg *j = jpeg_of((j_common_ptr)cinfo);

	j->is_past_end = true;
	cinfo->src->next_input_byte = end;
	cinfo->src->bytes_in_buffer = sizeof(end);
	if (cinfo->arith_code) /* its decoder does not say so when it runs dry */
		note_short(j);
	return TRUE;
}

static void on_skip(j_decompress_ptr cinfo, long n_bytes)
{
	struct jpeg_source_mgr *s = cinfo->src;

	if (n_bytes <= 0)
		return;
	if ((size_t)n_bytes > s->bytes_in_buffer) {
		on_empty(cinfo);
		return;
	}
	s->next_input_byte += n_bytes;
	s->bytes_in_buffer -= (size_t)n_bytes;
}

static void on_progress(j_common_ptr cinfo)
{
	struct jpeg *j = jpeg_of(cinfo);

	if (j->cinfo.input_scan_number > 0 && (uint32_t)j->cinfo.input_scan_number > j->max_scans) {
		codec_say(j->trouble, "more than %u scans", j->max_scans);
		leave(j, CAUSE_too_many_scans);
	}
	for (int i = 0; i < j->cinfo.comps_in_scan; i++)
		j->seen_components |= 1u << (j->cinfo.cur_comp_info[i]->component_index & 31);
}

static bool create(struct jpeg *j)
{
	struct image_trouble ignored;

	j->trouble = &ignored;
	if (setjmp(j->out))
		return false;
	jpeg_create_decompress(&j->cinfo);
	return true;
}

static void *jpeg_make(void)
{
	struct jpeg *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->cinfo.err = jpeg_std_error(&j->errors);
	j->errors.error_exit = on_error;
	j->errors.emit_message = on_message;
	j->errors.output_message = no_output;
	j->cinfo.client_data = &j->memory;
	if (!create(j)) {
		free(j);
		return NULL;
	}
	jpeg_memory_attach(&j->memory, (j_common_ptr)&j->cinfo);
	j->source = (struct jpeg_source_mgr){.init_source = no_source_step,
					     .fill_input_buffer = on_empty,
					     .skip_input_data = on_skip,
					     .resync_to_restart = jpeg_resync_to_restart,
					     .term_source = no_source_step};
	j->cinfo.src = &j->source;
	j->progress.progress_monitor = on_progress;
	j->cinfo.progress = &j->progress;
	return j;
}

static void jpeg_drop(void *codec)
{
	struct jpeg *j = codec;

	if (!j)
		return;
	jpeg_memory_detach(&j->memory, (j_common_ptr)&j->cinfo);
	jpeg_destroy_decompress(&j->cinfo);
	free(j);
}

/* No image sees what another one left behind, its tables included. */
static void forget(struct jpeg *j, struct arena *arena)
{
	jpeg_abort_decompress(&j->cinfo);
	jpeg_memory_use(&j->memory, arena);
	memset(j->cinfo.quant_tbl_ptrs, 0, sizeof(j->cinfo.quant_tbl_ptrs));
	memset(j->cinfo.dc_huff_tbl_ptrs, 0, sizeof(j->cinfo.dc_huff_tbl_ptrs));
	memset(j->cinfo.ac_huff_tbl_ptrs, 0, sizeof(j->cinfo.ac_huff_tbl_ptrs));
	j->cinfo.marker_list = NULL;
	j->cinfo.Adobe_transform = 0;
	j->errors.num_warnings = 0;
	j->cause = CAUSE_none;
	j->is_past_end = false;
	j->is_short = false;
	j->first_short_row = NEVER;
	j->seen_components = 0;
	j->n_rows_cut = 0;
}

/* libjpeg-turbo 2.1.5 reads memory it never wrote when it scales 4x2 and 2x4 samplings. */
static uint32_t max_shrink(const struct jpeg_decompress_struct *c)
{
	for (int i = 0; i < c->num_components; i++)
		if (c->comp_info[i].h_samp_factor > 2 || c->comp_info[i].v_samp_factor > 2)
			return 1;
	return DCTSIZE;
}

static enum cause read_header(struct jpeg *j, struct arena *arena, const uint8_t *bytes, size_t n_bytes)
{
	forget(j, arena);
	j->source.next_input_byte = bytes;
	j->source.bytes_in_buffer = n_bytes;
	if (setjmp(j->out)) {
		j->trouble->n_warnings = (uint32_t)j->errors.num_warnings;
		return j->cause;
	}
	jpeg_read_header(&j->cinfo, TRUE);
	return CAUSE_none;
}

static enum cause jpeg_open(void *codec, struct arena *arena, const struct image_source *source,
			    struct image_trouble *trouble, struct image_info *ret)
{
	struct jpeg *j = codec;
	struct jpeg_decompress_struct *c = &j->cinfo;
	enum cause cause;

	j->trouble = trouble;
	j->max_scans = source->limits->max_scans;
	j->bytes = source->bytes;
	j->n_bytes = source->n_bytes;
	j->is_cut = false;
	cause = read_header(j, arena, j->bytes, j->n_bytes);
	if (cause != CAUSE_none)
		return cause;
	ret->width = c->image_width;
	ret->height = j->height = c->image_height;
	ret->max_shrink = max_shrink(c);
	if (source->has_exif)
		ret->orientation = exif_of_jpeg(source->bytes, source->n_bytes);
	if (c->num_components != 1 && c->num_components != 3 && c->num_components != 4) {
		codec_say(trouble, "%d components", c->num_components);
		return CAUSE_unsupported_image;
	}
	return codec_check_size(ret->width, ret->height, source->limits, trouble);
}

/* As Pillow: the stored values are inverted CMYK, then its own cmyk2rgb. In place. */
static void cmyk_to_rgb(uint8_t *row, uint32_t width)
{
	for (uint32_t x = 0; x < width; x++) {
		const uint8_t *in = row + 4 * (size_t)x;
		uint8_t *out = row + 3 * (size_t)x;
		const int white = in[3];
		const int inks[3] = {255 - in[0], 255 - in[1], 255 - in[2]};

		for (int i = 0; i < 3; i++) {
			const int t = inks[i] * white + 128;

			out[i] = (uint8_t)(white - (((t >> 8) + t) >> 8));
		}
	}
}

/* The row is one of the output. */
static void lacks_row(struct jpeg *j, uint32_t row)
{
	codec_say(j->trouble, "the bytes end before row %u of %u",
		  j->n_rows_cut + row * j->cinfo.scale_denom, j->height);
	leave(j, CAUSE_damaged_image);
}

/* Has a progressive file refined every coefficient to its last bit? */
static bool has_all_bits(const struct jpeg_decompress_struct *c)
{
	for (int i = 0; c->progressive_mode && i < c->num_components; i++)
		for (int k = 0; k < DCTSIZE2; k++)
			if (c->coef_bits[i][k] != 0)
				return false;
	return true;
}

/* A file of several scans has been read whole: is everything there that the region needs? */
static void check_scans(struct jpeg *j, const struct image_region *region)
{
	struct jpeg_decompress_struct *c = &j->cinfo;
	const uint32_t all = (1u << c->num_components) - 1;
	const uint32_t imcu = jpeg_imcu_height(c);
	uint32_t last = region->y1 - 1;

	if (jpeg_mixes_rows(c) && region->y1 < c->output_height)
		last++;
	if (last / imcu >= j->first_short_row)
		lacks_row(j, j->first_short_row * imcu);
	if (!j->is_past_end)
		return;
	if ((j->seen_components & all) != all)
		lacks_row(j, 0);
	if (!has_all_bits(c))
		lacks_row(j, 0);
}

/*
 * Starts decoding the strip of columns, and sets its x0 to the first one that will come. Returns the
 * first row that will come. An image whose scans stop before full precision is smoothed across blocks
 * by libjpeg, which comes out as in a full decode only without crop and skipping.
 */
static uint32_t start(struct jpeg *j, const struct image_region *region, struct jpeg_strip *strip)
{
	struct jpeg_decompress_struct *c = &j->cinfo;
	JDIMENSION x0 = strip->x0, width = strip->x1 - strip->x0;

	jpeg_start_decompress(c);
	if (jpeg_has_multiple_scans(c))
		check_scans(j, region);
	if (!has_all_bits(c)) {
		strip->x0 = 0;
		return 0;
	}
	/* libjpeg-turbo 2.1.5 checks x0 + width in 32 bits; here both are within the image. */
	jpeg_crop_scanline(c, &x0, &width);
	for (uint32_t n_skipped = 0; n_skipped < region->y0;) {
		const JDIMENSION n = jpeg_skip_scanlines(c, region->y0 - n_skipped);

		if (!n)
			leave(j, CAUSE_damaged_image);
		n_skipped += n;
	}
	return region->y0;
}

static void set_output(struct jpeg_decompress_struct *c, const struct image_region *region)
{
	c->out_color_space = c->num_components == 4 ? JCS_CMYK : JCS_RGB;
	c->dct_method = JDCT_ISLOW;
	c->do_fancy_upsampling = TRUE;
	c->scale_num = 1;
	c->scale_denom = region->shrink;
	jpeg_calc_output_dimensions(c);
}

/* Rows to decode into, of the strip's width; start() may have to give up the crop of a progressive image. */
static JSAMPARRAY make_rows(struct jpeg *j, const struct jpeg_strip *strip)
{
	struct jpeg_decompress_struct *c = &j->cinfo;
	const JDIMENSION width = c->progressive_mode ? c->output_width : strip->x1 - strip->x0;
	const JDIMENSION n_channels = c->num_components == 4 ? 4 : 3;
	JSAMPARRAY rows = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE,
					       width * n_channels + OFF_ALIGNMENT, ROWS_AT_ONCE);

	for (int i = 0; i < ROWS_AT_ONCE; i++)
		rows[i] += OFF_ALIGNMENT;
	return rows;
}

static enum cause read_region(struct jpeg *j, const struct image_region *region, image_row_fn *row, void *user)
{
	struct jpeg_decompress_struct *c = &j->cinfo;
	const bool is_one_scan = !jpeg_has_multiple_scans(c);
	struct jpeg_strip strip;
	JSAMPARRAY rows;
	uint32_t y;

	if (setjmp(j->out)) {
		j->trouble->n_warnings = (uint32_t)j->errors.num_warnings;
		return j->cause;
	}
	set_output(c, region);
	strip = jpeg_strip_around(c, region);
	rows = make_rows(j, &strip);
	for (y = start(j, region, &strip); y < region->y1;) {
		const uint32_t n_left = region->y1 - y;
		const JDIMENSION n = jpeg_read_scanlines(c, rows,
							 n_left < ROWS_AT_ONCE ? n_left : ROWS_AT_ONCE);

		if (!n || (j->is_short && is_one_scan))
			lacks_row(j, y);
		for (JDIMENSION i = 0; i < n; i++, y++) {
			if (y < region->y0)
				continue;
			if (c->num_components == 4)
				cmyk_to_rgb(rows[i], c->output_width);
			row(user, rows[i] + 3 * (size_t)(region->x0 - strip.x0));
		}
	}
	j->trouble->n_warnings = (uint32_t)j->errors.num_warnings;
	return CAUSE_none;
}

/* Puts the part of the file that the region needs in the file's place, where restart markers allow it. */
static bool take_cut(struct jpeg *j, struct image_region *region)
{
	struct jpeg_decompress_struct *c = &j->cinfo;
	const long n_warnings = j->errors.num_warnings;
	struct jpeg_strip strip;
	struct jpeg_cut cut;
	uint32_t x, y;

	if (setjmp(j->out))
		return false;
	set_output(c, region);
	strip = jpeg_strip_around(c, region);
	if (!jpeg_cut(c, j->bytes, j->n_bytes, &strip, j->memory.arena, &cut))
		return false;
	x = cut.x * jpeg_imcu_width(c);
	y = cut.y * jpeg_imcu_height(c);
	j->is_cut = true;
	if (read_header(j, j->memory.arena, cut.bytes, cut.n_bytes) != CAUSE_none)
		return false;
	j->errors.num_warnings = n_warnings;
	j->n_rows_cut = y * region->shrink;
	*region = (struct image_region){region->x0 - x, region->y0 - y, region->x1 - x, region->y1 - y,
					region->shrink};
	return true;
}

/* A cut needs memory for its copy. All memory is asked for before the first row, so where there is too
 * little, the file can still be read as it lies, and the verdict is the one of a file without markers. */
static enum cause jpeg_read(void *codec, const struct image_region *region, image_row_fn *row, void *user)
{
	struct jpeg *j = codec;
	struct arena *arena = j->memory.arena;
	const size_t n_used = arena->n_used;
	struct image_region inside = *region;
	enum cause cause;

	if (!j->cinfo.restart_interval)
		return read_region(j, region, row, user);
	if (take_cut(j, &inside)) {
		cause = read_region(j, &inside, row, user);
		if (cause != CAUSE_decode_memory)
			return cause;
	}
	arena_rewind(arena, n_used);
	*j->trouble = (struct image_trouble){0};
	if (j->is_cut) {
		cause = read_header(j, arena, j->bytes, j->n_bytes);
		if (cause != CAUSE_none)
			return cause;
	}
	return read_region(j, region, row, user);
}

static bool jpeg_knows(const uint8_t *bytes, size_t n)
{
	return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

const struct codec codec_jpeg = {
	.name = "jpeg",
	.knows = jpeg_knows,
	.make = jpeg_make,
	.drop = jpeg_drop,
	.open = jpeg_open,
	.read = jpeg_read,
};
