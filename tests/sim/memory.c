/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What is allocated and not freed: the linker puts these before libc's (--wrap). */
#include "sim.h"

#include <stdlib.h>

static uint64_t n_live, n_asked;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static void *count(void *p)
{
	n_live += p != NULL;
	return p;
}

void *__wrap_malloc(size_t n)
{
	n_asked += n;
	return count(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t each)
{
	n_asked += n * each;
	return count(__real_calloc(n, each));
}

void *__wrap_realloc(void *p, size_t n)
{
	return p ? __real_realloc(p, n) : count(__real_malloc(n));
}

void __wrap_free(void *p)
{
	n_live -= p != NULL;
	__real_free(p);
}

uint64_t memory_live(void)
{
	return n_live;
}

uint64_t memory_asked(void)
{
	return n_asked;
}
