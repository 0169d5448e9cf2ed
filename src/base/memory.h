/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Memory that several processes share: a sealed memfd, mapped 2 MiB-aligned, touched at once, and
 * put on 2 MiB pages where the kernel allows (MADV_COLLAPSE; failure means 4 KiB pages, never an error).
 *
 * Threads: any. Never grows or shrinks after it is made.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct memory {
	int fd;		/* memfd, CLOEXEC; -1 when empty */
	void *base;	/* mapped shared, read-write, at a 2 MiB boundary */
	size_t n_bytes; /* as asked, rounded up to 4 KiB */
	bool is_huge;	/* on 2 MiB pages */
};

/* Makes, maps and touches n_bytes (> 0) of zeros. The name shows in /proc/PID/maps. 0 or -errno. */
int memory_new(const char *name, size_t n_bytes, struct memory *ret);
/* Nobody can map it for writing any more, or write it by a descriptor; who has mapped it so, and what is forked from
 * him, goes on writing. 0 or -errno (-EINVAL: before Linux 5.1). */
int memory_seal(struct memory *m);
/* Unmaps and closes; may run twice. */
void memory_deinit(struct memory *m);

/* Is it sealed in that way? */
bool memory_is_sealed(int fd);
/* Maps n_bytes of fd at a 2 MiB boundary with these PROT_ bits, MAP_SHARED. NULL and errno on failure. */
void *memory_map(int fd, size_t n_bytes, int protection);
/* Bytes of the memfd that are resident now (st_blocks). */
size_t memory_resident(int fd);

#endif
