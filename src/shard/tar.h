/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reads the headers of a tar, given its bytes piece by piece: the caller asks which bytes are
 * wanted, fetches them however it likes, and feeds them in. Payloads are never asked for.
 *
 * ustar, GNU long names, pax path and size (also global), base-256 sizes; the member list is GNU
 * tar's and Python tarfile's, or the archive is refused with the offset. Nothing is allocated from
 * a header's numbers. Reading stops at the end marker; what lies behind it is reported.
 *
 * Threads: one caller at a time per scan.
 */
#ifndef SHARD_TAR_H
#define SHARD_TAR_H

#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TAR_E_DONE = 1, /* the end marker, or the end of an unterminated archive, was reached */
	TAR_E_REFUSED,	/* not a tar, cut short, sparse …: the reason names the offset */
};

enum { TAR_NAME_MAX = 4096 };

/* One regular file of the archive; name lives until the next feed. */
struct tar_member {
	const char *name;
	uint64_t header_offset;	 /* of its first header block, extension blocks included */
	uint64_t payload_offset;
	uint64_t size;
};

struct tar_scan;

int tar_scan_new(const char *path, uint64_t file_size, struct tar_scan **ret);
struct tar_scan *tar_scan_free(struct tar_scan *s);
/* The bytes the scan needs next; n_bytes is at least 512 and more may be fed. */
void tar_scan_want(const struct tar_scan *s, uint64_t *ret_offset, size_t *ret_n_bytes);
/* Feeds bytes that begin at ret_offset of the last want. Calls on_member for each regular file
 * found. 0 = want more, TAR_E_DONE, TAR_E_REFUSED with the reason, or what on_member returned. */
int tar_scan_feed(struct tar_scan *s, const void *bytes, size_t n_bytes,
		  int (*on_member)(void *context, const struct tar_member *m), void *context,
		  struct reason *why);
/* After TAR_E_DONE: bytes of anything but zeros behind the end marker begin here; size 0 = none.
 * (Only as far as the scan looked: it looks at one block behind the marker and at the file size.) */
void tar_scan_trailing(const struct tar_scan *s, uint64_t *ret_offset, uint64_t *ret_n_bytes);

/* What a member's header blocks at a place say; used at read time on bytes that begin with them. */
struct tar_header {
	char name[TAR_NAME_MAX];
	uint64_t payload_at; /* bytes from the start of the blocks */
	uint64_t size;
};
/* 0, or TAR_E_REFUSED with the reason. */
int tar_header_read(const void *bytes, size_t n_bytes, struct tar_header *ret, struct reason *why);

/* WebDataset's rule (FORMATS section 1) for a member's name: the key is name[0 … *ret_n_key), the
 * extension, lower-cased, is written to ret_extension. false = the member is skipped. */
bool tar_split_name(const char *name, size_t *ret_n_key, char *ret_extension, size_t n_extension);

#endif
