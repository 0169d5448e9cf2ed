/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The memory one sample may use: address space reserved once, handed out from the bottom, forgotten
 * as a whole. What a decoder or a transform asks for beyond the limit is refused and remembered, so
 * that the caller can tell "too big" from "damaged". Nothing is freed one by one.
 *
 * The bytes are not zeroed: whoever needs zeros writes them.
 *
 * Threads: one caller.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { ARENA_ALIGN = 64 };

struct arena {
	unsigned char *base;
	size_t n_reserved; /* address space; pages become memory when they are touched */
	size_t n_used, n_limit;
	bool is_over; /* something was refused since the last reset */
};

/* Reserves address space. 0 or -errno. */
int arena_init(struct arena *a, size_t n_reserved);
/* Gives it back; may run twice. */
void arena_deinit(struct arena *a);

/* Forgets everything and sets how much may be handed out from now on (at most what is reserved). */
void arena_reset(struct arena *a, size_t n_limit);
/* n bytes at a multiple of ARENA_ALIGN, or NULL (is_over) past the limit. */
void *arena_alloc(struct arena *a, size_t n_bytes);
/* n x size bytes; a product that overflows is past the limit. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* Forgets what was handed out, and refused, since n_used was this. */
void arena_rewind(struct arena *a, size_t n_used);
/* Gives the pages above the first n_bytes back to the system. Nothing may be in use there. */
void arena_trim(struct arena *a, size_t n_bytes);

#endif
