/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One row of this table per image format, for image.c alone. A codec's state lives inside its own
 * object, made once; what depends on the image lives in the arena.
 */
#ifndef DECODE_CODEC_H
#define DECODE_CODEC_H

#include "decode/image.h"

struct codec {
	const char *name;
	/* Do the first bytes look like one of its images? */
	bool (*knows)(const uint8_t *bytes, size_t n);
	/* NULL when there is no memory. */
	void *(*make)(void);
	void (*drop)(void *codec); /* accepts NULL */
	enum cause (*open)(void *codec, struct arena *arena, const struct image_source *source,
			   struct image_trouble *trouble, struct image_info *ret);
	/* The region is within the image and its shrink is not 0. */
	enum cause (*read)(void *codec, const struct image_region *region, image_row_fn *row,
			   void *user);
};

extern const struct codec codec_jpeg, codec_png, codec_webp;

/* width x height against limits.max_pixels. */
enum cause codec_check_size(uint32_t width, uint32_t height, const struct limits *limits,
			    struct image_trouble *trouble);
/* Fills the detail, which stays printable ASCII. */
void codec_say(struct image_trouble *trouble, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
