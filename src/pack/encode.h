/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* RGB rows to a baseline JPEG of quality 95, 4:2:0: what Pillow's save(quality=95) writes. Threads: any. */
#ifndef PACK_ENCODE_H
#define PACK_ENCODE_H

#include <stdint.h>

/* Bytes written to into, or 0: it does not fit into n_room, or there is no memory. */
uint32_t encode_jpeg(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *into, uint32_t n_room);

#endif
