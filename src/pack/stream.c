/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What lies in front of the place that was asked for is dropped when room is needed. */
#include "pack/stream.h"

#include "base/fault.h"
#include "base/file.h"
#include "pack/catalog.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PACKED = 1 << 18, STEP = 1 << 18 };

int stream_init(struct stream *s, int fd, enum packing packing)
{
	struct stat st;
	int r;

	*s = (struct stream){.fd = fd, .packed = malloc(PACKED)};
	if (!s->packed || fstat(fd, &st) < 0)
		r = fail(s->packed ? -errno : -ENOMEM);
	else
		r = unpack_new("the file", packing, (uint64_t)st.st_size, &s->unpack);
	if (r < 0)
		stream_deinit(s);
	return r < 0 ? pass(r) : 0;
}

void stream_deinit(struct stream *s)
{
	s->unpack = unpack_free(s->unpack);
	free(s->packed);
	free(s->bytes);
	*s = (struct stream){.fd = -1};
}

/* 0, PACK_E_REFUSED, or -errno. */
static int refill(struct stream *s, struct reason *why)
{
	int64_t got = file_read_at(s->fd, s->packed, PACKED, s->file_at);

	if (got < 0) {
		reason_set(why, "reading at offset %llu failed: %s", (unsigned long long)s->file_at, strerror((int)-got));
		return PACK_E_REFUSED;
	}
	s->is_file_over = got == 0;
	s->file_at += (uint64_t)got;
	s->n_packed = (size_t)got;
	s->packed_at = 0;
	return 0;
}

/* Inflates a little more; *ret_is_end: all is out. */
static int step(struct stream *s, bool *ret_is_end, struct reason *why)
{
	struct unpack_io io;
	int r = 0;

	if (s->packed_at == s->n_packed && !s->has_more)
		r = refill(s, why);
	if (r == 0 && s->is_file_over) {
		*ret_is_end = true;
		return unpack_end(s->unpack, why) ? PACK_E_REFUSED : 0;
	}
	if (r != 0)
		return r;
	io = (struct unpack_io){.in = s->packed + s->packed_at, .n_in = s->n_packed - s->packed_at,
				.out = s->bytes + s->n_bytes, .n_out = s->room - s->n_bytes};
	r = unpack_run(s->unpack, &io, why);
	s->packed_at = s->n_packed - io.n_in;
	s->n_bytes = s->room - io.n_out;
	s->has_more = io.n_out == 0;
	return r == UNPACK_E_REFUSED ? PACK_E_REFUSED : r;
}

static int make_room(struct stream *s, size_t n)
{
	uint8_t *grown;

	if (n <= s->room)
		return 0;
	grown = realloc(s->bytes, n);
	if (!grown)
		return fail(-ENOMEM);
	s->bytes = grown;
	s->room = n;
	return 0;
}

/* Drops what lies in front of the offset. */
static void drop(struct stream *s, uint64_t offset)
{
	size_t n = offset - s->base < s->n_bytes ? (size_t)(offset - s->base) : s->n_bytes;

	if (n == 0)
		return;
	memmove(s->bytes, s->bytes + n, s->n_bytes - n);
	s->n_bytes -= n;
	s->base += n;
}

int stream_view(struct stream *s, uint64_t offset, size_t n, const uint8_t **ret_bytes, size_t *ret_n,
		struct reason *why)
{
	bool is_end = false;
	int r = 0;

	assert(offset >= s->base);
	while (!is_end && offset + n > s->base + s->n_bytes) {
		drop(s, offset);
		/* grows with what has come, not with what a header claims */
		r = make_room(s, s->n_bytes + STEP);
		if (r == 0)
			r = step(s, &is_end, why);
		if (r != 0)
			return r < 0 ? pass(r) : r;
	}
	*ret_n = offset < s->base + s->n_bytes ? (size_t)(s->base + s->n_bytes - offset) : 0;
	*ret_n = *ret_n < n ? *ret_n : n;
	*ret_bytes = *ret_n ? s->bytes + (offset - s->base) : (const uint8_t *)"";
	return 0;
}
