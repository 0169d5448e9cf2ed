/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A libcuda.so.1 for tests on machines without a GPU: no device, no memory, only what libringfeed calls.
 *
 * Put first by LD_LIBRARY_PATH. Each call is a line in the file FAKE_CUDA_LOG: "PID function arguments". FAKE_CUDA
 * says what is there, in words separated by spaces: "none" (cuInit finds no device), "idle" (no context current),
 * "primary" (the primary context of device 1 of 2 is active, none is current), and "FUNCTION=ERROR" or
 * "FUNCTION=ERROR@N" (that call, or its N-th, fails). cuMemHostRegister logs how many pages of the range are
 * not in the page table yet, cuMemHostUnregister whether the memory is still mapped.
 *
 * Threads: one.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAKE __attribute__((visibility("default")))

/* Whoever loads it has prototypes of his own. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

enum { N_DEVICES = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, N_RANGES = 4096, ALREADY = 712, NOT_REGISTERED = 713 };

static char own_context, primary_context;
static void *stack[16];
static unsigned depth;
static int n_retained;
static unsigned n_registers;
static struct {
	uintptr_t base;
	size_t n_bytes;
} ranges[N_RANGES];

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	const char *path = getenv("FAKE_CUDA_LOG");
	char line[256];
	va_list args;
	int n, fd;

	if (!path)
		return;
	n = snprintf(line, sizeof(line), "%d ", (int)getpid());
	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	va_end(args);
	line[n++] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

static int is_said(const char *word)
{
	const char *said = getenv("FAKE_CUDA");

	return said && strstr(said, word);
}

/* The error that FAKE_CUDA orders for the n-th call of a function, or 0. */
static int ordered(const char *function, unsigned n)
{
	const char *said = getenv("FAKE_CUDA"), *at = said ? strstr(said, function) : NULL;
	char *end;
	long error;

	if (!at || at[strlen(function)] != '=')
		return 0;
	error = strtol(at + strlen(function) + 1, &end, 10);
	return *end != '@' || strtoul(end + 1, NULL, 10) == n ? (int)error : 0;
}

/* The next cuMemHostRegister is the first again. */
FAKE void fake_cuda_count_anew(void)
{
	n_registers = 0;
}

FAKE int cuInit(unsigned flags)
{
	note("cuInit %u", flags);
	return is_said("none") ? NO_DEVICE : ordered("cuInit", 0);
}

FAKE int cuDeviceGetCount(int *ret)
{
	note("cuDeviceGetCount");
	*ret = N_DEVICES;
	return 0;
}

FAKE int cuDeviceGet(int *ret, int ordinal)
{
	note("cuDeviceGet %d", ordinal);
	*ret = ordinal + 10;
	return ordinal < N_DEVICES ? 0 : 101;
}

FAKE int cuCtxGetCurrent(void **ret)
{
	note("cuCtxGetCurrent");
	*ret = depth > 0 ? stack[depth - 1] : is_said("idle") || is_said("primary") ? NULL : &own_context;
	return ordered("cuCtxGetCurrent", 0);
}

FAKE int cuCtxPushCurrent_v2(void *context)
{
	note("cuCtxPushCurrent");
	if ((context != &own_context && context != &primary_context) || depth == 16)
		return INVALID_CONTEXT;
	stack[depth++] = context;
	return 0;
}

FAKE int cuCtxPopCurrent_v2(void **ret)
{
	note("cuCtxPopCurrent");
	if (depth == 0)
		return INVALID_CONTEXT;
	*ret = stack[--depth];
	return 0;
}

FAKE int cuDevicePrimaryCtxGetState(int device, unsigned *ret_flags, int *ret_is_active)
{
	note("cuDevicePrimaryCtxGetState %d", device);
	*ret_flags = 0;
	*ret_is_active = device == 11 && is_said("primary");
	return 0;
}

FAKE int cuDevicePrimaryCtxRetain(void **ret, int device)
{
	note("cuDevicePrimaryCtxRetain %d %d", device, ++n_retained);
	*ret = &primary_context;
	return 0;
}

FAKE int cuDevicePrimaryCtxRelease_v2(int device)
{
	note("cuDevicePrimaryCtxRelease %d %d", device, --n_retained);
	return 0;
}

/* Pages of the range that a first touch would have to fault in. */
static size_t count_absent(uintptr_t base, size_t n_bytes)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	for (uintptr_t page = base / 4096; page < (base + n_bytes) / 4096; page++) {
		uint64_t entry = 0;

		if (pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) != sizeof(entry))
			abort();
		n += !(entry >> 63);
	}
	close(fd);
	return n;
}

FAKE int cuMemHostRegister_v2(void *base, size_t n_bytes, unsigned flags)
{
	int r = ordered("cuMemHostRegister", ++n_registers);
	uintptr_t at = (uintptr_t)base;
	size_t n_absent = n_bytes > 64 << 20 ? 0 : count_absent(at, n_bytes);

	if (r == 0 && (depth == 0 || at % 4096 != 0 || n_bytes % 4096 != 0))
		r = depth == 0 ? INVALID_CONTEXT : 1;
	for (size_t i = 0; r == 0 && i < N_RANGES; i++)
		if (at < ranges[i].base + ranges[i].n_bytes && ranges[i].base < at + n_bytes)
			r = ALREADY;
	for (size_t i = 0; r == 0 && i < N_RANGES; i++)
		if (!ranges[i].base) {
			ranges[i].base = at;
			ranges[i].n_bytes = n_bytes;
			break;
		}
	note("cuMemHostRegister %p %zu %u = %d, %zu absent", base, n_bytes, flags, r, n_absent);
	return r;
}

FAKE int cuMemHostUnregister(void *base)
{
	int r = NOT_REGISTERED, is_mapped = 1;

	for (size_t i = 0; i < N_RANGES; i++)
		if (base && ranges[i].base == (uintptr_t)base) {
			char *last = (char *)base + ranges[i].n_bytes - 4096;
			unsigned char there;

			is_mapped = mincore(base, 4096, &there) == 0 && mincore(last, 4096, &there) == 0;
			ranges[i].base = 0;
			ranges[i].n_bytes = 0;
			r = 0;
		}
	note("cuMemHostUnregister %p = %d, %s", base, r, is_mapped ? "mapped" : "unmapped");
	return r;
}

FAKE int cuGetErrorName(int error, const char **ret)
{
	*ret = error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL;
	return *ret ? 0 : 1;
}

FAKE int cuGetErrorString(int error, const char **ret)
{
	*ret = error == NO_DEVICE ? "no CUDA-capable device is detected" : error == 2 ? "out of memory" : NULL;
	return *ret ? 0 : 1;
}
