/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Headers of plain POSIX tar members, as pack writes them: regular file, mode 0644, owner 0, time 0,
 * nothing that depends on who packs, or when.
 *
 * Threads: any; nothing here has state.
 */
#ifndef PACK_USTAR_H
#define PACK_USTAR_H

#include <stdbool.h>
#include <stdint.h>

enum { USTAR_BLOCK = 512, USTAR_RECORD = 20 * USTAR_BLOCK, USTAR_NAME_BYTES = 257 };

/* Whether the name has a place in the header. */
bool ustar_fits(const char *name);
/* The name must fit, the size be below 8 GiB. */
void ustar_header(const char *name, uint64_t size, uint8_t ret[USTAR_BLOCK]);

/* Bytes of a member with its header, and of an archive whose members have n_members bytes. */
static inline uint64_t ustar_member_bytes(uint64_t size)
{
	return USTAR_BLOCK + (size + USTAR_BLOCK - 1) / USTAR_BLOCK * USTAR_BLOCK;
}

static inline uint64_t ustar_archive_bytes(uint64_t n_members)
{
	return (n_members + 2 * USTAR_BLOCK + USTAR_RECORD - 1) / USTAR_RECORD * USTAR_RECORD;
}

#endif
