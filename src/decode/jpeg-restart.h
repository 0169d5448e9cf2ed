/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Starting in the middle of a JPEG. Restart markers cut the entropy-coded data of a baseline file into
 * segments that decode on their own; the segments that a region needs, under a header that says how
 * large they are together, are a JPEG again, and libjpeg decodes it without seeing the rest.
 *
 * Only a file whose markers are wholly regular up to the last segment that is needed is cut: the pixels
 * and the verdict are then those of the whole file. Anything else is left to libjpeg's own recovery.
 *
 * Threads: any; nothing here has state.
 */
#ifndef DECODE_JPEG_RESTART_H
#define DECODE_JPEG_RESTART_H

#include "base/arena.h"
#include "decode/jpeg-strip.h"

struct jpeg_cut {
	uint8_t *bytes; /* a whole JPEG, in the arena */
	size_t n_bytes;
	uint32_t x, y; /* how many iMCUs of the file are missing left of it and above */
};

/*
 * A file of n bytes whose header c has just read, and the strip that is needed of it. False when it
 * cannot be cut, there is no room for the copy, or next to nothing would be saved.
 */
bool jpeg_cut(const struct jpeg_decompress_struct *c, const uint8_t *bytes, size_t n,
	      const struct jpeg_strip *strip, struct arena *arena, struct jpeg_cut *ret);

#endif
