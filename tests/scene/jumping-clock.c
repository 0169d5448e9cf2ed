/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * To be preloaded: the time of day jumps by days with every look at it, forth and back. CLOCK_MONOTONIC is left alone.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#pragma GCC visibility push(default)

static atomic_uint_fast64_t turn;

/* Up to 40 days, either way. */
static long jump(void)
{
	uint64_t x = atomic_fetch_add(&turn, 1) * 0x9e3779b97f4a7c15u + (uint64_t)getpid();

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	return (long)((x ^ x >> 27) % (80 * 86400)) - 40 * 86400;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	const long r = syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
		ret->tv_sec += jump();
	return (int)r;
}

int gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
