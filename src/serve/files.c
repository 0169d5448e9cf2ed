/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A small table searched linearly: a few hundred entries cost less than one system call. */
#include "serve/files.h"

#include "base/fault.h"
#include "core/core.h"
#include "io/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct files {
	struct shard_file *list;
	unsigned room, n_closing;
	uint64_t clock, ids;
	struct io_engine *engine;
};

int files_new(unsigned room, struct io_engine *engine, uint64_t ids, struct files **ret)
{
	struct files *f = calloc(1, sizeof(*f));

	if (!f || !(f->list = calloc(room, sizeof(*f->list)))) {
		free(f);
		return fail(-ENOMEM);
	}
	for (unsigned i = 0; i < room; i++) {
		f->list[i].number = i;
		f->list[i].file.fd = -1;
	}
	f->room = room;
	f->ids = ids;
	f->engine = engine;
	*ret = f;
	return 0;
}

int files_close(void *files)
{
	struct files *f = files;

	for (unsigned i = 0; i < f->room; i++)
		io_file_close(&f->list[i].file);
	return 0;
}

struct files *files_free(struct files *f)
{
	if (!f)
		return NULL;
	files_close(f);
	free(f->list);
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

/* ---- calls ---- */

static int open_shard(void *file)
{
	struct shard_file *s = file;
	int r = io_file_open(s->shard->path, s->is_direct, &s->file);

	if (r == 0 && s->file.is_direct && s->file.alignment > CORE_PAGE) {
		io_file_close(&s->file); /* reads come in pages of 4 KiB */
		r = io_file_open(s->shard->path, false, &s->file);
	}
	if (r == 0 && !is_same(&s->file.st, s->shard)) {
		io_file_close(&s->file);
		r = FILES_E_CHANGED;
	}
	return r;
}

int files_look(void *file)
{
	const struct shard_file *s = file;
	struct stat st;
	int r = io_file_look(&s->file, &st);

	if (r == -ESTALE || r == -ENOENT)
		return FILES_E_CHANGED; /* the server has it no more */
	if (r < 0)
		return pass(r);
	return is_same(&st, s->shard) ? 0 : FILES_E_CHANGED;
}

static int close_descriptor(void *fd)
{
	close((int)(intptr_t)fd);
	return 0;
}

/* ---- the table ---- */

static bool may_go(const struct files *f, const struct shard_file *s)
{
	return s->is_open && s->n_reads == 0 && (!s->file.is_remote || f->n_closing < FILES_CLOSING_MAX);
}

/* Where the next file goes: a free place, or the longest unused one's, which is closed. */
static struct shard_file *make_room(struct files *f)
{
	struct shard_file *oldest = NULL;

	for (unsigned i = 0; i < f->room; i++) {
		struct shard_file *s = &f->list[i];

		if (!s->is_used)
			return s;
		if (may_go(f, s) && (!oldest || s->used_at < oldest->used_at))
			oldest = s;
	}
	if (oldest && oldest->file.is_remote) {
		f->n_closing++;
		io_engine_call(f->engine, f->ids + f->room, close_descriptor, (void *)(intptr_t)oldest->file.fd);
	} else if (oldest) {
		io_file_close(&oldest->file);
	}
	return oldest;
}

static int begin(struct files *f, struct shard_file *s)
{
	int r = 0;

	s->is_used = true;
	if (s->shard->is_remote) {
		io_engine_call(f->engine, f->ids + s->number, open_shard, s);
	} else {
		r = open_shard(s);
		s->is_open = s->is_used = r == 0;
	}
	return r;
}

int files_get(struct files *f, const struct sample_shard *shard, bool is_direct, struct shard_file **ret)
{
	struct shard_file *s = NULL;
	int r;

	for (unsigned i = 0; i < f->room && !s; i++)
		if (f->list[i].is_used && f->list[i].shard == shard)
			s = &f->list[i];
	if (!s) {
		s = make_room(f);
		if (!s)
			return fail(-EMFILE);
		*s = (struct shard_file){.shard = shard, .file.fd = -1, .number = s->number,
					 .first_waiting = FILES_NONE, .is_direct = is_direct};
		r = begin(f, s);
		if (r)
			return r;
	}
	s->used_at = ++f->clock;
	s->n_reads++;
	*ret = s;
	return 0;
}

struct shard_file *files_take(struct files *f, uint64_t id, int64_t result)
{
	struct shard_file *s;

	if (id == f->ids + f->room) {
		f->n_closing--;
		return NULL;
	}
	s = &f->list[id - f->ids];
	s->is_open = result == 0;
	s->is_used = s->is_open;
	return s;
}

void files_put(struct files *f, struct shard_file *s)
{
	s->n_reads--;
}
