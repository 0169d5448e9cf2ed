/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* How a file is compressed, by its first bytes: names say nothing. */
#include "shard/unpack.h"

#include <stdbool.h>
#include <string.h>

static bool begins(const void *bytes, size_t n, const char *magic, size_t n_magic)
{
	return n >= n_magic && memcmp(bytes, magic, n_magic) == 0;
}

enum packing packing_of(const void *bytes, size_t n)
{
	const uint8_t *b = bytes;

	if (begins(b, n, "\x28\xb5\x2f\xfd", 4) || (n >= 4 && (b[0] & 0xf0) == 0x50 && begins(b + 1, 3, "\x2a\x4d\x18", 3)))
		return PACKING_ZSTD;
	return begins(b, n, "\x1f\x8b\x08", 3) ? PACKING_GZIP : PACKING_NONE;
}

const char *packing_name(enum packing packing)
{
	static const char *const names[] = {
		[PACKING_NONE] = "plain", [PACKING_ZSTD] = "zstd", [PACKING_GZIP] = "gzip"};

	return names[packing];
}
