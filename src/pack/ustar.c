/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A name longer than its field is cut at a slash: as late as the name allows, as tarfile does. */
#include "pack/ustar.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { N_NAME = 100, N_PREFIX = 155, AT_PREFIX = 345, AT_CHECKSUM = 148 };

/* The slash that ends the prefix; name itself: none is needed; NULL: it does not fit. */
static const char *find_cut(const char *name)
{
	size_t n = strlen(name);

	if (n <= N_NAME)
		return name;
	for (size_t i = n < N_PREFIX ? n : N_PREFIX; i > 0; i--)
		if (name[i] == '/')
			return n - i - 1 <= N_NAME && n - i - 1 > 0 ? name + i : NULL;
	return NULL;
}

bool ustar_fits(const char *name)
{
	return find_cut(name) != NULL;
}

void ustar_header(const char *name, uint64_t size, uint8_t ret[USTAR_BLOCK])
{
	const char *cut = find_cut(name);
	char *at = (char *)ret;
	unsigned sum = 0;

	assert(cut && size < (uint64_t)8 << 30);
	memset(ret, 0, USTAR_BLOCK);
	if (cut != name) {
		memcpy(at + AT_PREFIX, name, (size_t)(cut - name));
		cut++;
	}
	memcpy(at, cut, strlen(cut));
	memcpy(at + 100, "0000644\0" "0000000\0" "0000000", 23);
	snprintf(at + 124, 12, "%011llo", (unsigned long long)size);
	memcpy(at + 136, "00000000000", 11);
	at[156] = '0';
	memcpy(at + 257, "ustar\0" "00", 8);
	memcpy(at + 329, "0000000\0" "0000000", 15);
	memset(at + AT_CHECKSUM, ' ', 8);
	for (int i = 0; i < USTAR_BLOCK; i++)
		sum += ret[i];
	snprintf(at + AT_CHECKSUM, 8, "%06o", sum);
}
