/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libjpeg's memory manager, served from an arena: what an image makes libjpeg allocate is bounded by
 * the arena's limit to the byte, never spills into temporary files and needs no malloc.
 *
 * Refused memory leaves through longjmp by way of the error manager (JERR_OUT_OF_MEMORY).
 *
 * Threads: one caller.
 */
#ifndef DECODE_JPEG_MEMORY_H
#define DECODE_JPEG_MEMORY_H

#include "base/arena.h"

#include <stdio.h>

#include <jpeglib.h>

struct jpeg_memory {
	struct jpeg_memory_mgr saved; /* libjpeg's own methods */
	struct arena *arena;
	struct jvirt_sarray_control *samples; /* arrays asked for, whole in memory once realised */
	struct jvirt_barray_control *blocks;
};

/* Puts our methods into cinfo->mem, just created. cinfo->client_data must be the jpeg_memory from then on. */
void jpeg_memory_attach(struct jpeg_memory *m, j_common_ptr cinfo);
/* The next image's arena; everything handed out before is forgotten. */
void jpeg_memory_use(struct jpeg_memory *m, struct arena *arena);
/* Puts libjpeg's methods back, for jpeg_destroy(). */
void jpeg_memory_detach(struct jpeg_memory *m, j_common_ptr cinfo);

#endif
