/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A bump pointer over reserved address space. Under the address sanitizer what is not handed out is
 * poisoned, with a gap after every piece, so that a write past a piece is seen as in malloc's memory; and
 * every reset leaves other bytes behind, so that a result that depends on them is seen too. */
#include "base/arena.h"

#include "base/fault.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define IS_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_CHECKED 1
#endif
#endif

#ifdef IS_CHECKED
#include <sanitizer/asan_interface.h>
enum { GAP = ARENA_ALIGN };
static _Thread_local unsigned char left_behind = 1;

static void forget(struct arena *a)
{
	ASAN_UNPOISON_MEMORY_REGION(a->base, a->n_used);
	memset(a->base, left_behind, a->n_used);
	left_behind = (unsigned char)(left_behind * 5 + 3);
	ASAN_POISON_MEMORY_REGION(a->base, a->n_used);
}
#else
#define ASAN_POISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
enum { GAP = 0 };

static void forget(struct arena *a)
{
}
#endif

enum { PAGE = 4096 };

int arena_init(struct arena *a, size_t n_reserved)
{
	const size_t n = (n_reserved + PAGE - 1) & ~(size_t)(PAGE - 1);
	void *base = mmap(NULL, n, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return fail(-errno);
	*a = (struct arena){.base = base, .n_reserved = n};
	ASAN_POISON_MEMORY_REGION(a->base, a->n_reserved);
	return 0;
}

void arena_deinit(struct arena *a)
{
	if (a->base) {
		ASAN_UNPOISON_MEMORY_REGION(a->base, a->n_reserved);
		munmap(a->base, a->n_reserved);
	}
	*a = (struct arena){0};
}

void arena_reset(struct arena *a, size_t n_limit)
{
	forget(a);
	a->n_used = 0;
	a->n_limit = n_limit < a->n_reserved ? n_limit : a->n_reserved;
	a->is_over = false;
}

void *arena_alloc(struct arena *a, size_t n_bytes)
{
	void *at = a->base + a->n_used;
	size_t n;

	if (n_bytes > a->n_limit - a->n_used) {
		a->is_over = true;
		return NULL;
	}
	n = (n_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	n += GAP;
	a->n_used = n < a->n_limit - a->n_used ? a->n_used + n : a->n_limit;
	ASAN_UNPOISON_MEMORY_REGION(at, n_bytes);
	return at;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t n_bytes;

	if (__builtin_mul_overflow(n, size, &n_bytes)) {
		a->is_over = true;
		return NULL;
	}
	return arena_alloc(a, n_bytes);
}

void arena_rewind(struct arena *a, size_t n_used)
{
	ASAN_POISON_MEMORY_REGION(a->base + n_used, a->n_used - n_used);
	a->n_used = n_used;
	a->is_over = false;
}

void arena_trim(struct arena *a, size_t n_bytes)
{
	const size_t keep = (n_bytes + PAGE - 1) & ~(size_t)(PAGE - 1);

	if (keep < a->n_reserved)
		madvise(a->base + keep, a->n_reserved - keep, MADV_DONTNEED);
}
