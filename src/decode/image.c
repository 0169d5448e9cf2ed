/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The first bytes decide which codec; the name of the member does not. */
#include "decode/image.h"

#include "base/fault.h"
#include "decode/codec.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_CODECS = 3 };

static const struct codec *const codecs[N_CODECS] = {&codec_jpeg, &codec_png, &codec_webp};

struct image {
	void *states[N_CODECS];
	int opened; /* which codec holds the image; -1 none */
	struct image_info info;
	struct image_trouble trouble;
};

int image_new(struct image **ret)
{
	struct image *im = calloc(1, sizeof(*im));

	if (!im)
		return fail(-ENOMEM);
	im->opened = -1;
	for (int i = 0; i < N_CODECS; i++) {
		im->states[i] = codecs[i]->make();
		if (!im->states[i]) {
			image_free(im);
			return fail(-ENOMEM);
		}
	}
	*ret = im;
	return 0;
}

struct image *image_free(struct image *im)
{
	for (int i = 0; im && i < N_CODECS; i++)
		codecs[i]->drop(im->states[i]);
	free(im);
	return NULL;
}

enum cause image_open(struct image *im, struct arena *arena, const struct image_source *source,
		      struct image_info *ret)
{
	enum cause cause;

	im->opened = -1;
	im->trouble = (struct image_trouble){0};
	for (int i = 0; i < N_CODECS; i++) {
		const struct codec *c = codecs[i];

		if (!c->knows(source->bytes, source->n_bytes))
			continue;
		im->info = (struct image_info){.orientation = 1, .max_shrink = 1};
		cause = c->open(im->states[i], arena, source, &im->trouble, &im->info);
		if (cause != CAUSE_none)
			return cause;
		im->opened = i;
		*ret = im->info;
		return CAUSE_none;
	}
	return CAUSE_not_an_image;
}

enum cause image_read(struct image *im, const struct image_region *region, image_row_fn *row, void *user)
{
	const int i = im->opened;
	struct image_region r = *region;

	assert(i >= 0);
	r.shrink += r.shrink == 0;
	assert((r.shrink & (r.shrink - 1)) == 0 && r.shrink <= im->info.max_shrink);
	assert(r.x0 < r.x1 && r.x1 <= image_shrunk(im->info.width, r.shrink));
	assert(r.y0 < r.y1 && r.y1 <= image_shrunk(im->info.height, r.shrink));
	im->opened = -1;
	return codecs[i]->read(im->states[i], &r, row, user);
}

const struct image_trouble *image_trouble(const struct image *im)
{
	return &im->trouble;
}

enum cause codec_check_size(uint32_t width, uint32_t height, const struct limits *limits,
			    struct image_trouble *trouble)
{
	if ((uint64_t)width * height <= limits->max_pixels)
		return CAUSE_none;
	codec_say(trouble, "%u x %u pixels, limits.max_pixels is %llu", width, height,
		  (unsigned long long)limits->max_pixels);
	return CAUSE_too_many_pixels;
}

void codec_say(struct image_trouble *trouble, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(trouble->detail, sizeof(trouble->detail), format, args);
	va_end(args);
	for (char *c = trouble->detail; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}
