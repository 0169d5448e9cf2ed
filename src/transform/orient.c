/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where rows become columns, KERNELS_BLOCK stored columns at a time are turned into rows, in square
 * blocks; the picture is held with sides rounded up to whole blocks. Tags as EXIF 2.3 numbers them:
 * 3 is turned by 180 degrees, 4 upside down, 5 and 7 are mirrored on a diagonal, 6 and 8 turned
 * by 90.
 */
#include "transform/orient.h"

#include <string.h>

struct orient {
	const struct kernels *kernels;
	const struct op *op;
	uint32_t width, height; /* of what is held */
	uint32_t n_taken, n_given;
	size_t stride, n_plane;
	uint8_t *picture;      /* three planes */
	struct row_room block; /* KERNELS_BLOCK rows, plane after plane */
	uint32_t block_at;     /* the stored column it begins with; past the width: none */
	struct row_room line;
};

static bool is_turned(const struct orient *o)
{
	return o->op->orientation >= 5;
}

/* Do stored columns, and stored rows, come last one first? */
static bool columns_are_reversed(unsigned orientation)
{
	return orientation == 3 || orientation == 7 || orientation == 8;
}

static bool rows_are_reversed(unsigned orientation)
{
	return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

static size_t round_up(size_t n)
{
	return (n + KERNELS_BLOCK - 1) / KERNELS_BLOCK * KERNELS_BLOCK;
}

static bool make_buffers(struct orient *o, struct arena *arena)
{
	const size_t n_rows = round_up(o->height), n_line = is_turned(o) ? n_rows : o->stride;

	o->n_plane = n_rows * o->stride;
	o->picture = arena_alloc(arena, 3 * o->n_plane + KERNELS_SLACK);
	o->line = (struct row_room){arena_alloc(arena, 3 * n_line + KERNELS_SLACK), n_line};
	if (is_turned(o))
		o->block = (struct row_room){
			arena_alloc(arena, 3 * n_line * KERNELS_BLOCK + KERNELS_SLACK), n_line};
	return o->picture && o->line.at && (!is_turned(o) || o->block.at);
}

struct orient *orient_start(const struct kernels *kernels, const struct op *op, struct arena *arena)
{
	struct orient *o = arena_alloc(arena, sizeof(*o));

	if (!o)
		return NULL;
	*o = (struct orient){.kernels = kernels,
			     .op = op,
			     .width = op->in.x1 - op->in.x0,
			     .height = op->in.y1 - op->in.y0};
	o->stride = round_up(o->width);
	o->block_at = UINT32_MAX;
	return make_buffers(o, arena) ? o : NULL;
}

void orient_take(struct orient *o, struct row in)
{
	for (unsigned c = 0; c < 3; c++)
		memcpy(o->picture + c * o->n_plane + o->n_taken * o->stride, in.at + c * in.stride,
		       o->width);
	o->n_taken++;
}

/* Makes the block that has the stored column. */
static void turn_block(struct orient *o, uint32_t column)
{
	o->block_at = column / KERNELS_BLOCK * KERNELS_BLOCK;
	for (unsigned c = 0; c < 3; c++) {
		const uint8_t *in = o->picture + c * o->n_plane + o->block_at;
		uint8_t *out = o->block.at + c * KERNELS_BLOCK * o->block.stride;

		for (uint32_t y = 0; y < o->height; y += KERNELS_BLOCK)
			o->kernels->transpose(in + y * o->stride, o->stride, out + y,
					      o->block.stride);
	}
}

/* A stored column, or a stored row, in the order in which it is stored. */
static struct row stored_line(struct orient *o, uint32_t i)
{
	if (!is_turned(o))
		return (struct row){o->picture + i * o->stride, o->n_plane};
	if (i / KERNELS_BLOCK * KERNELS_BLOCK != o->block_at)
		turn_block(o, i);
	return (struct row){o->block.at + i % KERNELS_BLOCK * o->block.stride,
			    KERNELS_BLOCK * o->block.stride};
}

bool orient_give(struct orient *o, struct row *ret)
{
	const uint32_t n_lines = is_turned(o) ? o->width : o->height;
	const uint32_t n = is_turned(o) ? o->height : o->width, i = o->n_given;
	const bool is_columns_back = columns_are_reversed(o->op->orientation);
	const bool is_rows_back = rows_are_reversed(o->op->orientation);
	struct row line;

	if (o->n_taken < o->height || o->n_given == n_lines)
		return false;
	o->n_given++;
	line = stored_line(o,
			   (is_turned(o) ? is_columns_back : is_rows_back) ? n_lines - 1 - i : i);
	*ret = line;
	if (!(is_turned(o) ? is_rows_back : is_columns_back))
		return true;
	for (unsigned c = 0; c < 3; c++)
		for (uint32_t x = 0; x < n; x++)
			o->line.at[c * o->line.stride + x] = line.at[c * line.stride + n - 1 - x];
	*ret = (struct row){o->line.at, o->line.stride};
	return true;
}
