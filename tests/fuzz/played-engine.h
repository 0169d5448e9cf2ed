/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What a script of fuzz-daemon.c does to reads and to the clock. Threads: the one that plays. */
#ifndef FUZZ_PLAYED_ENGINE_H
#define FUZZ_PLAYED_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

enum played_fault { PLAYED_WELL, PLAYED_ERROR, PLAYED_SHORT };

/* No read comes while they are held. */
void played_hold(bool is_to_be_held);
/* How the next read that comes ends. */
void played_spoil_next(enum played_fault how);
/* So much time passes on the monotonic clock. */
void played_pass(uint64_t ns);

#endif
