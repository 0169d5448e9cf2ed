/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Opening shards for the engines: O_DIRECT where the file system has it, with its alignment.
 */
#ifndef IO_FILE_H
#define IO_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct io_file {
	int fd;
	bool is_direct;
	bool is_remote; /* behind a server (FUSE, NFS …): what is done to it may wait for that for ever */
	uint32_t alignment; /* of offsets, lengths and memory: statx STATX_DIOALIGN, else 4096 */
	struct stat st;
};

/* direct: wanted; falls back to buffered where the file system refuses it. 0 or -errno. */
int io_file_open(const char *path, bool direct, struct io_file *ret);
void io_file_close(struct io_file *f);
/* What the file is now: device, inode, size and mtime alone. One behind a server is asked for there, whatever the
 * kernel still knows of it. 0 or -errno. */
int io_file_look(const struct io_file *f, struct stat *ret);

#endif
