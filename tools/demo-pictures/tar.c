/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One 512-byte header per member, payload padded to blocks, and an end of two empty blocks. */
#include "tar.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, RECORD = 20 * BLOCK };

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155];
	char padding[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

struct tar {
	FILE *file;
	size_t n_written;
};

static int put(struct tar *t, const void *data, size_t n)
{
	if (fwrite(data, 1, n, t->file) != n)
		return errno ? -errno : -EIO;
	t->n_written += n;
	return 0;
}

static int fill(struct tar *t, size_t unit)
{
	static const char zeros[RECORD];
	size_t over = t->n_written % unit;

	return over ? put(t, zeros, unit - over) : 0;
}

int tar_open(const char *path, struct tar **ret)
{
	struct tar *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->file = fopen(path, "wbe");
	if (!t->file) {
		int r = -errno;

		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int tar_add(struct tar *t, const char *name, const void *data, size_t n)
{
	struct header h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
	unsigned sum = 0;
	int r;

	assert(strlen(name) < sizeof(h.name));
	strcpy(h.name, name);
	strcpy(h.mode, "0000644");
	strcpy(h.uid, "0000000");
	strcpy(h.gid, "0000000");
	snprintf(h.size, sizeof(h.size), "%011zo", n & 0777777777);
	strcpy(h.mtime, "14524770400"); /* 2023-11-14, always */
	memset(h.checksum, ' ', sizeof(h.checksum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((const uint8_t *)&h)[i];
	snprintf(h.checksum, sizeof(h.checksum), "%06o", sum & 0777777);
	r = put(t, &h, sizeof(h));
	if (r == 0)
		r = put(t, data, n);
	return r < 0 ? r : fill(t, BLOCK);
}

int tar_finish(struct tar *t)
{
	static const char end[2 * BLOCK];
	int r = put(t, end, sizeof(end));

	if (r == 0)
		r = fill(t, RECORD);
	if (fclose(t->file) != 0 && r == 0)
		r = -errno;
	t->file = NULL;
	return r;
}

struct tar *tar_free(struct tar *t)
{
	if (t && t->file)
		fclose(t->file);
	free(t);
	return NULL;
}
