/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * NAME-pack.jsonl: the first line says what is packed and how, each line behind it names a shard that is
 * finished, with its size and the XXH64 of its bytes. Lines are only added; one that was torn by a crash
 * is cut off. Held open and locked for as long as a pack works.
 *
 * Threads: one caller.
 */
#ifndef PACK_MANIFEST_H
#define PACK_MANIFEST_H

#include "pack/pack.h"
#include "pack/shards.h"

struct manifest {
	int fd, folder_fd;
	const char *name, *end; /* of a shard's name */
};

/* Makes or opens it in the folder. Marks the shards that are there. A folder that holds shards of this
 * name from elsewhere is refused, or cleared of them by force. 0, PACK_E_REFUSED or -errno. */
int manifest_open(const struct pack_options *how, const struct catalog *c, struct shard_plans *plans,
		  int folder_fd, struct manifest *ret, struct reason *why);
void manifest_close(struct manifest *m);

struct manifest_shard {
	size_t number, n_samples, n_left_out;
	uint64_t n_bytes, content, bytes_hash;
};
/* Adds a finished shard, on disk when it returns. 0 or -errno. */
int manifest_add(struct manifest *m, const struct manifest_shard *shard);

/* What the manifest beside a shard says of it, if there is one and it does. 0 or -errno. */
int manifest_find(const char *shard_path, bool *ret_is_there, uint64_t *ret_n_bytes, uint64_t *ret_hash);

/* NAME-000012 and the end, as .tar */
enum { SHARD_NAME_BYTES = 300 };
void manifest_shard_name(const char *name, size_t number, const char *end, char *ret);

#endif
