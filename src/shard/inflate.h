/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Inflates a unit, some frames of a compressed shard that are known from its index, piece by piece into the
 * place of its raw bytes, and nowhere else. Each frame must begin, end, and give as many bytes as the index
 * says, and every checksum is compared: the frame's own and the seek table's.
 *
 * Nothing is allocated after inflate_new.
 *
 * Threads: one caller at a time per inflate.
 */
#ifndef SHARD_INFLATE_H
#define SHARD_INFLATE_H

#include "base/reason.h"
#include "shard/samples.h"

#include <stddef.h>
#include <stdint.h>

enum { INFLATE_E_DAMAGED = 1 };

/* What one takes of private memory, decoder contexts included, at most. */
enum { INFLATE_BYTES = 512 << 10 };

struct inflate;

/* 0 or -errno. */
int inflate_new(struct inflate **ret);
struct inflate *inflate_free(struct inflate *x);
/* Begins a unit; into has room for its n_raw bytes. What is borrowed must live until its end. */
void inflate_begin(struct inflate *x, enum packing packing, const struct sample_unit *unit,
		   const struct shard_frame *frames, void *into);
/* The next bytes of the file. 0, or INFLATE_E_DAMAGED with what is wrong ("offset N: …"); the unit is then void, and
 * all that is fed further is damaged too. */
int inflate_feed(struct inflate *x, const void *bytes, size_t n_bytes, struct reason *why);
/* After its last byte: 0 when the unit is whole, or INFLATE_E_DAMAGED. */
int inflate_end(struct inflate *x, struct reason *why);

#endif
