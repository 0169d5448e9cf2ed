/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A chroma sample that is doubled covers the pixels 2k and 2k + 1, and the filter mixes its left
 * neighbour into the first, the right one into the second. So only a region that begins at an even
 * pixel on an iMCU edge looks into the iMCU before it, and one that ends behind an odd pixel needs one
 * pixel more. Where a component is repeated instead (4:1:1, or at 1/8 of the size), or needs no
 * upsampling at all, nothing looks anywhere.
 *
 * libjpeg takes the filter only for components of more than two samples a row, and looks again when a
 * crop leaves less than two: so a strip is never made narrower than four samples of any component.
 */
#include "decode/jpeg-strip.h"

enum { SAMPLES_MIN = 4 };

/* How many samples of the component become max_samp_factor pixels: less than those when it is upsampled. */
static int samples(const struct jpeg_decompress_struct *c, const jpeg_component_info *of, int factor)
{
	return factor * of->DCT_scaled_size / c->min_DCT_scaled_size;
}

static bool is_filtered(const struct jpeg_decompress_struct *c, bool by_rows)
{
	for (int i = 0; c->min_DCT_scaled_size > 1 && i < c->num_components; i++) {
		const jpeg_component_info *of = &c->comp_info[i];
		const int h = samples(c, of, of->h_samp_factor), v = samples(c, of, of->v_samp_factor);
		const bool is_wider = 2 * h == c->max_h_samp_factor;
		const bool is_higher = 2 * v == c->max_v_samp_factor;

		if (by_rows ? is_higher && (is_wider || h == c->max_h_samp_factor)
			    : is_wider && (is_higher || v == c->max_v_samp_factor))
			return true;
	}
	return false;
}

bool jpeg_mixes_rows(const struct jpeg_decompress_struct *c)
{
	return is_filtered(c, true);
}

/* A lone component is coded block by block, whatever its sampling factors. */
uint32_t jpeg_imcu_width(const struct jpeg_decompress_struct *c)
{
	return (uint32_t)c->min_DCT_scaled_size *
	       (c->num_components == 1 ? 1 : (uint32_t)c->max_h_samp_factor);
}

uint32_t jpeg_imcu_height(const struct jpeg_decompress_struct *c)
{
	return (uint32_t)c->min_DCT_scaled_size * (uint32_t)c->max_v_samp_factor;
}

static uint32_t least(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

static void set_columns(const struct jpeg_decompress_struct *c, const struct image_region *region,
			struct jpeg_strip *s)
{
	const uint32_t imcu = jpeg_imcu_width(c);
	const uint32_t narrowest = SAMPLES_MIN * (uint32_t)c->max_h_samp_factor;
	const bool is_mixed = is_filtered(c, false);

	s->x0 = region->x0 / imcu * imcu;
	if (is_mixed && s->x0 == region->x0 && s->x0 > 0)
		s->x0 -= imcu;
	while (s->x0 > 0 && c->output_width - s->x0 < narrowest)
		s->x0 -= imcu;
	s->x1 = least((uint64_t)region->x1 + (is_mixed && region->x1 % 2 == 0), c->output_width);
	if (s->x1 - s->x0 < narrowest)
		s->x1 = least((uint64_t)s->x0 + narrowest, c->output_width);
}

/* libjpeg hands out max_v_samp_factor rows at a time, all once it has what the last of them needs. */
static void set_rows(const struct jpeg_decompress_struct *c, const struct image_region *region,
		     struct jpeg_strip *s)
{
	const uint32_t imcu = jpeg_imcu_height(c), group = (uint32_t)c->max_v_samp_factor;
	const bool is_mixed = jpeg_mixes_rows(c);
	uint64_t y1 = region->y1;

	s->y0 = region->y0 / imcu * imcu;
	if (is_mixed && s->y0 == region->y0 && s->y0 > 0)
		s->y0 -= imcu;
	if (is_mixed && (region->y1 + group - 1) / group * group % imcu == 0)
		y1 += group;
	s->y1 = least((y1 + imcu - 1) / imcu * imcu, c->output_height);
}

struct jpeg_strip jpeg_strip_around(const struct jpeg_decompress_struct *c,
				    const struct image_region *region)
{
	struct jpeg_strip s;

	set_columns(c, region, &s);
	set_rows(c, region, &s);
	return s;
}
