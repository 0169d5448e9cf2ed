/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The choice is made by what the CPU says of itself and the system saves of its registers. */
#include "transform/kernels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>

/* clang's __builtin_cpu_supports() does not know this one. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

unsigned kernels_usable(const struct kernels *ret[KERNELS_MAX])
{
	unsigned n = 0;

	ret[n++] = &kernels_c;
#ifdef __x86_64__
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
		ret[n++] = &kernels_avx2;
	if (n > 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
	    __builtin_cpu_supports("avx512vnni"))
		ret[n++] = &kernels_avx512;
#endif
	return n;
}

const struct kernels *kernels_best(void)
{
	const char *wanted = getenv("RINGFEED_KERNELS");
	const struct kernels *usable[KERNELS_MAX];
	const unsigned n = kernels_usable(usable);

	if (!wanted || !*wanted)
		return usable[n - 1];
	for (unsigned i = 0; i < n; i++)
		if (strcmp(usable[i]->name, wanted) == 0)
			return usable[i];
	return NULL;
}
