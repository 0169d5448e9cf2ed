/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Virtual arrays are simply whole: that is what bounds a progressive image before its first row. Rows
 * are 64-byte aligned and as long, because libjpeg-turbo's SIMD code reads and writes whole vectors. */
#include "decode/jpeg-memory.h"

#include <string.h>

#include <jerror.h>

enum { ROW_ALIGN = 64 };

struct jvirt_sarray_control {
	JSAMPARRAY rows;
	JDIMENSION n_rows, width, n_at_once;
	struct jvirt_sarray_control *next;
};

struct jvirt_barray_control {
	JBLOCKARRAY rows;
	JDIMENSION n_rows, width, n_at_once;
	struct jvirt_barray_control *next;
};

static struct jpeg_memory *memory_of(j_common_ptr cinfo)
{
	return cinfo->client_data;
}

static void *take(j_common_ptr cinfo, size_t n, size_t size)
{
	void *at = arena_array(memory_of(cinfo)->arena, n, size);

	if (!at)
		ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 0);
	return at;
}

static void *alloc(j_common_ptr cinfo, int pool_id, size_t n_bytes)
{
	return take(cinfo, 1, n_bytes);
}

static JSAMPARRAY alloc_samples(j_common_ptr cinfo, int pool_id, JDIMENSION width, JDIMENSION n_rows)
{
	const size_t stride = ((size_t)width + ROW_ALIGN - 1) & ~(size_t)(ROW_ALIGN - 1);
	JSAMPARRAY rows = take(cinfo, n_rows, sizeof(*rows));
	JSAMPROW at = take(cinfo, n_rows, stride);

	for (JDIMENSION i = 0; i < n_rows; i++)
		rows[i] = at + i * stride;
	return rows;
}

static JBLOCKARRAY alloc_blocks(j_common_ptr cinfo, int pool_id, JDIMENSION width, JDIMENSION n_rows)
{
	JBLOCKARRAY rows = take(cinfo, n_rows, sizeof(*rows));
	JBLOCKROW at = take(cinfo, (size_t)n_rows * width, sizeof(JBLOCK));

	for (JDIMENSION i = 0; i < n_rows; i++)
		rows[i] = at + (size_t)i * width;
	return rows;
}

static jvirt_sarray_ptr want_samples(j_common_ptr cinfo, int pool_id, boolean pre_zero, JDIMENSION width,
				     JDIMENSION n_rows, JDIMENSION n_at_once)
{
	struct jvirt_sarray_control *v = take(cinfo, 1, sizeof(*v));

	*v = (struct jvirt_sarray_control){.n_rows = n_rows, .width = width, .n_at_once = n_at_once,
					   .next = memory_of(cinfo)->samples};
	memory_of(cinfo)->samples = v;
	return v;
}

static jvirt_barray_ptr want_blocks(j_common_ptr cinfo, int pool_id, boolean pre_zero, JDIMENSION width,
				    JDIMENSION n_rows, JDIMENSION n_at_once)
{
	struct jvirt_barray_control *v = take(cinfo, 1, sizeof(*v));

	*v = (struct jvirt_barray_control){.n_rows = n_rows, .width = width, .n_at_once = n_at_once,
					   .next = memory_of(cinfo)->blocks};
	memory_of(cinfo)->blocks = v;
	return v;
}

static void realize(j_common_ptr cinfo)
{
	struct jpeg_memory *m = memory_of(cinfo);

	for (struct jvirt_sarray_control *v = m->samples; v; v = v->next) {
		if (v->rows)
			continue;
		v->rows = alloc_samples(cinfo, JPOOL_IMAGE, v->width, v->n_rows);
		for (JDIMENSION i = 0; i < v->n_rows; i++)
			memset(v->rows[i], 0, v->width);
	}
	for (struct jvirt_barray_control *v = m->blocks; v; v = v->next) {
		if (v->rows)
			continue;
		v->rows = alloc_blocks(cinfo, JPOOL_IMAGE, v->width, v->n_rows);
		if (v->n_rows)
			memset(v->rows[0], 0, (size_t)v->n_rows * v->width * sizeof(JBLOCK));
	}
}

static JSAMPARRAY access_samples(j_common_ptr cinfo, jvirt_sarray_ptr v, JDIMENSION start, JDIMENSION n,
				 boolean writable)
{
	if (!v->rows || n > v->n_at_once || start > v->n_rows || n > v->n_rows - start)
		ERREXIT(cinfo, JERR_BAD_VIRTUAL_ACCESS);
	return v->rows + start;
}

static JBLOCKARRAY access_blocks(j_common_ptr cinfo, jvirt_barray_ptr v, JDIMENSION start, JDIMENSION n,
				 boolean writable)
{
	if (!v->rows || n > v->n_at_once || start > v->n_rows || n > v->n_rows - start)
		ERREXIT(cinfo, JERR_BAD_VIRTUAL_ACCESS);
	return v->rows + start;
}

/* The arena forgets all at once; there is nothing to give back here. */
static void free_pool(j_common_ptr cinfo, int pool_id)
{
	memory_of(cinfo)->samples = NULL;
	memory_of(cinfo)->blocks = NULL;
}

void jpeg_memory_attach(struct jpeg_memory *m, j_common_ptr cinfo)
{
	*m = (struct jpeg_memory){.saved = *cinfo->mem};
	cinfo->client_data = m;
	cinfo->mem->alloc_small = alloc;
	cinfo->mem->alloc_large = alloc;
	cinfo->mem->alloc_sarray = alloc_samples;
	cinfo->mem->alloc_barray = alloc_blocks;
	cinfo->mem->request_virt_sarray = want_samples;
	cinfo->mem->request_virt_barray = want_blocks;
	cinfo->mem->realize_virt_arrays = realize;
	cinfo->mem->access_virt_sarray = access_samples;
	cinfo->mem->access_virt_barray = access_blocks;
	cinfo->mem->free_pool = free_pool;
}

void jpeg_memory_use(struct jpeg_memory *m, struct arena *arena)
{
	m->arena = arena;
	m->samples = NULL;
	m->blocks = NULL;
}

void jpeg_memory_detach(struct jpeg_memory *m, j_common_ptr cinfo)
{
	*cinfo->mem = m->saved;
}
