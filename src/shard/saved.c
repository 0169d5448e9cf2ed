/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Where saved indexes lie, and how they get there and back: PATH.rfidx beside the shard, or in a
 * cache folder under a name made of the hash of the shard's absolute path and its base name.
 */
#include "shard/saved.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "shard/index.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static int name_beside(const char *path, char *ret)
{
	if (snprintf(ret, PATH_MAX, "%s.rfidx", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

/* The folder that is given, or the user's. */
static int cache_name(const char *folder, char *ret)
{
	const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;

	if (folder)
		n = snprintf(ret, PATH_MAX, "%s", folder);
	else if (base && base[0] == '/')
		n = snprintf(ret, PATH_MAX, "%s/ringfeed", base);
	else if (home && home[0] == '/')
		n = snprintf(ret, PATH_MAX, "%s/.cache/ringfeed", home);
	else
		return -ENOENT;
	return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int name_in_cache(const char *path, const char *folder, char *ret)
{
	char cache[PATH_MAX], absolute[PATH_MAX];
	const char *base = strrchr(path, '/');
	int r = cache_name(folder, cache);

	if (r < 0)
		return r;
	if (!realpath(path, absolute))
		return -errno;
	base = base ? base + 1 : path;
	if (snprintf(ret, PATH_MAX, "%s/%016" PRIx64 "-%s.rfidx", cache, hash_text(absolute), base) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

static int make_folders(const char *name)
{
	char folder[PATH_MAX];

	for (const char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name), name);
		if (mkdir(folder, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* Makes the rename itself last; a folder that cannot be synced is no reason to fail. */
static void sync_folder(const char *name)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(name, '/');
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - name + 1) : 1,
		 slash ? name : ".");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* All or nothing: readers see the old file or the new one. 0 or -errno. */
static int write_file(const char *name, const char *bytes, size_t n)
{
	char temporary[PATH_MAX];
	uint64_t random = 0;
	int fd, r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -errno;
	if (snprintf(temporary, sizeof(temporary), "%s.%016" PRIx64, name, random) >= PATH_MAX)
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return -errno;
	r = file_write(fd, bytes, n);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && rename(temporary, name) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	else
		sync_folder(name);
	return r;
}

int shard_index_save(const struct shard_index *index, const char *path, const char *cache_folder)
{
	size_t n = shard_index_encoded_bytes(index);
	char name[PATH_MAX], *bytes = malloc(n);
	int r;

	if (!bytes)
		return fail(-ENOMEM);
	shard_index_encode(index, bytes);
	r = name_beside(path, name);
	if (r == 0)
		r = write_file(name, bytes, n);
	if (r == -EACCES || r == -EROFS || r == -EPERM) {
		r = name_in_cache(path, cache_folder, name);
		if (r == 0)
			r = make_folders(name);
		if (r == 0)
			r = write_file(name, bytes, n);
	}
	free(bytes);
	return r < 0 ? fail(r) : 0;
}

static int open_saved(const char *name, struct stat *ret_st)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static bool has_read(int fd, void *ret, size_t n, uint64_t offset)
{
	return file_read_at(fd, ret, n, offset) == (int64_t)n;
}

/* What a caller wants out of one saved file: the whole index, or a key. */
struct wanted {
	const struct stat *st;
	struct shard_index *index;
	uint64_t sample;
	char *key;
	size_t n_key;
	uint64_t *offset;
};

static int read_index(int fd, const struct stat *own, const struct wanted *w)
{
	struct saved_header h;
	size_t n = (size_t)own->st_size;
	char *bytes;
	int r;

	if (n < sizeof(h) || !has_read(fd, &h, sizeof(h), 0) ||
	    !saved_header_is_good(&h, n, w->st))
		return INDEX_E_STALE;
	bytes = malloc(n);
	if (!bytes)
		return fail(-ENOMEM);
	r = has_read(fd, bytes, n, 0) ? shard_index_decode(bytes, n, w->st, w->index) : INDEX_E_STALE;
	free(bytes);
	return r;
}

static int read_key(int fd, const struct stat *own, const struct wanted *w)
{
	struct saved_header h;
	struct index_sample s;
	struct index_member first;
	uint64_t members_at, text_at, n;

	if ((uint64_t)own->st_size < sizeof(h) || !has_read(fd, &h, sizeof(h), 0) ||
	    !saved_header_is_good(&h, (uint64_t)own->st_size, w->st) || w->sample >= h.n_samples ||
	    !has_read(fd, &s, sizeof(s), sizeof(h) + w->sample * sizeof(s)) || s.key >= h.n_text)
		return INDEX_E_STALE;
	members_at = sizeof(h) + h.n_samples * sizeof(s);
	text_at = members_at + h.n_members * sizeof(first) + h.n_frames * sizeof(struct shard_frame);
	n = h.n_text - s.key;
	if (n > w->n_key - 1)
		n = w->n_key - 1;
	if (s.first_member >= h.n_members || !has_read(fd, w->key, n, text_at + s.key) ||
	    !has_read(fd, &first, sizeof(first), members_at + s.first_member * sizeof(first)))
		return INDEX_E_STALE;
	if (w->offset)
		*w->offset = first.header_offset;
	w->key[n] = '\0';
	return 0;
}

static int read_saved(const char *name, const struct wanted *w)
{
	struct stat own;
	int r, fd = open_saved(name, &own);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? INDEX_E_ABSENT : INDEX_E_STALE;
	r = w->index ? read_index(fd, &own, w) : read_key(fd, &own, w);
	close(fd);
	return r;
}

/* Beside the shard first, as save does. */
static int read_either(const char *path, const char *cache_folder, const struct wanted *w)
{
	char names[2][PATH_MAX];
	int r, worst = INDEX_E_ABSENT;
	bool is_there[2];

	is_there[0] = name_beside(path, names[0]) == 0;
	is_there[1] = name_in_cache(path, cache_folder, names[1]) == 0;
	for (int i = 0; i < 2; i++) {
		r = is_there[i] ? read_saved(names[i], w) : INDEX_E_ABSENT;
		if (r <= 0)
			return r;
		if (r == INDEX_E_STALE)
			worst = r;
	}
	return worst;
}

int shard_index_load(const char *path, const char *cache_folder, const struct stat *st,
		     struct shard_index *ret)
{
	const struct wanted w = {.st = st, .index = ret};

	return read_either(path, cache_folder, &w);
}

int shard_index_key(const char *path, const char *cache_folder, const struct stat *st,
		    uint64_t sample, char *ret_key, size_t n_key, uint64_t *ret_offset)
{
	const struct wanted w = {.st = st, .sample = sample, .key = ret_key, .n_key = n_key,
				 .offset = ret_offset};

	return n_key ? read_either(path, cache_folder, &w) : fail(-EINVAL);
}
