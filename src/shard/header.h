/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One tar member's header: its own block and the extension members (GNU 'L' and 'K', pax 'x' and 'g')
 * in front of it, taken block by block. Private to the room; tar.h is the way in.
 *
 * Threads: one caller at a time per chain.
 */
#ifndef SHARD_HEADER_H
#define SHARD_HEADER_H

#include "base/reason.h"
#include "shard/tar.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	TAR_BLOCK = 512,
	TAR_EXTENSION_MAX = 1 << 20, /* bytes of one extension member; more is refused */
};

/* What the blocks of a chain have said so far; chain_init once, then it keeps itself. */
struct chain {
	const char *path; /* for reasons; NULL where there is none */
	bool is_open;	  /* an extension was read and its member has not come yet */
	bool is_awaited;  /* the same, or a global header was, which tarfile wants followed too */
	bool has_long_name, has_pax, has_pax_path, has_pax_size;
	bool has_global_path, has_global_size;
	uint64_t pax_size, global_size;
	char long_name[TAR_NAME_MAX];
	char pax_path[TAR_NAME_MAX];
	char global_path[TAR_NAME_MAX];
};

enum chain_kind {
	CHAIN_MEMBER,	 /* a regular file: name and size are set */
	CHAIN_SKIP,	 /* something else; size bytes of it follow */
	CHAIN_EXTENSION, /* size bytes follow that chain_extension() wants */
	CHAIN_GLOBAL,	 /* the same, but it belongs to no member */
	CHAIN_END,	 /* a block of zeros */
};

struct chain_block {
	enum chain_kind kind;
	char type;
	uint64_t size;
	char name[TAR_NAME_MAX];
};

void chain_init(struct chain *c, const char *path);
/* Takes the 512 bytes of a header block at offset. 0 or TAR_E_REFUSED. */
int chain_take(struct chain *c, const uint8_t *block, uint64_t offset, struct chain_block *ret,
	       struct reason *why);
/* Takes the payload of an extension block; bytes holds size rounded up to 512. 0 or TAR_E_REFUSED. */
int chain_extension(struct chain *c, char type, const uint8_t *bytes, uint64_t size,
		    uint64_t offset, struct reason *why);
/* Fills the reason with "PATH, offset N: …"; always TAR_E_REFUSED. */
int chain_refuse(const struct chain *c, uint64_t offset, struct reason *why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static inline uint64_t tar_round_up(uint64_t n)
{
	return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

#endif
