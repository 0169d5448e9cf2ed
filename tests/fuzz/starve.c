/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Allocations that fail when they are told to. Without a sanitizer this is the process's malloc, so that those of
 * libraries fail, too, and leaks are seen by counting. A sanitizer brings its own: there the linker (--wrap) sends the
 * program's own calls here, and the sanitizer sees the leaks.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef STARVE_WRAPS
#define OURS(name) __wrap_##name
#define REAL(name) __real_##name
#else
#define OURS(name) name
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t n);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t n);
void *OURS(malloc)(size_t n);
void *OURS(calloc)(size_t n, size_t size);
void *OURS(realloc)(void *p, size_t n);

static _Thread_local struct {
	bool is_on, is_for_good, has_failed;
	unsigned n_paused;
	uint64_t n_asked, nth;
	int64_t n_blocks; /* allocated less freed */
} hunger;

/* Does this one fail? */
static bool is_refused(void)
{
	if (!hunger.is_on || hunger.n_paused)
		return false;
	hunger.n_asked++;
	if (hunger.nth == 0 || hunger.n_asked < hunger.nth || (hunger.n_asked > hunger.nth && !hunger.is_for_good))
		return false;
	hunger.has_failed = true;
	errno = ENOMEM;
	return true;
}

static void *counted(void *p)
{
	hunger.n_blocks += p != NULL;
	return p;
}

void *OURS(malloc)(size_t n)
{
	return is_refused() ? NULL : counted(REAL(malloc)(n));
}

void *OURS(calloc)(size_t n, size_t size)
{
	return is_refused() ? NULL : counted(REAL(calloc)(n, size));
}

/* Smaller is no new block: what only shrinks does not fail in any allocator either, but may here. */
void *OURS(realloc)(void *p, size_t n)
{
	if (is_refused())
		return NULL;
	return p ? REAL(realloc)(p, n) : counted(REAL(realloc)(p, n));
}

#ifdef STARVE_WRAPS
/* In libc these call its own malloc. */
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	size_t n_bytes;

	if (__builtin_mul_overflow(n, size, &n_bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(p, n_bytes);
}

char *__wrap_strdup(const char *text)
{
	const size_t n = strlen(text) + 1;
	char *copy = __wrap_malloc(n);

	return copy ? memcpy(copy, text, n) : NULL;
}
#else
void __libc_free(void *p);
void *__libc_memalign(size_t alignment, size_t n);
void *memalign(size_t alignment, size_t n);

void free(void *p)
{
	hunger.n_blocks -= p != NULL;
	__libc_free(p);
}

void *memalign(size_t alignment, size_t n)
{
	return is_refused() ? NULL : counted(__libc_memalign(alignment, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
	void *p = memalign(alignment, n);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}
#endif

void starve_begin(uint64_t nth, bool is_for_good)
{
	hunger.is_on = true;
	hunger.is_for_good = is_for_good;
	hunger.has_failed = false;
	hunger.n_paused = 0;
	hunger.n_asked = 0;
	hunger.n_blocks = 0;
	hunger.nth = nth;
}

uint64_t starve_end(void)
{
	hunger.is_on = false;
	return hunger.n_asked;
}

void starve_pause(void)
{
	hunger.n_paused++;
}

void starve_resume(void)
{
	hunger.n_paused--;
}

bool starve_has_failed(void)
{
	return hunger.has_failed;
}

bool starve_explains(int r)
{
	return r == -ENOMEM && hunger.has_failed;
}

int64_t starve_leaked(void)
{
#ifdef STARVE_WRAPS
	return 0;
#else
	return hunger.n_blocks;
#endif
}

void *starve_own(size_t n)
{
	void *p;

	starve_pause();
	p = malloc(n ? n : 1);
	starve_resume();
	CHECK(p);
	return p;
}

void *starve_own_copy(const void *bytes, size_t n)
{
	void *p = starve_own(n);

	if (n)
		memcpy(p, bytes, n);
	return p;
}

void fuzz_broken(const char *file, int line, const char *what)
{
	hunger.is_on = false;
	fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
	abort();
}
