/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Reads are plain preads through the page cache: verify has as many processes as CPUs, and what it checks
 * is mostly decoding.
 */
#include "pack/contents.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "decode/integer.h"
#include "io/file.h"
#include "pack/manifest.h"
#include "shard/tar.h"
#include "shard/unpack.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STRETCH = 1 << 20 };

void contents_fault(const struct fault_sink *sink, struct verify_fault *f, const char *cause,
		    const char *format, ...)
{
	struct reason text;
	va_list args;
	char raw[400];

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	reason_set(&text, "%s", raw);
	snprintf(f->cause, sizeof(f->cause), "%s", cause);
	snprintf(f->detail, sizeof(f->detail), "%.*s", (int)sizeof(f->detail) - 1, text.text);
	sink->put(sink->context, f);
}

/* ---- headers ---- */

/* 0, TAR_E_DONE, TAR_E_REFUSED with the reason, or -errno. */
static int scan(int fd, struct tar_scan *tar, struct index_builder *builder, uint64_t *ret_at,
		struct reason *why)
{
	uint8_t *buffer = malloc(TAR_WANT_MAX);
	int r = buffer ? 0 : fail(-ENOMEM);

	while (r == 0) {
		size_t n;
		int64_t got;

		tar_scan_want(tar, ret_at, &n);
		got = file_read_at(fd, buffer, n < TAR_WANT_MAX ? n : TAR_WANT_MAX, *ret_at);
		if (got < 0) {
			reason_set(why, "reading at offset %llu failed: %s", (unsigned long long)*ret_at,
				   strerror((int)-got));
			r = TAR_E_REFUSED;
		} else {
			r = tar_scan_feed(tar, buffer, (size_t)got, index_builder_on_member, builder, why);
			tar_scan_want(tar, ret_at, &n); /* once it has refused: where */
		}
	}
	free(buffer);
	return r;
}

void contents_tell_shape(const struct contents *c, uint64_t shard, const struct fault_sink *sink)
{
	struct verify_fault f = {.shard = shard, .sample = VERIFY_SHARD};

	if (c->index.is_unterminated) {
		f.offset = c->n_bytes;
		contents_fault(sink, &f, "no_end_marker", "the shard may have been cut between two members");
	}
	if (c->index.trailing_bytes) {
		f.offset = c->index.trailing_offset;
		contents_fault(sink, &f, "trailing_bytes", "%llu bytes behind the end marker are not read",
			  (unsigned long long)c->index.trailing_bytes);
	}
	if (c->index.n_samples == 0 && c->index.n_skipped)
		contents_fault(sink, &f, "no_samples", "%llu members, but none that belongs to a sample",
			  (unsigned long long)c->index.n_skipped);
}

static int scan_file(const char *path, const struct io_file *file, uint64_t shard, const struct fault_sink *sink,
		     struct contents *ret)
{
	struct verify_fault f = {.shard = shard, .sample = VERIFY_SHARD};
	struct index_builder *builder = NULL;
	struct tar_scan *tar = NULL;
	struct reason why = {{0}};
	int r = tar_scan_new(path, (uint64_t)file->st.st_size, &tar), end = 0;

	if (r == 0)
		r = index_builder_new(&builder);
	if (r == 0)
		end = r = scan(file->fd, tar, builder, &f.offset, &why);
	if (r >= 0) {
		if (end == TAR_E_DONE)
			index_builder_take_scan(builder, tar);
		r = index_builder_finish(builder, &file->st, &ret->index);
	}
	if (r == 0 && end == TAR_E_REFUSED)
		contents_fault(sink, &f, "damaged_tar", "%s", why.text);
	else if (r == 0)
		contents_tell_shape(ret, shard, sink);
	index_builder_free(builder);
	tar_scan_free(tar);
	return r;
}

int contents_scan(const char *path, uint64_t shard, const struct fault_sink *sink, struct contents *ret)
{
	struct verify_fault f = {.shard = shard, .sample = VERIFY_SHARD};
	uint8_t magic[PACKING_MAGIC];
	int64_t n_magic;
	struct io_file file;
	int r = io_file_open(path, false, &file);

	*ret = (struct contents){.n_bytes = 0};
	if (r < 0) {
		contents_fault(sink, &f, "unreadable", "%s", strerror(-r));
		return 0;
	}
	ret->n_bytes = (uint64_t)file.st.st_size;
	n_magic = file_read_at(file.fd, magic, sizeof(magic), 0);
	ret->packing = packing_of(magic, n_magic > 0 ? (size_t)n_magic : 0);
	r = ret->packing != PACKING_NONE ? 0 : scan_file(path, &file, shard, sink, ret);
	io_file_close(&file);
	if (r == 0)
		r = manifest_find(path, &ret->has_hash, &ret->n_bytes_stated, &ret->hash);
	return r < 0 ? pass(r) : 0;
}

void contents_deinit(struct contents *c)
{
	shard_index_deinit(&c->index);
}

/* ---- bytes ---- */

int inspector_init(struct inspector *in, const struct limits *limits)
{
	int r;

	*in = (struct inspector){.fd = -1, .limits = *limits};
	r = arena_init(&in->arena, limits->decode_memory);
	if (r == 0)
		r = image_new(&in->image);
	if (r < 0)
		inspector_deinit(in);
	return r < 0 ? pass(r) : 0;
}

void inspector_deinit(struct inspector *in)
{
	in->image = image_free(in->image);
	arena_deinit(&in->arena);
	free(in->bytes);
	in->bytes = NULL;
	if (in->fd >= 0)
		close(in->fd);
	in->fd = -1;
}

int inspector_open(struct inspector *in, const char *path, uint64_t shard)
{
	struct io_file file;
	int r;

	if (in->fd >= 0 && in->shard == shard)
		return 0;
	if (in->fd >= 0)
		close(in->fd);
	in->fd = -1;
	r = io_file_open(path, false, &file);
	if (r < 0)
		return r;
	in->fd = file.fd;
	in->shard = shard;
	return 0;
}

static void skip_row(void *user, const uint8_t *rgb)
{
}

static void inspect_image(struct inspector *in, const void *bytes, size_t n, struct verify_fault *f,
			  const struct fault_sink *sink)
{
	const struct image_source source = {.bytes = bytes, .n_bytes = n, .limits = &in->limits};
	const struct image_trouble *trouble = image_trouble(in->image);
	struct image_info info;
	enum cause cause;

	arena_reset(&in->arena, in->limits.decode_memory);
	cause = image_open(in->image, &in->arena, &source, &info);
	if (cause == CAUSE_none) {
		const struct image_region all = {0, 0, info.width, info.height, 1};

		cause = image_read(in->image, &all, skip_row, NULL);
	}
	if (cause != CAUSE_none && in->arena.is_over)
		contents_fault(sink, f, cause_name(CAUSE_decode_memory), "%s", cause_text(CAUSE_decode_memory));
	else if (cause != CAUSE_none)
		contents_fault(sink, f, cause_name(cause), "%s%s%s", cause_text(cause), *trouble->detail ? ": " : "",
			  trouble->detail);
	f->is_warning = cause == CAUSE_none && trouble->n_warnings;
	if (f->is_warning)
		contents_fault(sink, f, "warning", "it decodes, but libjpeg warned of damaged data %u times",
			  trouble->n_warnings);
	f->is_warning = false;
}

void inspect_bytes(struct inspector *in, const void *bytes, size_t n, struct verify_fault *f,
		   const struct fault_sink *sink)
{
	char name[EXTENSION_MAX + 4], detail[120] = "";
	json_error_t error;
	int64_t label;

	snprintf(name, sizeof(name), ".%s", f->extension);
	if (catalog_is_image_name(name)) {
		inspect_image(in, bytes, n, f, sink);
	} else if (strcmp(f->extension, "cls") == 0) {
		enum cause cause = integer_decode(bytes, n, DTYPE_int64, &label, detail, sizeof(detail));

		if (cause != CAUSE_none)
			contents_fault(sink, f, cause_name(cause), "%s: %s", cause_text(cause), detail);
	} else if (strcmp(f->extension, "json") == 0) {
		json_t *json = json_loadb(bytes, n, JSON_DECODE_ANY, &error);

		if (!json)
			contents_fault(sink, f, "not_json", "%s", error.text);
		json_decref(json);
	}
}

static int make_room(struct inspector *in, size_t n)
{
	uint8_t *grown;

	if (n <= in->room)
		return 0;
	grown = realloc(in->bytes, n);
	if (!grown)
		return fail(-ENOMEM);
	in->bytes = grown;
	in->room = n;
	return 0;
}

static int inspect_member(struct inspector *in, const struct index_member *m, struct verify_fault *f,
			  const struct fault_sink *sink)
{
	int64_t got;
	int r = make_room(in, m->size + 1); /* the scan has seen that the file is that long */

	if (r < 0)
		return pass(r);
	got = file_read_at(in->fd, in->bytes, m->size, m->payload_offset);
	if (got < 0)
		contents_fault(sink, f, cause_name(CAUSE_read_error), "%s", strerror((int)-got));
	else if ((uint64_t)got < m->size)
		contents_fault(sink, f, cause_name(CAUSE_read_error), "the shard was cut short meanwhile");
	else
		inspect_bytes(in, in->bytes, m->size, f, sink);
	return 0;
}

int inspect_sample(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		   uint64_t sample, const struct fault_sink *sink)
{
	const struct index_sample *s = &c->index.samples[sample];
	struct verify_fault f = {.shard = shard, .sample = sample};
	struct reason key;
	int r = inspector_open(in, path, shard);

	reason_set(&key, "%s", c->index.text + s->key);
	snprintf(f.key, sizeof(f.key), "%.*s", (int)sizeof(f.key) - 1, key.text);
	f.offset = c->index.members[s->first_member].header_offset;
	if (r < 0) {
		contents_fault(sink, &f, cause_name(CAUSE_read_error), "%s", strerror(-r));
		return 0;
	}
	if (s->flags & INDEX_REPEATED)
		contents_fault(sink, &f, cause_name(CAUSE_repeated_extension), "%s", cause_text(CAUSE_repeated_extension));
	for (uint32_t i = 0; i < s->n_members; i++) {
		const struct index_member *m = &c->index.members[s->first_member + i];

		f.offset = m->header_offset;
		snprintf(f.extension, sizeof(f.extension), "%.*s", EXTENSION_MAX - 1, c->index.text + m->extension);
		r = inspect_member(in, m, &f, sink);
		if (r < 0)
			return pass(r);
	}
	return 0;
}

int inspect_hash(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		 const struct fault_sink *sink)
{
	struct verify_fault f = {.shard = shard, .sample = VERIFY_SHARD};
	uint64_t at = 0;
	XXH64_state_t state;
	int64_t got = STRETCH;
	int r = make_room(in, STRETCH);

	if (r < 0)
		return pass(r);
	r = inspector_open(in, path, shard);
	XXH64_reset(&state, 0);
	while (r == 0 && got == STRETCH) {
		got = file_read_at(in->fd, in->bytes, STRETCH, at);
		if (got < 0)
			r = (int)got;
		else
			XXH64_update(&state, in->bytes, (size_t)got);
		at += got > 0 ? (uint64_t)got : 0;
	}
	if (r < 0)
		contents_fault(sink, &f, cause_name(CAUSE_read_error), "%s", strerror(-r));
	else if (at != c->n_bytes_stated)
		contents_fault(sink, &f, "other_size", "%llu bytes, where pack wrote %llu", (unsigned long long)at,
			  (unsigned long long)c->n_bytes_stated);
	else if (XXH64_digest(&state) != c->hash)
		contents_fault(sink, &f, "other_hash", "XXH64 %016llx, where pack wrote %016llx: bytes have changed since",
			  (unsigned long long)XXH64_digest(&state), (unsigned long long)c->hash);
	return 0;
}
