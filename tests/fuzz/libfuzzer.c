/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The form that libFuzzer drives. With RINGFEED_FUZZ_STARVE set, the last two bytes of each input say which allocation
 * fails, and whether those behind it do, too.
 */
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool is_starving;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	is_starving = getenv("RINGFEED_FUZZ_STARVE") != NULL;
	fuzz_one((const uint8_t *)"", 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	uint8_t *exact;

	if (!is_starving || n < 2) {
		fuzz_one(bytes, n);
		return 0;
	}
	exact = starve_own_copy(bytes, n - 2); /* so that what lies behind them is not to be read */
	starve_begin(1 + bytes[n - 2] + (bytes[n - 1] & 0x7fu) * UINT64_C(256), bytes[n - 1] & 0x80);
	fuzz_one(exact, n - 2);
	starve_end();
	free(exact);
	return 0;
}
