/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * WebP through libwebp. The container is read here: the first frame of an animation lies on a canvas of
 * zeros, alpha is dropped (a chunk of its own is not even looked at), Exif is one of the chunks behind the
 * pixels. A container that is cut short is damaged, and so is an animation whose first frame is: Pillow would
 * take the next one for it.
 *
 * libwebp decodes only down to the region's last row, and hands out only its columns. Its upsampling takes
 * the region's edge for the image's, so there is a margin of one chroma sample.
 *
 * Memory: what a lossless frame may make libwebp allocate has no bound worth the name in its header, so
 * libwebp's allocator, which knows no context, is replaced at link time (--wrap, see meson.build) by the
 * arena of the image in hand: decode_memory bounds it to the byte, as it does for the other formats. It
 * asks for its memory as it goes, but all rows are handed out at the end.
 */
#include "decode/codec.h"
#include "decode/exif.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

enum {
	N_RIFF = 12, N_CHUNK = 8, N_VP8X = 10, N_ANMF = 16,
	FLAG_ANIMATION = 0x02, FLAG_EXIF = 0x08,
	MARGIN = 2, /* pixels; crops begin at even ones */
};

struct webp {
	struct arena *arena;
	struct image_trouble *trouble;
	const uint8_t *frame; /* a VP8 or VP8L chunk with its head */
	size_t n_frame;
	uint32_t width, height;		 /* of the canvas */
	uint32_t x, y, frame_w, frame_h; /* where the frame lies on it */
};

struct chunk {
	const uint8_t *at; /* its head */
	uint32_t n;	   /* bytes behind the head */
	size_t n_all;	   /* of head, bytes and padding */
};

static _Thread_local struct arena *memory; /* of the image in hand */

void *__wrap_WebPSafeMalloc(uint64_t n, size_t size);
void *__wrap_WebPSafeCalloc(uint64_t n, size_t size);
void __wrap_WebPSafeFree(void *at);

void *__wrap_WebPSafeMalloc(uint64_t n, size_t size)
{
	return arena_array(memory, n, size);
}

void *__wrap_WebPSafeCalloc(uint64_t n, size_t size)
{
	void *at = arena_array(memory, n, size);

	return at ? memset(at, 0, n * size) : NULL;
}

/* The arena forgets all at once. */
void __wrap_WebPSafeFree(void *at)
{
}

static void *webp_make(void)
{
	return calloc(1, sizeof(struct webp));
}

static void webp_drop(void *codec)
{
	free(codec);
}

static uint32_t number(const uint8_t *at, unsigned n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | at[n];
	return v;
}

static bool is_tag(const struct chunk *c, const char *tag)
{
	return memcmp(c->at, tag, 4) == 0;
}

static bool is_frame(const struct chunk *c)
{
	return is_tag(c, "VP8 ") || is_tag(c, "VP8L");
}

/* The next chunk of these bytes, which then begin behind it. 1, or 0 at their end, -1 if it is cut off. */
static int next_chunk(const uint8_t **at, const uint8_t *end, struct chunk *ret)
{
	const size_t n_left = (size_t)(end - *at);

	if (n_left < N_CHUNK)
		return 0;
	*ret = (struct chunk){.at = *at, .n = number(*at + 4, 4)};
	if (ret->n > n_left - N_CHUNK)
		return -1;
	ret->n_all = N_CHUNK + (size_t)ret->n;
	if (ret->n % 2 && ret->n_all < n_left)
		ret->n_all++;
	*at += ret->n_all;
	return 1;
}

/* With its padding, which libwebp's own demuxer also lets the decoder read: it may go without an error. */
static void take_frame(struct webp *w, const struct chunk *c)
{
	w->frame = c->at;
	w->n_frame = c->n_all;
}

/* The first frame of an animation: its place, and the chunk with its pixels. */
static bool take_animation_frame(struct webp *w, const struct chunk *c)
{
	const uint8_t *head = c->at + N_CHUNK, *at = head + N_ANMF, *end = head + c->n;
	struct chunk inner;

	if (c->n < N_ANMF)
		return false;
	w->x = 2 * number(head, 3);
	w->y = 2 * number(head + 3, 3);
	w->frame_w = 1 + number(head + 6, 3);
	w->frame_h = 1 + number(head + 9, 3);
	while (!w->frame && next_chunk(&at, end, &inner) > 0)
		if (is_frame(&inner))
			take_frame(w, &inner);
	return w->frame != NULL;
}

static unsigned orientation(const struct chunk *c)
{
	const uint8_t *at = c->at + N_CHUNK;
	const size_t n_head = c->n >= 6 && memcmp(at, "Exif\0", 6) == 0 ? 6 : 0;

	return exif_orientation(at + n_head, c->n - n_head);
}

/* The chunks of a file with features: canvas, frame, orientation. */
static bool read_extended(struct webp *w, const struct chunk *head, const uint8_t *at, const uint8_t *end,
			  bool has_exif, struct image_info *info)
{
	const uint8_t flags = head->at[N_CHUNK];
	bool wants_exif = has_exif && flags & FLAG_EXIF;
	struct chunk c;
	int r;

	w->width = w->frame_w = 1 + number(head->at + N_CHUNK + 4, 3);
	w->height = w->frame_h = 1 + number(head->at + N_CHUNK + 7, 3);
	while ((r = next_chunk(&at, end, &c)) > 0) {
		if (is_tag(&c, "EXIF") && wants_exif) {
			info->orientation = orientation(&c);
			wants_exif = false;
		} else if (is_tag(&c, "ANMF") && !w->frame && flags & FLAG_ANIMATION) {
			if (!take_animation_frame(w, &c))
				return false;
		} else if (is_frame(&c) && !w->frame && !(flags & FLAG_ANIMATION)) {
			take_frame(w, &c);
		}
	}
	return r == 0 && w->frame && (uint64_t)w->x + w->frame_w <= w->width &&
	       (uint64_t)w->y + w->frame_h <= w->height;
}

static bool read_container(struct webp *w, const struct image_source *source, struct image_info *info)
{
	const uint8_t *bytes = source->bytes, *at = bytes + N_RIFF, *end;
	const uint32_t n_riff = number(bytes + 4, 4);
	struct chunk first;

	if (n_riff < N_RIFF - N_CHUNK || n_riff > source->n_bytes - N_CHUNK)
		return false;
	end = bytes + N_CHUNK + n_riff;
	if (next_chunk(&at, end, &first) <= 0)
		return false;
	if (is_tag(&first, "VP8X") && first.n >= N_VP8X)
		return read_extended(w, &first, at, end, source->has_exif, info);
	if (!is_frame(&first))
		return false;
	take_frame(w, &first);
	return true;
}

/* libwebp does not always say that it was memory it lacked. */
static enum cause cause_of(struct webp *w, VP8StatusCode status)
{
	if (status != VP8_STATUS_OK && w->arena->is_over)
		return CAUSE_decode_memory;
	switch (status) {
	case VP8_STATUS_OK:
		return CAUSE_none;
	case VP8_STATUS_UNSUPPORTED_FEATURE:
		codec_say(w->trouble, "libwebp: a feature it does not know");
		return CAUSE_unsupported_image;
	case VP8_STATUS_NOT_ENOUGH_DATA:
	case VP8_STATUS_SUSPENDED:
		codec_say(w->trouble, "libwebp: the bytes end too early");
		return CAUSE_damaged_image;
	default:
		codec_say(w->trouble, "libwebp: the frame is damaged");
		return CAUSE_damaged_image;
	}
}

static enum cause webp_open(void *codec, struct arena *arena, const struct image_source *source,
			    struct image_trouble *trouble, struct image_info *ret)
{
	struct webp *w = codec;
	WebPBitstreamFeatures features;
	enum cause cause;

	*w = (struct webp){.arena = arena, .trouble = trouble};
	memory = arena;
	if (!read_container(w, source, ret)) {
		codec_say(trouble, "the container is damaged or cut short");
		return CAUSE_damaged_image;
	}
	cause = cause_of(w, WebPGetFeatures(w->frame, w->n_frame, &features));
	if (cause != CAUSE_none)
		return cause;
	if (!w->width) {
		w->width = w->frame_w = (uint32_t)features.width;
		w->height = w->frame_h = (uint32_t)features.height;
	}
	if ((uint32_t)features.width != w->frame_w || (uint32_t)features.height != w->frame_h) {
		codec_say(trouble, "a frame of %d x %d pixels where %u x %u are due", features.width,
			  features.height, w->frame_w, w->frame_h);
		return CAUSE_damaged_image;
	}
	ret->width = w->width;
	ret->height = w->height;
	return codec_check_size(w->width, w->height, source->limits, trouble);
}

/* What a range of canvas pixels covers of a frame side of n pixels that begins at that pixel. */
static void clip(uint32_t *from, uint32_t *to, uint32_t at, uint32_t n)
{
	*from = *from > at ? *from - at : 0;
	*to = *to > at ? *to - at : 0;
	*to = *to < n ? *to : n;
}

static void widen(uint32_t *from, uint32_t *to, uint32_t n)
{
	*from = *from > MARGIN ? (*from - MARGIN) & ~1u : 0;
	*to = *to + MARGIN < n ? *to + MARGIN : n;
}

/* Decodes those columns and rows of the frame into pixels without gaps. */
static enum cause decode(struct webp *w, const struct image_region *part, uint8_t *pixels)
{
	const uint32_t n_columns = part->x1 - part->x0, n_rows = part->y1 - part->y0;
	WebPDecoderConfig config;

	if (!WebPInitDecoderConfig(&config)) {
		codec_say(w->trouble, "libwebp has another version than its header");
		return CAUSE_unsupported_image;
	}
	config.options.use_cropping = 1;
	config.options.crop_left = (int)part->x0;
	config.options.crop_top = (int)part->y0;
	config.options.crop_width = (int)n_columns;
	config.options.crop_height = (int)n_rows;
	config.output.colorspace = MODE_RGB;
	config.output.is_external_memory = 1;
	config.output.u.RGBA = (WebPRGBABuffer){.rgba = pixels, .stride = (int)(3 * n_columns),
						.size = 3 * (size_t)n_columns * n_rows};
	return cause_of(w, WebPDecode(w->frame, w->n_frame, &config));
}

static enum cause webp_read(void *codec, const struct image_region *region, image_row_fn *row, void *user)
{
	struct webp *w = codec;
	struct image_region inside = *region, part;
	uint8_t *pixels, *line;
	size_t stride, n_line = 3 * (size_t)(region->x1 - region->x0), n_left;
	enum cause cause;

	clip(&inside.x0, &inside.x1, w->x, w->frame_w);
	clip(&inside.y0, &inside.y1, w->y, w->frame_h);
	line = arena_alloc(w->arena, n_line);
	if (!line)
		return CAUSE_decode_memory;
	memset(line, 0, n_line);
	if (inside.x0 >= inside.x1 || inside.y0 >= inside.y1)
		inside = (struct image_region){0};
	part = inside;
	/* A frame that the region misses is decoded all the same, at one pixel: is it damaged? */
	widen(&part.x0, &part.x1, w->frame_w);
	widen(&part.y0, &part.y1, w->frame_h);
	stride = 3 * (size_t)(part.x1 - part.x0);
	pixels = arena_array(w->arena, part.y1 - part.y0, stride);
	if (!pixels)
		return CAUSE_decode_memory;
	cause = decode(w, &part, pixels);
	if (cause != CAUSE_none)
		return cause;
	pixels += 3 * (size_t)(inside.x0 - part.x0);
	n_left = region->x0 < w->x ? 3 * (size_t)(w->x - region->x0) : 0;
	for (uint32_t y = region->y0; y < region->y1; y++) {
		const bool is_covered = y >= w->y && y - w->y >= inside.y0 && y - w->y < inside.y1;

		memset(line, 0, n_line);
		if (is_covered)
			memcpy(line + n_left, pixels + (y - w->y - part.y0) * stride,
			       3 * (size_t)(inside.x1 - inside.x0));
		row(user, line);
	}
	return CAUSE_none;
}

static bool webp_knows(const uint8_t *bytes, size_t n)
{
	return n >= N_RIFF && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

const struct codec codec_webp = {
	.name = "webp",
	.knows = webp_knows,
	.make = webp_make,
	.drop = webp_drop,
	.open = webp_open,
	.read = webp_read,
};
