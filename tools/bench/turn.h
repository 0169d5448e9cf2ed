/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the programs that take turns have in common: photos in memory, the crops of a turn, a hash of
 * pixels, and CPU seconds. They read commands on stdin and answer on stdout, so that a driver can run
 * several of them in turns and each has its files loaded and its memory warm.
 *
 * Threads: one.
 */
#ifndef BENCH_TURN_H
#define BENCH_TURN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct photo {
	unsigned char *bytes;
	size_t n_bytes;
};

/* Columns [x0, x1) and rows [y0, y1) of a photo. */
struct crop {
	unsigned photo;
	uint32_t x0, y0, x1, y1;
};

/* The files, whole. They stay until the program ends; a file that cannot be read ends it. */
struct photo *photos_load(char *const *paths, unsigned n);
/* One line of stdin without its end, or NULL when there are no more; valid until the next call. */
char *turn_line(void);
/* n more objects of this size; memory that runs out ends the program. */
void *turn_array(void *old, size_t n, size_t size);
_Noreturn void turn_die(const char *what);

/* Of this process, so far. */
double turn_cpu_seconds(void);
/* Goes on from h with n bytes; begin with HASH_BEGIN. */
#define HASH_BEGIN 0xcbf29ce484222325u
uint64_t turn_hash(uint64_t h, const uint8_t *bytes, size_t n);

#endif
