/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A picture as the bytes of a JPEG or PNG file.
 *
 * Threads: any. One buffer per thread, reused: it grows to the largest file and no further.
 */
#ifndef DEMO_PICTURES_ENCODE_H
#define DEMO_PICTURES_ENCODE_H

#include "picture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t n, n_room;
};

struct encode_jpeg {
	int quality;
	bool is_444; /* else 4:2:0 */
	bool is_progressive;
};

/* 0 or -ENOMEM. */
int encode_jpeg(const struct picture *p, const struct encode_jpeg *how, struct bytes *ret);
int encode_png(const struct picture *p, struct bytes *ret);
void bytes_deinit(struct bytes *b);

#endif
