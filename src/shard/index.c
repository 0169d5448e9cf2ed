/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The saved index, byte by byte as in proto/index.md. A file that anybody may have written: sizes
 * are compared with the file's own length before anything is allocated, the checksum is checked, and
 * then every offset and number, since a checksum is no proof of good will.
 */
#include "shard/index.h"

#include "base/fault.h"
#include "base/hash.h"
#include "shard/saved.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the saved form is the memory's");
_Static_assert(sizeof(struct index_sample) == 24, "part of the saved form");
_Static_assert(sizeof(struct index_member) == 32, "part of the saved form");
_Static_assert(sizeof(struct shard_frame) == 40, "part of the saved form");
_Static_assert(sizeof(struct saved_header) == 128, "part of the saved form");

static const char magic[8] = "RFINDEX";

uint64_t saved_mtime_ns(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
}

uint64_t index_places_hash(const struct index_member *members, uint64_t n_members)
{
	enum { N = 64 };
	uint64_t places[2 * N];
	XXH64_state_t hash;

	XXH64_reset(&hash, 0);
	for (uint64_t i = 0; i < n_members;) {
		size_t n = 0;

		for (; n < N && i < n_members; n++, i++) {
			places[2 * n] = members[i].payload_offset;
			places[2 * n + 1] = members[i].size;
		}
		XXH64_update(&hash, places, n * 16);
	}
	return XXH64_digest(&hash);
}

bool saved_header_is_good(const struct saved_header *h, uint64_t n_bytes, const struct stat *st)
{
	uint64_t rest;

	if (n_bytes < sizeof(*h) || memcmp(h->magic, magic, sizeof(magic)) != 0 ||
	    h->version != SAVED_VERSION || h->n_header_bytes != sizeof(*h) ||
	    h->header_hash != hash_bytes(h, offsetof(struct saved_header, header_hash)))
		return false;
	if (st && (h->file_size != (uint64_t)st->st_size || h->mtime_ns != saved_mtime_ns(st)))
		return false;
	rest = n_bytes - sizeof(*h);
	if (h->n_samples > rest / sizeof(struct index_sample))
		return false;
	rest -= h->n_samples * sizeof(struct index_sample);
	if (h->n_members > rest / sizeof(struct index_member) || h->n_members > UINT32_MAX)
		return false;
	rest -= h->n_members * sizeof(struct index_member);
	if (h->n_frames > rest / sizeof(struct shard_frame) || h->packing > PACKING_GZIP ||
	    (h->packing == PACKING_NONE) != (h->n_frames == 0))
		return false;
	rest -= h->n_frames * sizeof(struct shard_frame);
	if (h->packing == PACKING_NONE && h->raw_size != h->file_size)
		return false;
	return h->n_text == rest && h->trailing_offset <= h->raw_size &&
	       h->trailing_bytes == h->raw_size - h->trailing_offset && h->flags <= 1;
}

size_t shard_index_encoded_bytes(const struct shard_index *x)
{
	return sizeof(struct saved_header) + x->n_samples * sizeof(*x->samples) +
	       x->n_members * sizeof(*x->members) + x->n_frames * sizeof(*x->frames) + x->n_text;
}

static char *append(char *at, const void *bytes, size_t n)
{
	if (n)
		memcpy(at, bytes, n);
	return at + n;
}

void shard_index_encode(const struct shard_index *x, void *ret)
{
	struct saved_header h = {
		.version = SAVED_VERSION, .n_header_bytes = sizeof(h),
		.file_size = x->file_size, .mtime_ns = x->mtime_ns,
		.n_samples = x->n_samples, .n_members = x->n_members, .n_text = x->n_text,
		.places_hash = x->places_hash,
		.trailing_offset = x->raw_size - x->trailing_bytes,
		.trailing_bytes = x->trailing_bytes,
		.n_skipped = x->n_skipped,
		.flags = x->is_unterminated,
		.packing = x->packing, .raw_size = x->raw_size, .n_frames = x->n_frames,
	};
	char *content = (char *)ret + sizeof(h), *at = content;

	at = append(at, x->samples, x->n_samples * sizeof(*x->samples));
	at = append(at, x->members, x->n_members * sizeof(*x->members));
	at = append(at, x->frames, x->n_frames * sizeof(*x->frames));
	at = append(at, x->text, x->n_text);
	memcpy(h.magic, magic, sizeof(magic));
	h.content_hash = hash_bytes(content, (size_t)(at - content));
	h.header_hash = hash_bytes(&h, offsetof(struct saved_header, header_hash));
	memcpy(ret, &h, sizeof(h));
}

/* Samples in turn own all members, keys and extensions lie in the text. */
static bool are_samples_good(const struct shard_index *x)
{
	uint64_t n_members = 0;

	for (uint64_t i = 0; i < x->n_samples; i++) {
		const struct index_sample *s = &x->samples[i];

		if (s->key >= x->n_text || s->first_member != n_members || s->n_members == 0 ||
		    s->n_members > x->n_members - n_members || s->flags > INDEX_REPEATED ||
		    s->reserved != 0)
			return false;
		for (uint32_t k = 0; k < s->n_members; k++) {
			if (x->members[n_members + k].sample != i)
				return false;
		}
		n_members += s->n_members;
	}
	return n_members == x->n_members;
}

/* Members lie in the file one behind the other, on blocks. */
static bool are_members_good(const struct shard_index *x)
{
	uint64_t end = 0;

	for (uint64_t i = 0; i < x->n_members; i++) {
		const struct index_member *m = &x->members[i];

		if (m->header_offset % 512 || m->payload_offset % 512 || m->header_offset < end ||
		    m->payload_offset <= m->header_offset || m->payload_offset > x->raw_size ||
		    m->size > x->raw_size - m->payload_offset || m->extension >= x->n_text)
			return false;
		end = m->payload_offset + m->size;
	}
	return index_places_hash(x->members, x->n_members) == x->places_hash;
}

/* Frames lie in the file one behind the other, and give the whole shard without a gap. */
static bool are_frames_good(const struct shard_index *x)
{
	uint64_t end = 0, raw_end = 0;

	for (uint64_t i = 0; i < x->n_frames; i++) {
		const struct shard_frame *f = &x->frames[i];

		if (f->offset < end || f->offset > x->file_size || f->n_bytes == 0 ||
		    f->n_bytes > x->file_size - f->offset || f->raw_offset != raw_end ||
		    f->n_raw == 0 || f->n_raw > x->raw_size - raw_end || f->has_checksum > 1 ||
		    (!f->has_checksum && f->checksum != 0))
			return false;
		end = f->offset + f->n_bytes;
		raw_end += f->n_raw;
	}
	return x->packing == PACKING_NONE || raw_end == x->raw_size;
}

/* A copy of n bytes that is not NULL for n = 0 either. */
static void *copy(const void *bytes, size_t n)
{
	void *c = malloc(n + 1);

	if (c && n)
		memcpy(c, bytes, n);
	return c;
}

int shard_index_decode(const void *bytes, size_t n_bytes, const struct stat *st,
		       struct shard_index *ret)
{
	struct shard_index x = {0};
	struct saved_header h;
	const char *at = (const char *)bytes + sizeof(h);

	if (n_bytes < sizeof(h))
		return INDEX_E_STALE;
	memcpy(&h, bytes, sizeof(h));
	if (!saved_header_is_good(&h, n_bytes, st) ||
	    h.content_hash != hash_bytes(at, n_bytes - sizeof(h)))
		return INDEX_E_STALE;
	x = (struct shard_index){
		.n_samples = h.n_samples, .n_members = h.n_members, .n_text = h.n_text,
		.places_hash = h.places_hash, .file_size = h.file_size, .mtime_ns = h.mtime_ns,
		.trailing_offset = h.trailing_offset, .trailing_bytes = h.trailing_bytes,
		.n_skipped = h.n_skipped, .is_unterminated = h.flags,
		.packing = (enum packing)h.packing, .raw_size = h.raw_size, .n_frames = h.n_frames,
	};
	x.samples = copy(at, h.n_samples * sizeof(*x.samples));
	at += h.n_samples * sizeof(*x.samples);
	x.members = copy(at, h.n_members * sizeof(*x.members));
	at += h.n_members * sizeof(*x.members);
	if (h.n_frames)
		x.frames = copy(at, h.n_frames * sizeof(*x.frames));
	at += h.n_frames * sizeof(*x.frames);
	x.text = copy(at, h.n_text);
	if (!x.samples || !x.members || !x.text || (h.n_frames && !x.frames)) {
		shard_index_deinit(&x);
		return fail(-ENOMEM);
	}
	if ((h.n_text && x.text[h.n_text - 1] != '\0') || !are_samples_good(&x) ||
	    !are_members_good(&x) || !are_frames_good(&x)) {
		shard_index_deinit(&x);
		return INDEX_E_STALE;
	}
	*ret = x;
	return 0;
}
