/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Reads end in about the order they began, so next-fit finds a hole near where it last looked. */
#include "core/pages.h"

#include <assert.h>
#include <stdbool.h>

static bool is_used(const struct pages *p, uint32_t page)
{
	return p->used[page / 64] >> (page % 64) & 1;
}

void pages_init(struct pages *p, uint64_t *words, uint32_t first, uint32_t n_pages)
{
	*p = (struct pages){.used = words, .first = first, .n_pages = n_pages, .next = first,
			    .n_free = n_pages};
}

/* The first page in [page, to) whose bit, xored with flip, is set; or to. A word at a time. */
static uint32_t next_bit(const struct pages *p, uint32_t page, uint32_t to, uint64_t flip)
{
	while (page < to) {
		uint64_t word = (p->used[page / 64] ^ flip) >> (page % 64);

		if (word) {
			page += (uint32_t)__builtin_ctzll(word);
			return page < to ? page : to;
		}
		page = (page / 64 + 1) * 64;
	}
	return to;
}

/* The start of a free run of n in [from, to), or PAGES_NONE. */
static uint32_t find(const struct pages *p, uint32_t from, uint32_t to, uint32_t n)
{
	uint32_t start = next_bit(p, from, to, UINT64_MAX);

	while (to - start >= n) {
		uint32_t end = next_bit(p, start, start + n, 0);

		if (end == start + n)
			return start;
		start = next_bit(p, end, to, UINT64_MAX);
	}
	return PAGES_NONE;
}

uint32_t pages_get(struct pages *p, uint32_t n)
{
	uint32_t end = p->first + p->n_pages, at;

	assert(n > 0);
	if (n > p->n_free)
		return PAGES_NONE;
	at = find(p, p->next, end, n);
	if (at == PAGES_NONE)
		at = find(p, p->first, end, n);
	if (at == PAGES_NONE)
		return PAGES_NONE;
	for (uint32_t i = at; i < at + n; i++)
		p->used[i / 64] |= UINT64_C(1) << (i % 64);
	p->n_free -= n;
	p->next = at + n < end ? at + n : p->first;
	return at;
}

void pages_put(struct pages *p, uint32_t at, uint32_t n)
{
	for (uint32_t i = at; i < at + n; i++) {
		assert(is_used(p, i));
		p->used[i / 64] &= ~(UINT64_C(1) << (i % 64));
	}
	p->n_free += n;
	if (p->n_free == p->n_pages)
		p->next = p->first; /* an empty zone is one hole, whatever is asked for in turn */
}
