/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "counted.h"

struct counted counted;

void *__real_calloc(size_t n, size_t each);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t each);
void __wrap_free(void *p);

void *__wrap_calloc(size_t n, size_t each)
{
	if (++counted.n_callocs == counted.failing)
		return NULL;
	counted.n_live++;
	counted.n_bytes += n * each;
	return __real_calloc(n, each);
}

void __wrap_free(void *p)
{
	counted.n_live -= p != NULL;
	__real_free(p);
}

void counted_begin(unsigned which_fails)
{
	counted = (struct counted){.failing = which_fails};
}
