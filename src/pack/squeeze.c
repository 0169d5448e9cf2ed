/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Frames carry their content's checksum, and the table its lower half again, as zstd's seekable format has it. */
#include "pack/squeeze.h"

#include "base/fault.h"
#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { LEVEL = 3, N_HEADER = 8, N_ENTRY = 12, N_FOOTER = 9 };

#define MAGIC_SKIPPABLE 0x184d2a5eu
#define MAGIC_SEEKABLE 0x8f92eab1u

struct squeeze_entry {
	uint32_t n_packed, n_raw, checksum;
};

static_assert(sizeof(struct squeeze_entry) == N_ENTRY, "as it lies in the file");

int squeeze_init(struct squeeze *s)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();

	*s = (struct squeeze){.context = context};
	if (!context)
		return fail(-ENOMEM);
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	return 0;
}

void squeeze_deinit(struct squeeze *s)
{
	ZSTD_freeCCtx(s->context);
	free(s->raw);
	free(s->packed);
	free(s->frames);
	*s = (struct squeeze){0};
}

static int reserve(uint8_t **buffer, size_t *room, size_t n)
{
	uint8_t *grown;

	if (n <= *room)
		return 0;
	grown = realloc(*buffer, n);
	if (!grown)
		return fail(-ENOMEM);
	*buffer = grown;
	*room = n;
	return 0;
}

int squeeze_put(struct squeeze *s, const struct iovec *pieces, int n)
{
	for (int i = 0; i < n; i++) {
		size_t n_all = s->n_raw + pieces[i].iov_len;
		int r = reserve(&s->raw, &s->raw_room, n_all > SQUEEZE_MOST ? n_all : SQUEEZE_MOST);

		if (r < 0)
			return pass(r);
		memcpy(s->raw + s->n_raw, pieces[i].iov_base, pieces[i].iov_len);
		s->n_raw = n_all;
	}
	return 0;
}

static int add_entry(struct squeeze *s, const struct squeeze_entry *entry)
{
	if (s->n_frames == s->frames_room) {
		size_t room = s->frames_room * 2 + 256;
		struct squeeze_entry *grown = reallocarray(s->frames, room, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		s->frames = grown;
		s->frames_room = room;
	}
	s->frames[s->n_frames++] = *entry;
	return 0;
}

int squeeze_end_frame(struct squeeze *s, struct iovec *ret)
{
	struct squeeze_entry entry = {.n_raw = (uint32_t)s->n_raw};
	size_t n;
	int r;

	*ret = (struct iovec){NULL, 0};
	if (s->n_raw == 0)
		return 0;
	r = reserve(&s->packed, &s->packed_room, ZSTD_compressBound(s->n_raw));
	if (r < 0)
		return pass(r);
	n = ZSTD_compress2(s->context, s->packed, s->packed_room, s->raw, s->n_raw);
	if (ZSTD_isError(n))
		return fail(-ENOMEM);
	entry.n_packed = (uint32_t)n;
	entry.checksum = (uint32_t)hash_bytes(s->raw, s->n_raw);
	s->n_raw = 0;
	*ret = (struct iovec){s->packed, n};
	return add_entry(s, &entry);
}

static void put_number(uint8_t *at, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(n >> 8 * i);
}

int squeeze_table(struct squeeze *s, struct iovec *ret)
{
	size_t n = N_HEADER + s->n_frames * N_ENTRY + N_FOOTER;
	int r = reserve(&s->packed, &s->packed_room, n);
	uint8_t *at = s->packed;

	if (r < 0)
		return pass(r);
	put_number(at, MAGIC_SKIPPABLE);
	put_number(at + 4, (uint32_t)(n - N_HEADER));
	at += N_HEADER;
	for (size_t i = 0; i < s->n_frames; i++, at += N_ENTRY) {
		put_number(at, s->frames[i].n_packed);
		put_number(at + 4, s->frames[i].n_raw);
		put_number(at + 8, s->frames[i].checksum);
	}
	put_number(at, (uint32_t)s->n_frames);
	at[4] = 0x80; /* with checksums */
	put_number(at + 5, MAGIC_SEEKABLE);
	*ret = (struct iovec){s->packed, n};
	return 0;
}

int squeeze_frames(const struct squeeze *s, struct shard_frame **ret, uint64_t *ret_n)
{
	struct shard_frame *frames = calloc(s->n_frames + 1, sizeof(*frames));
	uint64_t at = 0, raw_at = 0;

	if (!frames)
		return fail(-ENOMEM);
	for (size_t i = 0; i < s->n_frames; i++) {
		const struct squeeze_entry *e = &s->frames[i];

		frames[i] = (struct shard_frame){.offset = at, .n_bytes = e->n_packed, .raw_offset = raw_at,
						 .n_raw = e->n_raw, .checksum = e->checksum, .has_checksum = 1};
		at += e->n_packed;
		raw_at += e->n_raw;
	}
	*ret = frames;
	*ret_n = s->n_frames;
	return 0;
}

unsigned squeeze_version(void)
{
	return ZSTD_versionNumber();
}
