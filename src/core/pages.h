/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who owns which page of staging: a bitmap, searched next-fit for runs of free pages.
 *
 * Threads: one caller. Memory: the caller's words.
 */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include <stdint.h>

#define PAGES_NONE UINT32_MAX

struct pages {
	uint64_t *used; /* a bit a page */
	uint32_t first, n_pages; /* the zone: pages first … first + n_pages - 1 */
	uint32_t next;		 /* where the next search begins */
	uint32_t n_free;
};

void pages_init(struct pages *p, uint64_t *words, uint32_t first, uint32_t n_pages);
/* The first page of a run of n (> 0) now in use, or PAGES_NONE. */
uint32_t pages_get(struct pages *p, uint32_t n);
void pages_put(struct pages *p, uint32_t at, uint32_t n);

#endif
