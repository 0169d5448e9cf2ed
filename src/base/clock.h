/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The one clock that decides anything: CLOCK_MONOTONIC, which nobody sets. The time of day is for people only
 * (lines of logs, the ledger, tar members).
 *
 * Threads: any.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* In nanoseconds since some moment; always above 0. */
static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The same in seconds. */
static inline double clock_s(void)
{
	return (double)clock_ns() / 1e9;
}

#endif
