/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What each fuzzer of this folder defines, for libFuzzer or for replay.c. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#endif
