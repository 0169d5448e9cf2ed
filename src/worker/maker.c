/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Joins decoder and transform: the header gives the size, the size the plan, the plan the region that
 * the decoder must hand out, and each row goes straight through the chain into the slot.
 *
 * Memory: one arena, of which every sample may use scratch_bytes, or limits.decode_memory with the large
 * scratch. The chain's buffers and the decoder's are all asked for before the first row; what exceeds
 * the large limit is a bad sample wherever it runs, because the amount depends on the sample alone. Pages
 * above scratch_bytes go back to the system before the answer.
 */
#include "worker/maker.h"

#include "base/arena.h"
#include "base/fault.h"
#include "decode/array.h"
#include "decode/image.h"
#include "decode/integer.h"
#include "decode/json.h"
#include "decode/real.h"
#include "decode/text.h"
#include "transform/chain.h"
#include "transform/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header alone needs this much: libjpeg's tables and markers, libpng's structs. */
enum { HEADER_BYTES = 1 << 20 };

struct maker {
	const struct pipeline *pipeline; /* borrowed */
	size_t scratch_bytes;
	struct arena arena;
	struct image *image;
	const struct kernels *kernels;
	struct value_table tables[FIELDS_MAX];
	struct plan plan; /* of the sample in hand */
};

int maker_new(const struct pipeline *p, size_t scratch_bytes, struct maker **ret)
{
	struct maker *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return fail(-ENOMEM);
	m->pipeline = p;
	m->scratch_bytes = scratch_bytes < p->limits.decode_memory ? scratch_bytes
								   : p->limits.decode_memory;
	m->kernels = kernels_best();
	if (!m->kernels) {
		r = fail(-EINVAL); /* the start has refused it already */
		goto out;
	}
	for (unsigned i = 0; i < p->n_fields; i++) {
		const struct field *f = &p->fields[i];

		if (f->decode == DECODE_IMAGE && plan_check(f)) {
			r = fail(-EINVAL); /* the config has refused it already */
			goto out;
		}
		if (f->decode == DECODE_IMAGE)
			table_make(f, &m->tables[i]);
	}
	r = arena_init(&m->arena, p->limits.decode_memory ? p->limits.decode_memory : 1);
	if (r < 0)
		goto out;
	r = image_new(&m->image);
	if (r < 0)
		goto out;
	*ret = m;
	return 0;
out:
	maker_free(m);
	return pass(r);
}

struct maker *maker_free(struct maker *m)
{
	if (!m)
		return NULL;
	image_free(m->image);
	arena_deinit(&m->arena);
	free(m);
	return NULL;
}

static void push_row(void *user, const uint8_t *rgb)
{
	chain_push(user, rgb);
}

/* Does the result have the shape that the slot has room for? */
static bool has_shape(const struct field *f, const struct plan *p)
{
	const unsigned h = f->layout == LAYOUT_CHW ? 1 : 0;

	return f->n_dims == 3 && f->dims[h] == p->height && f->dims[h + 1] == p->width &&
	       f->dims[f->layout == LAYOUT_CHW ? 0 : 2] == 3;
}

static enum cause plan_sample(struct maker *m, const struct maker_job *job, const struct image_info *info,
			      char *detail)
{
	const struct field *f = &m->pipeline->fields[job->field];
	const struct plan_at at = {.seed = job->seed, .epoch = job->epoch, .position = job->position,
				   .width = info->width, .height = info->height,
				   .orientation = info->orientation, .max_shrink = info->max_shrink};
	const enum cause cause = plan_make(f, &at, &m->plan);

	if (cause != CAUSE_none) {
		snprintf(detail, TASK_DETAIL_MAX, "%u x %u pixels", info->width, info->height);
		return cause;
	}
	if (!has_shape(f, &m->plan)) {
		snprintf(detail, TASK_DETAIL_MAX, "%u x %u pixels become %u x %u, which is not the field's shape",
			 info->width, info->height, m->plan.width, m->plan.height);
		return CAUSE_unsupported_image;
	}
	return CAUSE_none;
}

static enum cause make_image(struct maker *m, const struct maker_job *job, char *detail)
{
	const struct field *f = &m->pipeline->fields[job->field];
	const struct image_source source = {.bytes = job->payload, .n_bytes = job->n_payload,
					    .limits = &m->pipeline->limits, .has_exif = f->has_exif};
	const struct chain_setup setup = {.field = f, .kernels = m->kernels,
					  .table = &m->tables[job->field]};
	struct image_region region;
	struct image_info info;
	struct chain *chain;
	enum cause cause;

	cause = image_open(m->image, &m->arena, &source, &info);
	if (cause != CAUSE_none)
		return cause;
	cause = plan_sample(m, job, &info, detail);
	if (cause != CAUSE_none)
		return cause;
	chain = chain_start(&setup, &m->plan, &m->arena, job->row);
	if (!chain)
		return CAUSE_decode_memory;
	region = (struct image_region){m->plan.source.x0, m->plan.source.y0, m->plan.source.x1,
				       m->plan.source.y1, m->plan.shrink};
	return image_read(m->image, &region, push_row, chain);
}

/* Whatever is no image. */
static enum cause make_value(struct maker *m, const struct maker_job *job, char *detail)
{
	const struct field *f = &m->pipeline->fields[job->field];

	switch (f->decode) {
	case DECODE_INTEGER:
		return integer_decode(job->payload, job->n_payload, f->dtype, job->row, detail, TASK_DETAIL_MAX);
	case DECODE_FLOAT:
		return real_decode(job->payload, job->n_payload, f->dtype, job->row, detail, TASK_DETAIL_MAX);
	case DECODE_JSON:
		return json_value_decode(f, &m->arena, job->payload, job->n_payload, job->row, detail,
					 TASK_DETAIL_MAX);
	case DECODE_RAW:
		return array_from_raw(f, job->payload, job->n_payload, job->row, detail, TASK_DETAIL_MAX);
	case DECODE_NPY:
		return array_from_npy(f, job->payload, job->n_payload, job->row, detail, TASK_DETAIL_MAX);
	case DECODE_TEXT:
	case DECODE_BYTES:
		if (f->classes)
			return text_class(f, job->payload, job->n_payload, job->row, detail, TASK_DETAIL_MAX);
		return text_copy(f, job->payload, job->n_payload, job->row, job->length, detail,
				 TASK_DETAIL_MAX);
	case DECODE_IMAGE:
		break;
	}
	return CAUSE_none;
}

/* Within the memory it may have; true when more would have been needed. */
static bool run(struct maker *m, const struct maker_job *job, struct answer_sample *ret)
{
	const bool is_image = m->pipeline->fields[job->field].decode == DECODE_IMAGE;
	const size_t most = m->pipeline->limits.decode_memory;
	const struct image_trouble *trouble = image_trouble(m->image);
	enum cause cause;

	arena_reset(&m->arena, job->has_large ? most : m->scratch_bytes);
	cause = is_image ? make_image(m, job, ret->detail) : make_value(m, job, ret->detail);
	if (job->has_large && m->arena.n_used > m->scratch_bytes)
		arena_trim(&m->arena, m->scratch_bytes);
	if (cause != CAUSE_none && m->arena.is_over) {
		cause = CAUSE_decode_memory;
		if (m->arena.n_limit < most)
			return true;
		snprintf(ret->detail, sizeof(ret->detail), "more than %llu bytes",
			 (unsigned long long)most);
	} else if (is_image && cause != CAUSE_none && trouble->detail[0]) {
		snprintf(ret->detail, sizeof(ret->detail), "%s", trouble->detail);
	}
	ret->code = cause == CAUSE_none ? ANSWER_DONE : ANSWER_BAD;
	ret->cause = cause;
	ret->n_warnings = is_image ? trouble->n_warnings : 0;
	return false;
}

void maker_run(struct maker *m, const struct maker_job *job, struct answer_sample *ret)
{
	*ret = (struct answer_sample){.code = ANSWER_DONE};
	if (run(m, job, ret))
		*ret = (struct answer_sample){.code = ANSWER_NEED_LARGE};
}

int maker_draws(const struct pipeline *p, unsigned field, uint64_t seed, uint64_t epoch, uint64_t position,
		uint32_t width, uint32_t height, char *text, size_t n_text)
{
	const struct plan_at at = {.seed = seed, .epoch = epoch, .position = position, .width = width,
				   .height = height, .orientation = 1};
	struct plan plan;

	/* A step that finds the image too small ends the list: what was drawn before it stands. */
	plan_make(&p->fields[field], &at, &plan);
	return plan_print(&p->fields[field], &plan, text, n_text);
}

enum cause maker_image_size(const struct field *f, const void *payload, size_t n_payload,
			    uint32_t *ret_width, uint32_t *ret_height)
{
	const struct limits limits = {.max_pixels = UINT64_MAX, .max_scans = UINT32_MAX,
				      .decode_memory = HEADER_BYTES};
	const struct image_source source = {.bytes = payload, .n_bytes = n_payload, .limits = &limits,
					    .has_exif = f->has_exif};
	struct image_info info;
	struct image *image = NULL;
	struct arena arena;
	enum cause cause = CAUSE_decode_memory;

	if (arena_init(&arena, HEADER_BYTES) < 0)
		return cause;
	arena_reset(&arena, HEADER_BYTES);
	if (image_new(&image) == 0)
		cause = image_open(image, &arena, &source, &info);
	if (cause == CAUSE_none) {
		*ret_width = info.orientation >= 5 ? info.height : info.width;
		*ret_height = info.orientation >= 5 ? info.width : info.height;
	}
	image_free(image);
	arena_deinit(&arena);
	return cause;
}

const char *maker_kernels(void)
{
	const struct kernels *k = kernels_best();

	return k ? k->name : NULL;
}

void maker_kernels_list(char *text, size_t n_text)
{
	const struct kernels *usable[KERNELS_MAX];
	const unsigned n = kernels_usable(usable);
	size_t used = 0;

	for (unsigned i = 0; i < n && used < n_text; i++)
		used += (size_t)snprintf(text + used, n_text - used, "%s%s", i ? ", " : "", usable[i]->name);
}
