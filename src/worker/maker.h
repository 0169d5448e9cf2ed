/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Makes samples: member bytes in, finished rows out. One maker per worker and dataset holds the decoder
 * contexts, the tables and the scratch. Nothing is allocated per sample: libjpeg, libpng and the transforms
 * take their memory from the scratch, all of it before the first row, and what does not fit is refused.
 *
 * A maker may serve several views of a dataset: pipelines that differ in what comes after decoding alone.
 * A sample is decoded once, whatever the number of rows it goes into.
 *
 * Threads: one caller. Pure otherwise: same bytes, position, seed, epoch and pipelines -> same row, and same
 * outcome whichever views are asked for: what any view cannot make is bad for all.
 */
#ifndef WORKER_MAKER_H
#define WORKER_MAKER_H

#include "base/pipeline.h"
#include "core/task.h"

#include <stddef.h>
#include <stdint.h>

struct maker;

/* scratch_bytes: what decoding one image may use without the large scratch. Only what an image touches
 * becomes memory; the first scratch_bytes stay with the maker, what is above is given back before the
 * answer. 0 or -errno. The pipeline is borrowed for the maker's life. */
int maker_new(const struct pipeline *p, size_t scratch_bytes, struct maker **ret);
struct maker *maker_free(struct maker *m);

struct maker_view {
	const struct pipeline *pipeline; /* its fields are those of the others, in the same order */
	const char *name;		 /* for sentences; NULL: the feed itself */
};

/* The same for several views, numbered from 0. Borrows what they point at; n_views is 1 to MAKER_VIEWS_MAX. */
enum { MAKER_VIEWS_MAX = 256 };
int maker_new_views(const struct maker_view *views, unsigned n_views, size_t scratch_bytes, struct maker **ret);

/* A row that one field of one sample goes into. */
struct maker_target {
	unsigned view;
	void *row;	 /* field_row_bytes() of them, inside the slot */
	int64_t *length; /* of a ragged field's row, beside it; NULL: nobody wants to know */
};

/* One field of one sample. */
struct maker_job {
	unsigned field;
	uint64_t seed, epoch, position;
	const void *payload; /* the member's bytes, without its header */
	size_t n_payload;
	bool has_large; /* up to limits.decode_memory may be used */
	struct maker_target first;
	const struct maker_target *more; /* further rows for it; borrowed for the call */
	unsigned n_more;
};

/* Fills *ret (code, cause, n_warnings, detail). The outcome depends on the bytes, the limits and what all views
 * draw at that position; ANSWER_NEED_LARGE is answered only when has_large is false. */
void maker_run(struct maker *m, const struct maker_job *job, struct answer_sample *ret);

/* What the transforms of the field draw at that position for an image of that size, as text for
 * `order --draws`: "image/0=random_resized_crop(top=41,left=245,height=179,width=202)" and so on, tab-separated.
 * Returns the length, as snprintf. */
int maker_draws(const struct pipeline *p, unsigned field, uint64_t seed, uint64_t epoch,
		uint64_t position, uint32_t width, uint32_t height, char *text, size_t n_text);
/* The size of the image in these bytes, after EXIF orientation where the field asks for it.
 * 0, or a cause. */
enum cause maker_image_size(const struct field *f, const void *payload, size_t n_payload,
			    uint32_t *ret_width, uint32_t *ret_height);

/* The kernels that makers run: of the CPU's best instruction set, or as the environment variable
 * RINGFEED_KERNELS says. NULL: it names none that this CPU can run; maker_new() fails. */
const char *maker_kernels(void);
/* All it could name, with commas. */
void maker_kernels_list(char *text, size_t n_text);

#endif
