/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The index says where each frame lies in the file and in the unit; what stands between frames (skippable ones, empty
 * ones) is passed over. Pieces go to the decoder in stretches whose raw bytes are still in the cache when
 * they are hashed.
 */
#include "shard/inflate.h"

#include "base/fault.h"
#include "shard/frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { STRETCH = 256 << 10 };

struct inflate {
	struct decoder decoder;
	enum packing packing;
	struct sample_unit unit;
	const struct shard_frame *frames; /* of the unit */
	uint8_t *into;
	uint64_t at;	/* of the file, the next byte */
	uint32_t frame; /* the next that is not over */
	bool is_open;	/* it has begun */
	bool is_void;
};

int inflate_new(struct inflate **ret)
{
	struct inflate *x = calloc(1, sizeof(*x));
	int r = x ? decoder_init(&x->decoder, true) : fail(-ENOMEM);

	if (r < 0) {
		free(x);
		return pass(r);
	}
	x->is_void = true;
	*ret = x;
	return 0;
}

struct inflate *inflate_free(struct inflate *x)
{
	if (x) {
		decoder_deinit(&x->decoder);
		free(x);
	}
	return NULL;
}

void inflate_begin(struct inflate *x, enum packing packing, const struct sample_unit *unit,
		   const struct shard_frame *frames, void *into)
{
	x->packing = packing;
	x->unit = *unit;
	x->frames = frames;
	x->into = into;
	x->at = unit->offset;
	x->frame = 0;
	x->is_open = x->is_void = false;
}

static int spoil(struct inflate *x, uint64_t offset, struct reason *why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int spoil(struct inflate *x, uint64_t offset, struct reason *why, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reason_set(why, "offset %llu: %s", (unsigned long long)offset, text);
	x->is_void = true;
	return INFLATE_E_DAMAGED;
}

/* The decoder says that the frame is over: is it the one of the index? */
static int end_frame(struct inflate *x, const struct shard_frame *f, struct reason *why)
{
	if (x->decoder.n_raw != f->n_raw)
		return spoil(x, f->offset, why, "%llu bytes come out, the index says %llu",
			     (unsigned long long)x->decoder.n_raw, (unsigned long long)f->n_raw);
	if (x->at != f->offset + f->n_bytes)
		return spoil(x, f->offset, why, "the frame ends after %llu bytes, the index says %llu",
			     (unsigned long long)(x->at - f->offset), (unsigned long long)f->n_bytes);
	if (f->has_checksum && decoder_hash(&x->decoder) != f->checksum)
		return spoil(x, f->offset, why, "XXH64 ends with %08x, the seek table says %08x",
			     decoder_hash(&x->decoder), f->checksum);
	x->is_open = false;
	x->frame++;
	return 0;
}

static int feed_frame(struct inflate *x, const struct shard_frame *f, const uint8_t *bytes, size_t n, struct reason *why)
{
	struct decoder_io io = {.in = bytes, .n_in = n};
	struct reason what = {{0}};
	bool is_over;

	if (!x->is_open)
		decoder_begin(&x->decoder, x->packing, x->into + (f->raw_offset - x->unit.raw_offset), f->n_raw,
			      f->has_checksum);
	x->is_open = true;
	if (decoder_run(&x->decoder, &io, &is_over, &what) != 0)
		return spoil(x, f->offset, why, "%s", what.text);
	x->at += n - io.n_in;
	if (is_over)
		return end_frame(x, f, why);
	if (io.n_in > 0)
		return spoil(x, f->offset, why, "more than %llu bytes come out", (unsigned long long)f->n_raw);
	if (x->at == f->offset + f->n_bytes)
		return spoil(x, f->offset, why, "the frame goes on behind its %llu bytes", (unsigned long long)f->n_bytes);
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int inflate_feed(struct inflate *x, const void *bytes, size_t n_bytes, struct reason *why)
{
	const uint8_t *from = bytes;
	uint64_t left = n_bytes;
	int r = 0;

	if (x->is_void)
		return spoil(x, x->at, why, "void");
	while (r == 0 && left > 0) {
		const struct shard_frame *f = &x->frames[x->frame];
		uint64_t n, began = x->at;

		if (x->frame == x->unit.n_frames)
			return spoil(x, x->at, why, "bytes behind the last frame");
		if (x->at < f->offset) {
			n = least(left, f->offset - x->at);
			x->at += n;
		} else {
			n = least(least(left, f->offset + f->n_bytes - x->at), STRETCH);
			r = feed_frame(x, f, from, (size_t)n, why);
			n = x->at - began;
		}
		from += n;
		left -= n;
	}
	return r;
}

int inflate_end(struct inflate *x, struct reason *why)
{
	if (x->is_void)
		return spoil(x, x->at, why, "void");
	if (x->frame < x->unit.n_frames)
		return spoil(x, x->at, why, "the unit ends inside a frame");
	x->is_void = true;
	return 0;
}
