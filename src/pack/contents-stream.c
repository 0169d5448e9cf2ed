/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The stream is read twice: once for its length, which the scanner wants to know beforehand and which
 * looks at every frame's checksum, then for what is in it. Members that a feed of the scanner has found
 * wait in a list until it is done, for then their payloads may be looked at, in order. Offsets in faults
 * are those of the tar inside.
 */
#include "pack/contents.h"

#include "base/fault.h"
#include "pack/stream.h"
#include "shard/tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK = 1 << 20 };

struct found {
	char *key;
	char extension[EXTENSION_MAX];
	uint64_t header_offset, payload_offset, size;
};

struct reader {
	struct inspector *in;
	enum packing packing;
	const struct fault_sink *sink;
	struct stream_counts *counts;
	struct index_builder *builder;
	struct found *found;
	size_t n_found, found_room;
	char *key; /* of the last sample */
	struct verify_fault fault;
};

/* 0, PACK_E_REFUSED or -errno. */
static int measure(int fd, enum packing packing, uint64_t *ret_n, struct reason *why)
{
	struct stream s;
	const uint8_t *bytes;
	size_t n = LOOK;
	int r = stream_init(&s, fd, packing);

	*ret_n = 0;
	while (r == 0 && n == LOOK) {
		r = stream_view(&s, *ret_n, LOOK, &bytes, &n, why);
		*ret_n += r == 0 ? n : 0;
	}
	stream_deinit(&s);
	return r;
}

static int note(void *context, const struct tar_member *m)
{
	struct reader *rd = context;
	struct found *f;
	size_t n_key;

	if (rd->n_found == rd->found_room) {
		size_t room = rd->found_room * 2 + 16;
		struct found *grown = reallocarray(rd->found, room, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		rd->found = grown;
		rd->found_room = room;
	}
	f = &rd->found[rd->n_found];
	*f = (struct found){.header_offset = m->header_offset, .payload_offset = m->payload_offset, .size = m->size};
	if (tar_split_name(m->name, &n_key, f->extension, sizeof(f->extension))) {
		f->key = strndup(m->name, n_key);
		if (!f->key)
			return fail(-ENOMEM);
		rd->n_found++;
	}
	return index_builder_add(rd->builder, m);
}

/* Members with one key in a row are one sample. */
static void take_key(struct reader *rd, struct found *f)
{
	struct reason key;

	if (rd->key && strcmp(rd->key, f->key) == 0) {
		free(f->key);
	} else {
		rd->fault.sample = rd->counts->n_samples++;
		free(rd->key);
		rd->key = f->key;
	}
	f->key = NULL;
	reason_set(&key, "%s", rd->key);
	snprintf(rd->fault.key, sizeof(rd->fault.key), "%.*s", (int)sizeof(rd->fault.key) - 1, key.text);
}

static int inspect_found(struct reader *rd, struct stream *s, struct reason *why)
{
	int r = 0;

	for (size_t i = 0; i < rd->n_found; i++) {
		struct found *f = &rd->found[i];
		const uint8_t *bytes;
		size_t n = 0;

		take_key(rd, f);
		if (r == 0)
			r = stream_view(s, f->payload_offset, f->size, &bytes, &n, why);
		if (r != 0)
			continue;
		rd->fault.offset = f->header_offset;
		memcpy(rd->fault.extension, f->extension, sizeof(f->extension));
		inspect_bytes(rd->in, bytes, n, &rd->fault, rd->sink);
		rd->counts->n_members++;
		rd->counts->n_bytes += n;
	}
	rd->n_found = 0;
	return r;
}

/* TAR_E_DONE, TAR_E_REFUSED with the reason, or -errno. */
static int read_tar(struct reader *rd, struct stream *s, struct tar_scan *tar, uint64_t *ret_at, struct reason *why)
{
	int r = 0, end = 0;

	while (r == 0 && end == 0) {
		const uint8_t *bytes;
		size_t n;

		tar_scan_want(tar, ret_at, &n);
		r = stream_view(s, *ret_at, n, &bytes, &n, why);
		if (r != 0)
			break;
		end = tar_scan_feed(tar, bytes, n, note, rd, why);
		tar_scan_want(tar, ret_at, &n);
		r = inspect_found(rd, s, why);
	}
	if (r == PACK_E_REFUSED)
		return TAR_E_REFUSED;
	return r ? r : end;
}

static void tell_repeated(const struct contents *c, uint64_t shard, const struct fault_sink *sink)
{
	for (uint64_t i = 0; i < c->index.n_samples; i++) {
		const struct index_sample *s = &c->index.samples[i];
		struct verify_fault f = {.shard = shard, .sample = i};
		struct reason key;

		if (!(s->flags & INDEX_REPEATED))
			continue;
		reason_set(&key, "%s", c->index.text + s->key);
		snprintf(f.key, sizeof(f.key), "%.*s", (int)sizeof(f.key) - 1, key.text);
		f.offset = c->index.members[s->first_member].header_offset;
		contents_fault(sink, &f, cause_name(CAUSE_repeated_extension), "%s",
			       cause_text(CAUSE_repeated_extension));
	}
}

static int read_all(struct reader *rd, const char *path, uint64_t n_raw)
{
	struct verify_fault f = {.shard = rd->fault.shard, .sample = VERIFY_SHARD};
	const struct stat st = {.st_size = (off_t)n_raw};
	struct contents c = {.n_bytes = n_raw};
	struct tar_scan *tar = NULL;
	struct reason why = {{0}};
	struct stream s;
	int r = stream_init(&s, rd->in->fd, rd->packing), end;

	if (r < 0)
		return pass(r);
	r = tar_scan_new(path, n_raw, &tar);
	if (r == 0)
		r = index_builder_new(&rd->builder);
	end = r < 0 ? r : read_tar(rd, &s, tar, &f.offset, &why);
	if (end == TAR_E_DONE)
		index_builder_take_scan(rd->builder, tar);
	else if (end == TAR_E_REFUSED)
		contents_fault(rd->sink, &f, "damaged_tar", "%s", why.text);
	if (end >= 0)
		r = index_builder_finish(rd->builder, &st, &c.index);
	if (end >= 0 && r == 0) {
		tell_repeated(&c, f.shard, rd->sink);
		if (end == TAR_E_DONE)
			contents_tell_shape(&c, f.shard, rd->sink);
	}
	contents_deinit(&c);
	index_builder_free(rd->builder);
	tar_scan_free(tar);
	stream_deinit(&s);
	return end < 0 ? end : r;
}

int inspect_stream(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		   const struct fault_sink *sink, struct stream_counts *ret)
{
	struct reader rd = {.in = in, .packing = c->packing, .sink = sink, .counts = ret, .fault = {.shard = shard, .sample = VERIFY_SHARD}};
	struct reason why = {{0}};
	uint64_t n_raw;
	int r = inspector_open(in, path, shard);

	if (r < 0) {
		contents_fault(sink, &rd.fault, cause_name(CAUSE_read_error), "%s", strerror(-r));
		return 0;
	}
	r = measure(in->fd, c->packing, &n_raw, &why);
	if (r == PACK_E_REFUSED) {
		contents_fault(sink, &rd.fault, c->packing == PACKING_ZSTD ? "damaged_zstd" : "damaged_gzip", "%s", why.text);
		return 0;
	}
	if (r == 0)
		r = read_all(&rd, path, n_raw);
	for (size_t i = 0; i < rd.n_found; i++)
		free(rd.found[i].key);
	free(rd.found);
	free(rd.key);
	return r < 0 ? pass(r) : 0;
}
