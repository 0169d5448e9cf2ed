/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* XXH64 and XXH3-128 from libxxhash, compiled in so that the client library needs libc alone. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_bytes(const void *bytes, size_t n)
{
	return XXH64(bytes, n, 0);
}

/* Of the text's UTF-8 bytes, without the closing zero. */
static inline uint64_t hash_text(const char *text)
{
	return XXH64(text, strlen(text), 0);
}

#endif
