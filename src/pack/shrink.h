/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Processes that make images smaller: each reads a file, and where its long side is longer than asked,
 * decodes, turns it upright, resizes (Lanczos, as Pillow does) and encodes it as JPEG; what is small enough
 * stays byte for byte. Results lie in shared slots, two and a half a process.
 *
 * An image that kills its process is a fault of that image.
 *
 * Threads: one caller, who must have no other threads when it begins.
 */
#ifndef PACK_SHRINK_H
#define PACK_SHRINK_H

#include "pack/catalog.h"

#include <stdbool.h>
#include <stdint.h>

enum { SHRINK_SIDE_MIN = 16, SHRINK_SIDE_MAX = 4096, SHRINK_SLOT = 32 << 20, SHRINK_PROCESSES_MAX = 256 };

struct shrink_result {
	bool is_done, is_shrunk; /* shrunk: it is a JPEG now */
	uint32_t n_bytes;
	char fault[200]; /* or "" */
};

struct shrink_crew;

/* The catalog's samples must have one part each. 0 or -errno. */
int shrink_new(const struct catalog *c, unsigned n_processes, uint32_t long_side, struct shrink_crew **ret);
struct shrink_crew *shrink_free(struct shrink_crew *crew);
/* A slot for the next sample, or -1: all are in use. It is begun as soon as a process is idle. */
int shrink_ask(struct shrink_crew *crew, size_t sample);
/* Waits up to timeout_ms for something to happen. 0 or -errno. */
int shrink_wait(struct shrink_crew *crew, int timeout_ms);
/* What has become of a slot, and its bytes. */
const struct shrink_result *shrink_look(const struct shrink_crew *crew, int slot, const uint8_t **ret_bytes);
/* Makes the slot free. */
void shrink_put_back(struct shrink_crew *crew, int slot);

#endif
