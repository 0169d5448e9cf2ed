/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Registrations as the driver sees them, by the fake libcuda of tests/cuda; slots are in tests/python/test_pin.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/pin.h"

static char log_path[] = "/tmp/fake-cuda-XXXXXX";

/* Address space; nobody touches it. */
static void *make_room(size_t n_bytes)
{
	void *room = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(room, MAP_FAILED);
	return room;
}

/* The lines of the log with that word in them, and the log is empty again. */
static size_t lines_with(const char *word, char lines[][160], size_t n_max)
{
	FILE *f = fopen(log_path, "r+");
	size_t n = 0;
	char line[160];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, word) && n < n_max)
			memcpy(lines[n++], strchr(line, ' ') + 1, 100);
	assert_int_equal(ftruncate(fileno(f), 0), 0);
	fclose(f);
	return n;
}

static void chunks(void **state)
{
	const size_t n_bytes = ((size_t)5 << 29) + 8192;
	char *base = make_room(n_bytes), lines[8][160], expected[160];
	struct reason why;
	struct pin *p;

	setenv("FAKE_CUDA", "", 1);
	assert_int_equal(pin_open(&p, &why), 0);
	assert_int_equal(pin_register(p, base, n_bytes, &why), 0);
	assert_int_equal(lines_with("cuMemHostRegister", lines, 8), 3);
	for (size_t i = 0; i < 3; i++) {
		size_t n = i < 2 ? (size_t)1 << 30 : n_bytes - ((size_t)2 << 30);

		snprintf(expected, sizeof(expected), "cuMemHostRegister %p %zu 1 = 0, ", (void *)(base + (i << 30)), n);
		assert_memory_equal(lines[i], expected, strlen(expected));
	}
	pin_unregister(p, base, n_bytes);
	assert_int_equal(lines_with("cuMemHostUnregister", lines, 8), 3);
	for (size_t i = 0; i < 3; i++) {
		snprintf(expected, sizeof(expected), "cuMemHostUnregister %p = 0, mapped", (void *)(base + (i << 30)));
		assert_memory_equal(lines[i], expected, strlen(expected));
	}
	assert_null(pin_unref(p));
	munmap(base, n_bytes);
}

static void failure_in_the_middle(void **state)
{
	const size_t n_bytes = (size_t)3 << 30;
	char *base = make_room(n_bytes), lines[8][160];
	struct reason why;
	struct pin *p;

	setenv("FAKE_CUDA", "cuMemHostRegister=2@6", 1); /* 3 were made by chunks() */
	assert_int_equal(pin_open(&p, &why), 0);
	assert_int_equal(pin_register(p, base, n_bytes, &why), PIN_E_REFUSED);
	assert_string_equal(why.text, "cuMemHostRegister says CUDA_ERROR_OUT_OF_MEMORY (2: out of memory)");
	assert_int_equal(lines_with("cuMemHostUnregister", lines, 8), 2);
	assert_non_null(strstr(lines[0], " = 0, mapped"));
	assert_non_null(strstr(lines[1], " = 0, mapped"));
	assert_int_equal(pin_register(p, base, n_bytes, &why), 0);
	pin_unregister(p, base, n_bytes);
	pin_unref(p);
	munmap(base, n_bytes);
}

static void contexts(void **state)
{
	char *base = make_room(4096), lines[8][160];
	struct reason why;
	struct pin *p = NULL;

	setenv("FAKE_CUDA", "idle", 1);
	assert_int_equal(pin_open(&p, &why), PIN_E_REFUSED);
	assert_non_null(strstr(why.text, "no CUDA context yet"));
	assert_null(p);
	assert_int_equal(lines_with("Retain", lines, 8), 0);
	setenv("FAKE_CUDA", "primary", 1);
	assert_int_equal(pin_open(&p, &why), 0);
	assert_int_equal(lines_with("Retain", lines, 8), 1);
	assert_non_null(strstr(lines[0], "Retain 11 1"));
	assert_ptr_equal(pin_ref(p), p);
	assert_int_equal(pin_register(p, base, 4096, &why), 0);
	pin_unref(p);
	pin_unregister(p, base, 4096);
	assert_int_equal(lines_with("Release", lines, 8), 0);
	pin_unref(p);
	assert_int_equal(lines_with("Release 11 0", lines, 8), 1);
	setenv("FAKE_CUDA", "none", 1);
	assert_int_equal(pin_open(&p, &why), PIN_E_REFUSED);
	assert_string_equal(why.text, "cuInit says CUDA_ERROR_NO_DEVICE (100: no CUDA-capable device is detected)");
	setenv("FAKE_CUDA", "cuCtxGetCurrent=999", 1);
	assert_int_equal(pin_open(&p, &why), PIN_E_REFUSED);
	assert_string_equal(why.text, "cuCtxGetCurrent says an unknown error (999: no text)");
	munmap(base, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks),
		cmocka_unit_test(failure_in_the_middle),
		cmocka_unit_test(contexts),
	};
	int r = mkstemp(log_path);

	if (r < 0)
		return 1;
	close(r);
	setenv("FAKE_CUDA_LOG", log_path, 1);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(log_path);
	return r;
}
