/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Decoding and resizing are the maker's, that workers have, with a field of one resize; its size is set
 * for each image anew, which the maker reads for each sample anew.
 */
#include "pack/shrink-image.h"

#include "base/fault.h"
#include "base/file.h"
#include "io/file.h"
#include "pack/encode.h"
#include "worker/maker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FILE_MOST = 256 << 20,
	DECODE_MEMORY = 1 << 30,
	PIXELS_MOST = 178956970, /* as Pillow, and a feed that does not say otherwise */
	SCANS_MOST = 100,
	SCRATCH = 16 << 20,
};

struct shrinker {
	uint32_t long_side;
	struct pipeline pipeline;
	struct maker *maker;
	uint8_t *bytes, *pixels;
	size_t room;
};

int shrinker_new(uint32_t long_side, struct shrinker **ret)
{
	struct shrinker *s = calloc(1, sizeof(*s));
	struct field *f;
	int r;

	if (!s)
		return fail(-ENOMEM);
	s->long_side = long_side;
	s->pipeline.n_fields = 1;
	s->pipeline.limits = (struct limits){.max_pixels = PIXELS_MOST, .max_scans = SCANS_MOST,
					     .decode_memory = DECODE_MEMORY};
	f = &s->pipeline.fields[0];
	*f = (struct field){.name = "image", .decode = DECODE_IMAGE, .has_exif = true, .scale = SCALE_NONE,
			    .dtype = DTYPE_uint8, .layout = LAYOUT_HWC, .n_steps = 1, .n_dims = 3};
	f->steps[0] = (struct step){.kind = STEP_RESIZE, .height = long_side, .width = long_side,
				    .interpolation = FILTER_LANCZOS};
	f->dims[0] = f->dims[1] = long_side;
	f->dims[2] = 3;
	s->pixels = malloc((size_t)long_side * long_side * 3);
	r = s->pixels ? maker_new(&s->pipeline, SCRATCH, &s->maker) : fail(-ENOMEM);
	if (r < 0) {
		free(s->pixels);
		free(s);
		return pass(r);
	}
	*ret = s;
	return 0;
}

static void tell(struct shrink_result *ret, const char *why)
{
	snprintf(ret->fault, sizeof(ret->fault), "%s", why);
}

/* Reads it whole into s->bytes. */
static bool read_file(struct shrinker *s, const char *path, const struct catalog_file *wanted,
		      struct shrink_result *ret)
{
	struct io_file file;
	int64_t got;
	int r = io_file_open(path, false, &file);

	if (r < 0) {
		tell(ret, strerror(-r));
		return false;
	}
	if ((uint64_t)file.st.st_size != wanted->size ||
	    (uint64_t)file.st.st_mtim.tv_sec * 1000000000 + (uint64_t)file.st.st_mtim.tv_nsec != wanted->mtime_ns)
		tell(ret, "it changed while it was packed");
	else if (wanted->size > FILE_MOST)
		tell(ret, "it is larger than 256 MiB, which cannot be resized");
	else if (wanted->size > s->room) {
		free(s->bytes);
		s->bytes = malloc(wanted->size);
		s->room = s->bytes ? wanted->size : 0;
		if (!s->bytes)
			tell(ret, "there is no memory for it");
	}
	if (!*ret->fault) {
		got = file_read_at(file.fd, s->bytes, wanted->size, 0);
		if (got < 0)
			tell(ret, strerror((int)-got));
		else if ((uint64_t)got < wanted->size)
			tell(ret, "it changed while it was packed");
	}
	io_file_close(&file);
	return !*ret->fault;
}

static uint32_t scaled(uint32_t side, uint32_t long_side, uint32_t longer)
{
	uint64_t n = ((uint64_t)side * long_side * 2 + longer) / ((uint64_t)longer * 2);

	return n ? (uint32_t)n : 1;
}

static void resize(struct shrinker *s, size_t n, uint32_t width, uint32_t height, uint8_t *slot,
		   struct shrink_result *ret)
{
	const uint32_t longer = width > height ? width : height;
	const struct maker_job job = {.payload = s->bytes, .n_payload = n, .has_large = true, .first.row = s->pixels};
	struct field *f = &s->pipeline.fields[0];
	struct answer_sample answer;

	f->dims[0] = f->steps[0].height = scaled(height, s->long_side, longer);
	f->dims[1] = f->steps[0].width = scaled(width, s->long_side, longer);
	maker_run(s->maker, &job, &answer);
	if (answer.code != ANSWER_DONE) {
		snprintf(ret->fault, sizeof(ret->fault), "%s%s%s",
			 answer.cause < CAUSE_COUNT ? cause_text((enum cause)answer.cause) : "it cannot be decoded",
			 *answer.detail ? ": " : "", answer.detail);
		return;
	}
	ret->n_bytes = encode_jpeg(s->pixels, f->dims[1], f->dims[0], slot, SHRINK_SLOT);
	ret->is_shrunk = true;
	if (ret->n_bytes == 0)
		tell(ret, "resized it is larger than 32 MiB");
}

void shrinker_run(struct shrinker *s, const char *path, const struct catalog_file *file, uint8_t *slot,
		  struct shrink_result *ret)
{
	uint32_t width, height;
	enum cause cause;

	*ret = (struct shrink_result){.is_done = true};
	if (!read_file(s, path, file, ret))
		return;
	cause = maker_image_size(&s->pipeline.fields[0], s->bytes, file->size, &width, &height);
	if (cause != CAUSE_none) {
		tell(ret, cause_text(cause));
	} else if (width > s->long_side || height > s->long_side) {
		resize(s, file->size, width, height, slot, ret);
	} else if (file->size > SHRINK_SLOT) {
		tell(ret, "it is small enough in pixels, but larger than 32 MiB");
	} else {
		memcpy(slot, s->bytes, file->size);
		ret->n_bytes = (uint32_t)file->size;
	}
}
