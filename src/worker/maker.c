/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Joins decoder and transform: the header gives the size, the size the plan, the plan the region that
 * the decoder must hand out, and each row goes straight through the chain into the slot.
 *
 * With views a field has as many variants as there are different ways to finish it. All of them are planned for
 * every sample, and what is decoded is the region around what all of them need, at the scale that the largest
 * needs, also where only some are wanted: so it is the same bytes that make a sample bad in every view and in any
 * company. Rows of one variant are written once and copied.
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

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header alone needs this much: libjpeg's tables and markers, libpng's structs. */
enum { HEADER_BYTES = 1 << 20 };

/* One way to finish a field, of all views that finish it so. */
struct variant {
	const struct field *field;
	const char *view; /* the first of them; NULL: the feed itself */
	struct value_table table;
	struct chain_setup setup;
	struct plan plan; /* of the sample in hand */
	struct chain *chain;
	const struct maker_target *target; /* the first one in hand; NULL: none */
};

struct maker {
	const struct pipeline *pipeline; /* of the first view: what is decoded; borrowed */
	size_t scratch_bytes;
	struct arena arena;
	struct image *image;
	const struct kernels *kernels;
	struct variant *variants;	      /* field after field */
	unsigned first[FIELDS_MAX + 1];	      /* variant of each field */
	uint16_t (*variant_of)[FIELDS_MAX]; /* of each view */
};

/* The region in hand, on its way to the chains. */
struct spread {
	struct variant *variants;
	unsigned n_variants;
	struct rect all;
	uint32_t y;
};

static bool is_same_result(const struct field *a, const struct field *b)
{
	return a->dtype == b->dtype && a->layout == b->layout && a->scale == b->scale &&
	       a->pass_order == b->pass_order && a->n_steps == b->n_steps &&
	       memcmp(a->steps, b->steps, a->n_steps * sizeof(a->steps[0])) == 0;
}

static int add_variant(struct maker *m, const struct field *f, const char *view, struct variant *ret)
{
	ret->field = f;
	ret->view = view;
	ret->setup = (struct chain_setup){.field = f, .kernels = m->kernels, .table = &ret->table};
	if (f->decode != DECODE_IMAGE)
		return 0;
	if (plan_check(f))
		return fail(-EINVAL); /* the config has refused it already */
	table_make(f, &ret->table);
	return 0;
}

static int make_variants(struct maker *m, const struct maker_view *views, unsigned n_views)
{
	unsigned n = 0;

	m->variants = calloc((size_t)n_views * m->pipeline->n_fields, sizeof(*m->variants));
	m->variant_of = calloc(n_views, sizeof(*m->variant_of));
	if (!m->variants || !m->variant_of)
		return fail(-ENOMEM);
	for (unsigned i = 0; i < m->pipeline->n_fields; i++) {
		m->first[i] = n;
		for (unsigned v = 0; v < n_views; v++) {
			const struct field *f = &views[v].pipeline->fields[i];
			unsigned k = m->first[i];

			while (k < n && !is_same_result(m->variants[k].field, f))
				k++;
			if (k == n && add_variant(m, f, views[v].name, &m->variants[n++]) < 0)
				return fail(-EINVAL);
			m->variant_of[v][i] = (uint16_t)k;
		}
	}
	m->first[m->pipeline->n_fields] = n;
	return 0;
}

int maker_new_views(const struct maker_view *views, unsigned n_views, size_t scratch_bytes, struct maker **ret)
{
	const struct pipeline *p = views[0].pipeline;
	struct maker *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return fail(-ENOMEM);
	assert(n_views > 0 && n_views <= MAKER_VIEWS_MAX);
	m->pipeline = p;
	m->scratch_bytes = scratch_bytes < p->limits.decode_memory ? scratch_bytes
								   : p->limits.decode_memory;
	m->kernels = kernels_best();
	if (!m->kernels) {
		r = fail(-EINVAL); /* the start has refused it already */
		goto out;
	}
	r = make_variants(m, views, n_views);
	if (r < 0)
		goto out;
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

int maker_new(const struct pipeline *p, size_t scratch_bytes, struct maker **ret)
{
	const struct maker_view view = {.pipeline = p};

	return maker_new_views(&view, 1, scratch_bytes, ret);
}

struct maker *maker_free(struct maker *m)
{
	if (!m)
		return NULL;
	image_free(m->image);
	arena_deinit(&m->arena);
	free(m->variants);
	free(m->variant_of);
	free(m);
	return NULL;
}

/* Each chain takes its window of the row, if somebody waits for what it makes. */
static void push_row(void *user, const uint8_t *rgb)
{
	struct spread *s = user;
	const uint32_t y = s->y++;

	for (unsigned i = 0; i < s->n_variants; i++) {
		struct variant *v = &s->variants[i];
		const struct rect *needed = &v->plan.source;

		if (v->target && y >= needed->y0 && y < needed->y1)
			chain_push(v->chain, rgb + 3 * (size_t)(needed->x0 - s->all.x0));
	}
}

/* Does the result have the shape that the slot has room for? */
static bool has_shape(const struct field *f, const struct plan *p)
{
	const unsigned h = f->layout == LAYOUT_CHW ? 1 : 0;

	return f->n_dims == 3 && f->dims[h] == p->height && f->dims[h + 1] == p->width &&
	       f->dims[f->layout == LAYOUT_CHW ? 0 : 2] == 3;
}

static enum cause plan_variant(struct variant *v, const struct plan_at *at, char *detail)
{
	const char *in_view = v->view ? ", for view " : "", *view = v->view ? v->view : "";
	const enum cause cause = plan_make(v->field, at, &v->plan);

	if (cause != CAUSE_none) {
		snprintf(detail, TASK_DETAIL_MAX, "%u x %u pixels%s%s", at->width, at->height, in_view, view);
		return cause;
	}
	if (!has_shape(v->field, &v->plan)) {
		snprintf(detail, TASK_DETAIL_MAX, "%u x %u pixels become %u x %u, which is not the field's shape%s%s",
			 at->width, at->height, v->plan.width, v->plan.height, in_view, view);
		return CAUSE_unsupported_image;
	}
	return CAUSE_none;
}

/* All of them for one scale: that of the one that can shrink least. */
static enum cause plan_variants(const struct spread *s, struct plan_at *at, char *detail)
{
	uint32_t least = at->max_shrink;
	enum cause cause = CAUSE_none;

	for (unsigned i = 0; i < s->n_variants && cause == CAUSE_none; i++) {
		cause = plan_variant(&s->variants[i], at, detail);
		if (cause == CAUSE_none && s->variants[i].plan.shrink < least)
			least = s->variants[i].plan.shrink;
	}
	at->max_shrink = least;
	for (unsigned i = 0; i < s->n_variants && cause == CAUSE_none; i++)
		if (s->variants[i].plan.shrink != least)
			cause = plan_variant(&s->variants[i], at, detail);
	return cause;
}

static struct rect around(struct rect a, const struct rect *b)
{
	a.x0 = a.x0 < b->x0 ? a.x0 : b->x0;
	a.y0 = a.y0 < b->y0 ? a.y0 : b->y0;
	a.x1 = a.x1 > b->x1 ? a.x1 : b->x1;
	a.y1 = a.y1 > b->y1 ? a.y1 : b->y1;
	return a;
}

/* Memory too is the same in any company: chains are made for all. */
static bool start_chains(struct maker *m, struct spread *s, void *any_row)
{
	s->all = s->variants[0].plan.source;
	for (unsigned i = 0; i < s->n_variants; i++) {
		struct variant *v = &s->variants[i];

		v->chain = chain_start(&v->setup, &v->plan, &m->arena, v->target ? v->target->row : any_row);
		if (!v->chain)
			return false;
		s->all = around(s->all, &v->plan.source);
	}
	s->y = s->all.y0;
	return true;
}

static enum cause make_image(struct maker *m, const struct maker_job *job, struct spread *s, char *detail)
{
	const struct image_source source = {.bytes = job->payload, .n_bytes = job->n_payload,
					    .limits = &m->pipeline->limits,
					    .has_exif = m->pipeline->fields[job->field].has_exif};
	struct image_region region;
	struct image_info info;
	struct plan_at at;
	enum cause cause;

	cause = image_open(m->image, &m->arena, &source, &info);
	if (cause != CAUSE_none)
		return cause;
	at = (struct plan_at){.seed = job->seed, .epoch = job->epoch, .position = job->position,
			      .width = info.width, .height = info.height, .orientation = info.orientation,
			      .max_shrink = info.max_shrink};
	cause = plan_variants(s, &at, detail);
	if (cause != CAUSE_none)
		return cause;
	if (!start_chains(m, s, job->first.row))
		return CAUSE_decode_memory;
	region = (struct image_region){s->all.x0, s->all.y0, s->all.x1, s->all.y1, s->variants[0].plan.shrink};
	return image_read(m->image, &region, push_row, s);
}

/* A number, by every dtype that a view has for it. */
static enum cause make_numbers(const struct maker_job *job, const struct spread *s, char *detail)
{
	enum cause cause = CAUSE_none;

	for (unsigned i = 0; i < s->n_variants && cause == CAUSE_none; i++) {
		const struct variant *v = &s->variants[i];
		uint64_t unwanted;
		void *row = v->target ? v->target->row : &unwanted;

		cause = (v->field->decode == DECODE_INTEGER ? integer_decode : real_decode)(
			job->payload, job->n_payload, v->field->dtype, row, detail, TASK_DETAIL_MAX);
	}
	return cause;
}

/* Whatever is no image; views finish it alike, but for the dtype of numbers. */
static enum cause make_value(struct maker *m, const struct maker_job *job, const struct spread *s, char *detail)
{
	const struct field *f = &m->pipeline->fields[job->field];
	void *row = job->first.row;

	switch (f->decode) {
	case DECODE_INTEGER:
	case DECODE_FLOAT:
		return make_numbers(job, s, detail);
	case DECODE_JSON:
		return json_value_decode(f, &m->arena, job->payload, job->n_payload, row, detail, TASK_DETAIL_MAX);
	case DECODE_RAW:
		return array_from_raw(f, job->payload, job->n_payload, row, detail, TASK_DETAIL_MAX);
	case DECODE_NPY:
		return array_from_npy(f, job->payload, job->n_payload, row, detail, TASK_DETAIL_MAX);
	case DECODE_TEXT:
	case DECODE_BYTES:
		if (f->classes)
			return text_class(f, job->payload, job->n_payload, row, detail, TASK_DETAIL_MAX);
		return text_copy(f, job->payload, job->n_payload, row, job->first.length, detail,
				 TASK_DETAIL_MAX);
	case DECODE_IMAGE:
		break;
	}
	return CAUSE_none;
}

static struct variant *variant_of(struct maker *m, const struct maker_job *job, const struct maker_target *t)
{
	return &m->variants[m->variant_of[t->view][job->field]];
}

/* Which variants are wanted, and where. */
static struct spread take_targets(struct maker *m, const struct maker_job *job)
{
	const unsigned first = m->first[job->field];
	const struct spread s = {.variants = m->variants + first, .n_variants = m->first[job->field + 1] - first};

	for (unsigned i = 0; i < s.n_variants; i++)
		s.variants[i].target = NULL;
	variant_of(m, job, &job->first)->target = &job->first;
	for (unsigned i = 0; i < job->n_more; i++) {
		struct variant *v = variant_of(m, job, &job->more[i]);

		if (!v->target)
			v->target = &job->more[i];
	}
	return s;
}

/* The rows that are as another one is. */
static void copy_rows(struct maker *m, const struct maker_job *job)
{
	for (unsigned i = 0; i < job->n_more; i++) {
		const struct maker_target *to = &job->more[i];
		const struct variant *v = variant_of(m, job, to);

		if (v->target == to)
			continue;
		memcpy(to->row, v->target->row, field_row_bytes(v->field));
		if (to->length && v->target->length)
			*to->length = *v->target->length;
	}
}

/* Within the memory it may have; true when more would have been needed. */
static bool run(struct maker *m, const struct maker_job *job, struct answer_sample *ret)
{
	const bool is_image = m->pipeline->fields[job->field].decode == DECODE_IMAGE;
	const size_t most = m->pipeline->limits.decode_memory;
	const struct image_trouble *trouble = image_trouble(m->image);
	struct spread spread = take_targets(m, job);
	enum cause cause;

	arena_reset(&m->arena, job->has_large ? most : m->scratch_bytes);
	cause = is_image ? make_image(m, job, &spread, ret->detail) : make_value(m, job, &spread, ret->detail);
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
	if (cause == CAUSE_none)
		copy_rows(m, job);
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
