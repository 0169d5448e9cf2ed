/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Plain files: all of it read or written, whatever signals and short counts say, and locks that are files.
 *
 * Threads: any. What goes wrong is an outcome: -errno, not marked as a fault.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Up to n bytes from where the descriptor stands, fewer only at the end. How many, or -errno. */
int64_t file_read(int fd, void *into, size_t n);
/* The same from that offset. */
int64_t file_read_at(int fd, void *into, size_t n, uint64_t offset);
/* 0, or -errno: some of it may be written. */
int file_write(int fd, const void *bytes, size_t n);

/* Makes the file where it is missing, locks it, and sees to it that it is still the one at the path: whoever holds the
 * lock may remove the file. Closing the descriptor, which is the caller's, unlocks. 0; -EWOULDBLOCK: somebody else
 * holds it, and waits is false; or -errno. */
int file_lock(const char *path, bool waits, int *ret_fd);

#endif
