/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Open shards: a bounded number of descriptors, the longest unused closed first. Every read is checked
 * against the file's identity (device, inode, size, mtime of the index).
 *
 * A shard may lie behind a server that never answers: the loop itself neither opens nor asks nor closes such a one, the
 * engine's threads do, as calls. Others it opens itself, which takes 15 us of CPU time less.
 *
 * Threads: the loop's, but for the calls, which touch their file alone.
 */
#ifndef SERVE_FILES_H
#define SERVE_FILES_H

#include "io/file.h"
#include "shard/samples.h"

#include <stdbool.h>
#include <stdint.h>

enum { FILES_E_CHANGED = 1 };

enum { FILES_CLOSING_MAX = 64 /* of files behind a server, under way */ };

#define FILES_NONE UINT32_MAX

/* One of the table. Its place is its own from files_get to the last files_put. */
struct shard_file {
	const struct sample_shard *shard;
	struct io_file file; /* fd -1: not open yet */
	uint64_t used_at;
	unsigned n_reads;
	uint32_t number;
	uint32_t first_waiting, last_waiting; /* the caller's list of reads until it is open */
	bool is_used, is_open, is_direct; /* is_direct: wanted */
};

struct files;
struct io_engine;

/* room: most files in the table. The engine is borrowed and makes the calls; ids: what it gives back of a call is
 * ids plus the file's number for its opening, and ids plus room for closings. 0 or -errno. */
int files_new(unsigned room, struct io_engine *engine, uint64_t ids, struct files **ret);
/* After the engine. */
struct files *files_free(struct files *f);
/* The shard's file, for one read more. When it is not open, its opening is a call under way. 0, FILES_E_CHANGED, or
 * -errno: what open said, -EMFILE when there is no room. */
int files_get(struct files *f, const struct sample_shard *shard, bool is_direct, struct shard_file **ret);
/* A call came back. NULL: of a closing, nothing to do. Else the file: with result 0 it is open; else its place is free,
 * and the list of those that waited still stands in it until the next files_get. */
struct shard_file *files_take(struct files *f, uint64_t id, int64_t result);
/* The read is over. */
void files_put(struct files *f, struct shard_file *s);
/* A call (data: an open shard_file): 0, FILES_E_CHANGED when it is not the file of the index any more, or -errno. */
int files_look(void *file);
/* A call (data: files) at the end: closes all of them. */
int files_close(void *files);

#endif
