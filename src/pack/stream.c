/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What lies in front of the place that was asked for is dropped when room is needed. */
#include "pack/stream.h"

#include "base/fault.h"
#include "pack/catalog.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { PACKED = 1 << 18, STEP = 1 << 18 };

bool stream_knows(const uint8_t *bytes, size_t n)
{
	return n >= 4 && memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0;
}

int stream_init(struct stream *s, int fd)
{
	*s = (struct stream){.fd = fd, .context = ZSTD_createDCtx(), .packed = malloc(PACKED)};
	if (s->context && s->packed)
		return 0;
	stream_deinit(s);
	return fail(-ENOMEM);
}

void stream_deinit(struct stream *s)
{
	ZSTD_freeDCtx(s->context);
	free(s->packed);
	free(s->bytes);
	*s = (struct stream){.fd = -1};
}

/* 0, PACK_E_REFUSED, or -errno; *ret_is_end: the file is over. */
static int refill(struct stream *s, bool *ret_is_end, struct reason *why)
{
	ssize_t got;

	do
		got = pread(s->fd, s->packed, PACKED, (off_t)s->file_at);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		reason_set(why, "reading at offset %llu failed: %s", (unsigned long long)s->file_at, strerror(errno));
		return PACK_E_REFUSED;
	}
	*ret_is_end = got == 0;
	if (got == 0 && s->is_frame_open) {
		reason_set(why, "cut short: the file ends inside a zstd frame");
		return PACK_E_REFUSED;
	}
	s->file_at += (uint64_t)got;
	s->n_packed = (size_t)got;
	s->packed_at = 0;
	return 0;
}

/* Decompresses a little more. */
static int step(struct stream *s, bool *ret_is_end, struct reason *why)
{
	ZSTD_inBuffer in = {s->packed, s->n_packed, s->packed_at};
	ZSTD_outBuffer out = {s->bytes, s->room, s->n_bytes};
	size_t left;

	if (in.pos == in.size && !s->is_frame_open) {
		int r = refill(s, ret_is_end, why);

		if (r != 0 || *ret_is_end)
			return r;
		in = (ZSTD_inBuffer){s->packed, s->n_packed, 0};
	}
	left = ZSTD_decompressStream(s->context, &out, &in);
	if (ZSTD_isError(left)) {
		reason_set(why, "damaged: zstd says '%s' before offset %llu of the file", ZSTD_getErrorName(left),
			   (unsigned long long)(s->file_at - s->n_packed + in.pos));
		return PACK_E_REFUSED;
	}
	s->is_frame_open = left != 0;
	s->packed_at = in.pos;
	if (in.pos == in.size && s->is_frame_open && out.pos < out.size) { /* it wants more to go on */
		s->n_bytes = out.pos;
		return refill(s, ret_is_end, why);
	}
	s->n_bytes = out.pos;
	return 0;
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
