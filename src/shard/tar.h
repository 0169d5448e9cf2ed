/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reads the headers of a tar, given its bytes piece by piece: the caller asks which bytes are
 * wanted, fetches them however it likes, and feeds them in. Large payloads are never asked for.
 *
 * ustar, GNU long names, pax path and size (also global), base-256 sizes; the member list is GNU
 * tar's and Python tarfile's, or the archive is refused with the offset: also where the two differ.
 * Nothing is allocated from a header's numbers. Reading stops at the first block of zeros, as both
 * do; what lies behind it is reported.
 *
 *	r = tar_scan_new(path, st.st_size, &s);
 *	while (r == 0) {
 *		tar_scan_want(s, &offset, &n_bytes);
 *		n = read n_bytes at offset;	// by any engine; a short read may be fed as it is
 *		r = tar_scan_feed(s, bytes, n, on_member, context, &why);
 *	}
 *	// TAR_E_DONE: tar_scan_trailing(), tar_scan_is_unterminated()
 *
 * Where payloads are large, a want is 4 KiB at the next header; where they are small, up to 1 MiB
 * that holds many members. A buffer of TAR_WANT_MAX holds any want; with a smaller one feed less.
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

enum {
	TAR_NAME_MAX = 4096,	     /* bytes of a name with its closing zero; a longer one is refused */
	TAR_WANT_MAX = (1 << 20) + 4096, /* the largest want */
};

/* One regular file of the archive; name lives until the next feed. */
struct tar_member {
	const char *name;
	uint64_t header_offset;	 /* of its first header block, extension blocks included */
	uint64_t payload_offset;
	uint64_t size;
};

/* In the place of the file's size, where that is known only at the end. */
#define TAR_SIZE_UNKNOWN (UINT64_C(1) << 62)

struct tar_scan;

int tar_scan_new(const char *path, uint64_t file_size, struct tar_scan **ret);
struct tar_scan *tar_scan_free(struct tar_scan *s);
/* The size, of a scan that began without it, once the file has ended; also after TAR_E_DONE. What is there from the
 * wanted offset on is then fed (again), if only 0 bytes. */
void tar_scan_set_size(struct tar_scan *s, uint64_t file_size);
/* The bytes the scan needs next, never past the file's size: 512 or more, less only at the end of a
 * file cut inside a block, and none for an empty file (feed that too: it is refused). Offsets are
 * multiples of 512. */
void tar_scan_want(const struct tar_scan *s, uint64_t *ret_offset, size_t *ret_n_bytes);
/* Feeds bytes that begin at ret_offset of the last want: fewer, as many or more. Fewer than 512 before
 * the file's end mean that the file was cut short since, which refuses it. Calls on_member for each
 * regular file found. 0 = want more, TAR_E_DONE, TAR_E_REFUSED with the reason, -errno, or what
 * on_member returned, if not 0; after that the scan is only good for tar_scan_want, whose offset is then
 * that of the header in question, and tar_scan_free. */
int tar_scan_feed(struct tar_scan *s, const void *bytes, size_t n_bytes,
		  int (*on_member)(void *context, const struct tar_member *m), void *context,
		  struct reason *why);
/* After TAR_E_DONE: what is not zeros behind the end marker begins at this block; 0 bytes = nothing.
 * The scan looks at 1 MiB behind the marker; where more follows, all of it is reported. */
void tar_scan_trailing(const struct tar_scan *s, uint64_t *ret_offset, uint64_t *ret_n_bytes);
/* After TAR_E_DONE: the archive ended without an end marker. */
bool tar_scan_is_unterminated(const struct tar_scan *s);

/* What a member's header blocks at a place say; used at read time on bytes that begin with them. */
struct tar_header {
	char name[TAR_NAME_MAX];
	uint64_t payload_at; /* bytes from the start of the blocks */
	uint64_t size;
};
/* 0, or TAR_E_REFUSED with the reason. */
int tar_header_read(const void *bytes, size_t n_bytes, struct tar_header *ret, struct reason *why);

/* WebDataset's rule for a member's name: the key is name[0 … *ret_n_key), the
 * extension, in lower case (ASCII letters only), is written to ret_extension, cut to n_extension - 1
 * bytes. false = the member is skipped: no extension, or a __meta__ name. */
bool tar_split_name(const char *name, size_t *ret_n_key, char *ret_extension, size_t n_extension);

#endif
