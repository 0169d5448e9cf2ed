/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Raw bytes stand in one buffer until the tar scan has seen what it wants of them; less than a block stays. */
#include "shard/packed.h"

#include "base/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 18, BLOCK = 512 };

struct packed_scan {
	enum packing packing;
	struct unpack *unpack;
	struct tar_scan *tar;
	uint8_t *raw;
	uint64_t raw_at; /* of its first byte */
	size_t n_raw;
	bool is_done; /* the tar has ended; the rest is inflated to be checked */
};

int packed_scan_new(const char *path, enum packing packing, uint64_t file_size, struct packed_scan **ret)
{
	struct packed_scan *s = calloc(1, sizeof(*s));
	char *name = NULL; /* offsets of the tar inside are not the file's */
	int r;

	if (!s)
		return fail(-ENOMEM);
	s->packing = packing;
	s->raw = malloc(ROOM);
	r = s->raw && asprintf(&name, "%s, inflated", path) >= 0 ? 0 : fail(-ENOMEM);
	if (r == 0)
		r = unpack_new(path, packing, file_size, &s->unpack);
	if (r == 0)
		r = tar_scan_new(name, TAR_SIZE_UNKNOWN, &s->tar);
	free(name);
	if (r < 0) {
		packed_scan_free(s);
		return pass(r);
	}
	*ret = s;
	return 0;
}

struct packed_scan *packed_scan_free(struct packed_scan *s)
{
	if (s) {
		unpack_free(s->unpack);
		tar_scan_free(s->tar);
		free(s->raw);
		free(s);
	}
	return NULL;
}

/* Drops what lies in front of that place. */
static void drop(struct packed_scan *s, uint64_t until)
{
	size_t n = until - s->raw_at < s->n_raw ? (size_t)(until - s->raw_at) : s->n_raw;

	memmove(s->raw, s->raw + n, s->n_raw - n);
	s->n_raw -= n;
	s->raw_at += n;
}

struct taker {
	int (*on_member)(void *context, const struct tar_member *m);
	void *context;
};

static int scan_raw(struct packed_scan *s, const struct taker *t, struct reason *why)
{
	uint64_t at;
	size_t n;
	int r = 0;

	while (r == 0 && !s->is_done) {
		tar_scan_want(s->tar, &at, &n);
		if (at + BLOCK > s->raw_at + s->n_raw)
			break;
		r = tar_scan_feed(s->tar, s->raw + (at - s->raw_at), s->n_raw - (size_t)(at - s->raw_at), t->on_member,
				  t->context, why);
		s->is_done = r == TAR_E_DONE;
	}
	tar_scan_want(s->tar, &at, &n);
	drop(s, s->is_done ? UINT64_MAX : at);
	return r == TAR_E_DONE ? 0 : r;
}

int packed_scan_feed(struct packed_scan *s, const void *bytes, size_t n_bytes,
		     int (*on_member)(void *context, const struct tar_member *m), void *context, struct reason *why)
{
	const struct taker t = {.on_member = on_member, .context = context};
	struct unpack_io io = {.in = bytes, .n_in = n_bytes};
	int r;

	do {
		io.out = s->raw + s->n_raw;
		io.n_out = ROOM - s->n_raw;
		r = unpack_run(s->unpack, &io, why);
		s->n_raw = (size_t)(io.out - s->raw);
		if (r == UNPACK_E_REFUSED)
			return TAR_E_REFUSED;
		if (r == 0)
			r = scan_raw(s, &t, why);
	} while (r == 0 && (io.n_in > 0 || io.n_out == 0));
	return r;
}

int packed_scan_end(struct packed_scan *s, int (*on_member)(void *context, const struct tar_member *m),
		    void *context, struct index_builder *builder, struct reason *why)
{
	uint64_t raw_size = unpack_raw_size(s->unpack), n_frames;
	struct shard_frame *frames;
	int r = unpack_end(s->unpack, why);

	if (r != 0)
		return TAR_E_REFUSED;
	tar_scan_set_size(s->tar, raw_size);
	while (r == 0 && !s->is_done) {
		uint64_t at;
		size_t n;

		tar_scan_want(s->tar, &at, &n);
		drop(s, at);
		r = tar_scan_feed(s->tar, s->raw, s->n_raw, on_member, context, why);
		s->is_done = r == TAR_E_DONE;
	}
	if (r != 0 && r != TAR_E_DONE)
		return r;
	unpack_take_frames(s->unpack, &frames, &n_frames);
	index_builder_take_scan(builder, s->tar);
	index_builder_take_frames(builder, s->packing, frames, n_frames, raw_size);
	return 0;
}
