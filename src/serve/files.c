/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A small table searched linearly: a few hundred entries cost less than one system call. */
#include "serve/files.h"

#include "base/fault.h"
#include "core/core.h"
#include "io/file.h"

#include <errno.h>
#include <stdlib.h>

struct entry {
	struct io_file file;
	uint64_t used_at;
	unsigned feed, n_reads;
	uint32_t shard;
};

struct files {
	struct entry *entries;
	unsigned n, room;
	uint64_t clock;
};

int files_new(unsigned room, struct files **ret)
{
	struct files *f = calloc(1, sizeof(*f));

	if (!f || !(f->entries = calloc(room, sizeof(*f->entries)))) {
		free(f);
		return fail(-ENOMEM);
	}
	f->room = room;
	*ret = f;
	return 0;
}

struct files *files_free(struct files *f)
{
	if (!f)
		return NULL;
	for (unsigned i = 0; i < f->n; i++)
		io_file_close(&f->entries[i].file);
	free(f->entries);
	free(f);
	return NULL;
}

static bool is_same(const struct stat *st, const struct sample_shard *shard)
{
	return st->st_dev == shard->device && st->st_ino == shard->inode &&
	       (uint64_t)st->st_size == shard->file_size &&
	       (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec ==
		       shard->mtime_ns;
}

/* Where the next file goes: a new entry, or the longest unused one, closed. */
static struct entry *make_room(struct files *f)
{
	struct entry *oldest = NULL;

	if (f->n < f->room)
		return &f->entries[f->n++];
	for (unsigned i = 0; i < f->n; i++)
		if (f->entries[i].n_reads == 0 && (!oldest || f->entries[i].used_at < oldest->used_at))
			oldest = &f->entries[i];
	if (oldest)
		io_file_close(&oldest->file);
	return oldest;
}

static int open_shard(struct files *f, struct entry *e, const struct sample_shard *shard, bool is_direct)
{
	int r = io_file_open(shard->path, is_direct, &e->file);

	if (r == 0 && e->file.is_direct && e->file.alignment > CORE_PAGE) {
		io_file_close(&e->file); /* reads come in pages of 4 KiB */
		r = io_file_open(shard->path, false, &e->file);
	}
	if (r == 0 && !is_same(&e->file.st, shard)) {
		io_file_close(&e->file);
		r = FILES_E_CHANGED;
	}
	if (r) { /* the entry is of no use: the last one takes its place */
		*e = f->entries[--f->n];
		return r;
	}
	return 0;
}

int files_get(struct files *f, unsigned feed, const struct samples *samples, uint32_t shard,
	      bool is_direct, int *ret_fd, bool *ret_is_remote)
{
	struct entry *e = NULL;
	int r;

	for (unsigned i = 0; i < f->n && !e; i++)
		if (f->entries[i].feed == feed && f->entries[i].shard == shard)
			e = &f->entries[i];
	if (!e) {
		e = make_room(f);
		if (!e)
			return fail(-EMFILE);
		*e = (struct entry){.feed = feed, .shard = shard};
		r = open_shard(f, e, &samples->shards[shard], is_direct);
		if (r)
			return r;
	}
	e->used_at = ++f->clock;
	e->n_reads++;
	*ret_fd = e->file.fd;
	*ret_is_remote = e->file.is_remote;
	return 0;
}

bool files_put(struct files *f, int fd, const struct samples *samples, uint32_t shard)
{
	struct stat st;

	for (unsigned i = 0; i < f->n; i++)
		if (f->entries[i].file.fd == fd)
			f->entries[i].n_reads--;
	return fstat(fd, &st) < 0 || !is_same(&st, &samples->shards[shard]);
}
