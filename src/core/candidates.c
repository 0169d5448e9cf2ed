/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What one round wants to read: ordered by place, and neighbours told that go into one request. */
#include "core/state.h"

static bool is_before(const struct candidate *a, const struct candidate *b)
{
	if (a->feed != b->feed)
		return a->feed < b->feed;
	if (a->shard != b->shard)
		return a->shard < b->shard;
	if (a->offset != b->offset)
		return a->offset < b->offset;
	return a->extent < b->extent;
}

/* Lets the one at i sink to its place in the heap of n. */
static void sink(struct candidate *heap, uint32_t i, uint32_t n)
{
	struct candidate it = heap[i];

	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && is_before(&heap[child], &heap[child + 1]))
			child++;
		if (!is_before(&it, &heap[child]))
			break;
		heap[i] = heap[child];
	}
	heap[i] = it;
}

/* Not libc's qsort, which may allocate. */
void candidates_sort(struct candidate *cands, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sink(cands, i, n);
	for (uint32_t last = n; last-- > 1;) {
		struct candidate most = cands[0];

		cands[0] = cands[last];
		cands[last] = most;
		sink(cands, 0, last);
	}
}

uint32_t candidates_merge(const struct candidate *first, uint32_t n, uint32_t read_max, uint64_t *ret_end)
{
	uint64_t start = first->offset / CORE_PAGE * CORE_PAGE;
	uint32_t k = 1;

	*ret_end = first->end;
	for (; k < n; k++) {
		const struct candidate *next = first + k;
		uint64_t end = next->end > *ret_end ? next->end : *ret_end;

		if (next->feed != first->feed || next->shard != first->shard ||
		    next->offset > *ret_end + MERGE_GAP || end - start > read_max)
			break;
		*ret_end = end;
	}
	return k;
}

uint64_t candidates_end(const struct candidate *cands, uint32_t n)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < n; i++)
		if (cands[i].end > end)
			end = cands[i].end;
	return end;
}
