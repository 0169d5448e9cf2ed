/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The index is built on the way from the places where we put things, so nothing is read again. */
#include "pack/output.h"

#include "base/fault.h"
#include "shard/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct output_member {
	char name[USTAR_NAME_BYTES];
	uint64_t size;
};

int output_begin(struct output *o, const struct output_place *place)
{
	const char *end = place->is_squeezed ? ".tar.zst" : ".tar";
	int r;

	*o = (struct output){.folder = place->folder, .folder_fd = place->folder_fd, .fd = -1,
			     .is_squeezed = place->is_squeezed};
	manifest_shard_name(place->name, place->number, end, o->name);
	manifest_shard_name(place->name, place->number, place->is_squeezed ? ".tar.zst.part" : ".tar.part", o->part_name);
	XXH64_reset(&o->hash, 0);
	r = index_builder_new(&o->index);
	if (r == 0 && o->is_squeezed)
		r = squeeze_init(&o->squeeze);
	if (r == 0) {
		o->fd = openat(o->folder_fd, o->part_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
		r = o->fd < 0 ? fail(-errno) : 0;
	}
	if (r < 0)
		output_abandon(o);
	return r < 0 ? pass(r) : 0;
}

/* Writes bytes of the file. */
static int write_out(struct output *o, struct iovec *pieces, int n)
{
	for (int i = 0; i < n; i++)
		if (pieces[i].iov_len)
			XXH64_update(&o->hash, pieces[i].iov_base, pieces[i].iov_len);
	while (n > 0) {
		ssize_t got = writev(o->fd, pieces, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(-errno);
		o->file_at += (uint64_t)got;
		while (n > 0 && (size_t)got >= pieces->iov_len) {
			got -= (ssize_t)pieces->iov_len;
			pieces++;
			n--;
		}
		if (n > 0) {
			pieces->iov_base = (char *)pieces->iov_base + got;
			pieces->iov_len -= (size_t)got;
		}
	}
	return 0;
}

static int end_frame(struct output *o)
{
	struct iovec frame;
	int r = squeeze_end_frame(&o->squeeze, &frame);

	if (r == 0 && frame.iov_len)
		r = write_out(o, &frame, 1);
	return r < 0 ? pass(r) : 0;
}

int output_begin_sample(struct output *o, uint64_t n_bytes)
{
	/*
	 * Frames end inside large samples only, and those begin one; so the frame in hand never holds one
	 * sample that must stay and part of one that may have to go, of which the rest is written already.
	 */
	int r = o->is_squeezed && n_bytes + SQUEEZE_FRAME > SQUEEZE_MOST ? end_frame(o) : 0;

	o->n_members = 0;
	o->sample_at = o->at;
	o->sample_file_at = o->file_at;
	o->sample_hash = o->hash;
	o->squeeze.n_raw_before = o->squeeze.n_raw;
	o->squeeze.n_frames_before = o->squeeze.n_frames;
	return r < 0 ? pass(r) : 0;
}

int output_put(struct output *o, struct iovec *pieces, int n)
{
	int r;

	for (int i = 0; i < n; i++)
		o->at += pieces[i].iov_len;
	if (!o->is_squeezed)
		return write_out(o, pieces, n);
	r = squeeze_put(&o->squeeze, pieces, n);
	if (r == 0 && o->squeeze.n_raw >= SQUEEZE_MOST)
		r = end_frame(o);
	return r < 0 ? pass(r) : 0;
}

int output_drop_sample(struct output *o)
{
	o->at = o->sample_at;
	o->hash = o->sample_hash;
	o->squeeze.n_raw = o->squeeze.n_raw_before;
	o->squeeze.n_frames = o->squeeze.n_frames_before;
	if (o->file_at == o->sample_file_at)
		return 0;
	o->file_at = o->sample_file_at;
	if (ftruncate(o->fd, (off_t)o->file_at) < 0 || lseek(o->fd, (off_t)o->file_at, SEEK_SET) < 0)
		return fail(-errno);
	return 0;
}

int output_member(struct output *o, const char *name, uint64_t size, uint8_t header[USTAR_BLOCK])
{
	if (o->n_members == o->members_room) {
		size_t room = o->members_room * 2 + 8;
		struct output_member *grown = reallocarray(o->members, room, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		o->members = grown;
		o->members_room = room;
	}
	o->members[o->n_members].size = size;
	snprintf(o->members[o->n_members++].name, USTAR_NAME_BYTES, "%s", name);
	ustar_header(name, size, header);
	return 0;
}

int output_end_sample(struct output *o)
{
	uint64_t at = o->sample_at;
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->n_members; i++) {
		const struct tar_member member = {.name = o->members[i].name, .header_offset = at,
						  .payload_offset = at + USTAR_BLOCK, .size = o->members[i].size};

		at += ustar_member_bytes(member.size);
		r = index_builder_add(o->index, &member);
	}
	if (r == 0 && o->is_squeezed && o->squeeze.n_raw >= SQUEEZE_FRAME)
		r = end_frame(o);
	return r < 0 ? pass(r) : 0;
}

static int save_index(struct output *o)
{
	struct shard_frame *frames;
	struct shard_index index;
	uint64_t n_frames;
	struct stat st;
	char *path;
	int r = 0;

	if (fstat(o->fd, &st) < 0 || asprintf(&path, "%s/%s", o->folder, o->name) < 0)
		return fail(-errno);
	if (o->is_squeezed)
		r = squeeze_frames(&o->squeeze, &frames, &n_frames);
	if (r == 0 && o->is_squeezed)
		index_builder_take_frames(o->index, PACKING_ZSTD, frames, n_frames, o->at);
	if (r == 0)
		r = index_builder_finish(o->index, &st, &index);
	if (r == 0) {
		index.trailing_offset = index.raw_size;
		/* a cache: where it cannot be saved, the first reader scans */
		shard_index_save(&index, path, NULL);
		shard_index_deinit(&index);
	}
	free(path);
	return r < 0 ? pass(r) : 0;
}

/* What stands behind the last frame. */
static int put_table(struct output *o)
{
	struct iovec table;
	int r = end_frame(o);

	if (r == 0)
		r = squeeze_table(&o->squeeze, &table);
	if (r == 0)
		r = write_out(o, &table, 1);
	return r < 0 ? pass(r) : 0;
}

static void close_all(struct output *o)
{
	o->index = index_builder_free(o->index);
	squeeze_deinit(&o->squeeze);
	free(o->members);
	o->members = NULL;
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

int output_finish(struct output *o, uint64_t *ret_n_bytes, uint64_t *ret_hash)
{
	static uint8_t zeros[USTAR_RECORD + 2 * USTAR_BLOCK];
	struct iovec end = {.iov_base = zeros, .iov_len = ustar_archive_bytes(o->at) - o->at};
	int r = output_put(o, &end, 1);

	if (r == 0 && o->is_squeezed)
		r = put_table(o);
	if (r == 0 && (fsync(o->fd) < 0 ||
		       renameat(o->folder_fd, o->part_name, o->folder_fd, o->name) < 0 || fsync(o->folder_fd) < 0))
		r = fail(-errno);
	if (r == 0)
		r = save_index(o);
	if (r < 0)
		return pass(r);
	*ret_n_bytes = o->file_at;
	*ret_hash = XXH64_digest(&o->hash);
	close_all(o);
	return 0;
}

void output_abandon(struct output *o)
{
	if (o->fd >= 0)
		unlinkat(o->folder_fd, o->part_name, 0);
	close_all(o);
}
