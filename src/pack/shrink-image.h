/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What one process of shrink.c does with one file. Private to the room. Threads: one caller per object. */
#ifndef PACK_SHRINK_IMAGE_H
#define PACK_SHRINK_IMAGE_H

#include "pack/shrink.h"

struct shrinker;

/* 0 or -errno. */
int shrinker_new(uint32_t long_side, struct shrinker **ret);
/* Reads the file and fills the slot and *ret. */
void shrinker_run(struct shrinker *s, const char *path, const struct catalog_file *file, uint8_t *slot,
		  struct shrink_result *ret);

#endif
