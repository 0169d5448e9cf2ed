/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "counted.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct counted counted;

void *__real_calloc(size_t n, size_t each);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t each);
void __wrap_free(void *p);

/* In front of each, and its guard behind. What the C library or a coverage's runtime has from malloc() comes to the same
 * free(): it has no mark. */
struct head {
	_Alignas(max_align_t) size_t n_bytes;
	uint64_t mark;
};
static const uint64_t mark = 0x636f756e74656421, guard = 0x6f766572666c6f77;

void *__wrap_calloc(size_t n, size_t each)
{
	struct head *head;

	if (++counted.n_callocs == counted.failing)
		return NULL;
	counted.n_live++;
	counted.n_bytes += n * each;
	head = __real_calloc(1, sizeof(*head) + n * each + sizeof(guard));
	if (!head)
		abort();
	head->n_bytes = n * each;
	head->mark = mark;
	memcpy((char *)(head + 1) + n * each, &guard, sizeof(guard));
	return head + 1;
}

void __wrap_free(void *p)
{
	struct head *head = p ? (struct head *)p - 1 : NULL;

	if (!head || head->mark != mark) {
		__real_free(p);
		return;
	}
	if (memcmp((char *)p + head->n_bytes, &guard, sizeof(guard)) != 0)
		abort(); /* somebody wrote behind it */
	counted.n_live--;
	__real_free(head);
}

void counted_begin(unsigned which_fails)
{
	counted = (struct counted){.failing = which_fails};
}
