/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The one form of a fuzzer: a target is one function, fuzz_one(), that takes any bytes and returns, or does not, which
 * is the finding. Three programs come of each: replay.c runs it over files (a test of every build), libfuzzer.c lets
 * libFuzzer drive it, and starve.c lets allocations fail under either.
 *
 * What a target keeps between two calls it makes in its first one, which is never starved and gets no bytes.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target. */
void fuzz_one(const uint8_t *bytes, size_t n);

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what))                                                                       \
			fuzz_broken(__FILE__, __LINE__, #what);                                    \
	} while (0)

/* What must be is not: says so and aborts. */
_Noreturn void fuzz_broken(const char *file, int line, const char *what);

/* ---- failing allocations (starve.c), of the calling thread alone ---- */

/* From now on allocations are counted, and the nth fails, once or with all that follow; 0: none. */
void starve_begin(uint64_t nth, bool is_for_good);
/* How many there were. */
uint64_t starve_end(void);
/* Allocations between the two calls are the target's own: they are not counted, and never fail. */
void starve_pause(void);
void starve_resume(void);
/* Has one failed since starve_begin()? */
bool starve_has_failed(void);
/* Is this the answer to that? */
bool starve_explains(int r);
/* The blocks that are there beyond those that were at starve_begin(); 0 where a sanitizer looks for leaks. */
int64_t starve_leaked(void);
/* A block of the target's own, of exactly that size. */
void *starve_own(size_t n);
/* The same with these bytes in it. */
void *starve_own_copy(const void *bytes, size_t n);

#endif
