/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a saved index: refused, or an index whose every offset and string is good. Bytes that
 * begin with "RFINDEX" get right hashes, so that what lies behind the hashes is reached too; others are
 * taken for the name of a member, which is split.
 */
#include "base/hash.h"
#include "fuzz.h"
#include "shard/index.h"
#include "shard/tar.h"

#include <stdlib.h>

enum { AT_FILE = 16, AT_SAMPLES = 32, AT_MEMBERS = 40, AT_TEXT = 48, AT_PLACES = 56, AT_PACKING = 92, AT_CONTENT = 96,
       AT_RAW = 104, AT_FRAMES = 112, AT_HASH = 120, N_HEADER = 128 };

static uint64_t get(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static void put(uint8_t *at, uint64_t n)
{
	memcpy(at, &n, sizeof(n));
}

/* What a hostile writer would do: the text's length and all hashes as they must be. */
static void fix_hashes(uint8_t *bytes, size_t n)
{
	uint64_t n_samples = get(bytes + AT_SAMPLES) & 15, n_members = get(bytes + AT_MEMBERS) & 31;
	uint64_t at = N_HEADER + n_samples * 24, places[64], n_places = 0, n_frames = get(bytes + AT_FRAMES) & 7;

	if (at + n_members * 32 + n_frames * 40 > n)
		return;
	bytes[AT_PACKING] = n_frames ? 1 + bytes[AT_PACKING] % 2 : 0;
	memset(bytes + AT_PACKING + 1, 0, 3);
	if (n_frames == 0)
		put(bytes + AT_RAW, get(bytes + AT_FILE));
	put(bytes + AT_FRAMES, n_frames);
	put(bytes + AT_SAMPLES, n_samples);
	put(bytes + AT_MEMBERS, n_members);
	put(bytes + AT_TEXT, n - at - n_members * 32 - n_frames * 40);
	for (; n_places < 2 * n_members; n_places += 2, at += 32) {
		places[n_places] = get(bytes + at + 8);
		places[n_places + 1] = get(bytes + at + 16);
	}
	put(bytes + AT_PLACES, hash_bytes(places, n_places * 8));
	put(bytes + AT_CONTENT, hash_bytes(bytes + N_HEADER, n - N_HEADER));
	put(bytes + AT_HASH, hash_bytes(bytes, AT_HASH));
}

static void walk(const struct shard_index *x)
{
	uint64_t n_members = 0, end = 0;

	for (uint64_t i = 0; i < x->n_samples; i++) {
		CHECK(x->samples[i].key + strlen(x->text + x->samples[i].key) < x->n_text);
		CHECK(x->samples[i].first_member == n_members);
		n_members += x->samples[i].n_members;
	}
	CHECK(n_members == x->n_members);
	for (uint64_t i = 0; i < n_members; i++) {
		const struct index_member *m = &x->members[i];

		CHECK(m->extension + strlen(x->text + m->extension) < x->n_text && m->sample < x->n_samples);
		CHECK(m->header_offset >= end && m->payload_offset > m->header_offset);
		CHECK(m->payload_offset <= x->raw_size && m->size <= x->raw_size - m->payload_offset);
		end = m->payload_offset + m->size;
	}
	CHECK((x->packing == PACKING_NONE) == (x->n_frames == 0));
	CHECK(x->packing != PACKING_NONE || x->raw_size == x->file_size);
	end = 0;
	for (uint64_t i = 0; i < x->n_frames; end += x->frames[i++].n_raw) {
		CHECK(x->frames[i].raw_offset == end && x->frames[i].n_raw > 0 && x->frames[i].n_bytes > 0);
		CHECK(x->frames[i].offset + x->frames[i].n_bytes <= x->file_size);
	}
	CHECK(x->packing == PACKING_NONE || end == x->raw_size);
}

static void split(const uint8_t *bytes, size_t n)
{
	char extension[TAR_NAME_MAX], small[4], *name = starve_own(n + 1);
	size_t n_key = 0;

	if (n)
		memcpy(name, bytes, n);
	name[n] = '\0';
	if (tar_split_name(name, &n_key, extension, sizeof(extension))) {
		CHECK(n_key > 0 && name[n_key] == '.' && !strchr(extension, '/'));
		CHECK(strlen(name) >= TAR_NAME_MAX || n_key + 1 + strlen(extension) == strlen(name));
		CHECK(tar_split_name(name, &n_key, small, sizeof(small)) && strlen(small) < sizeof(small));
	}
	free(name);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	struct shard_index x;
	uint8_t *fixed;
	int r;

	if (n < N_HEADER || memcmp(bytes, "RFINDEX", 8) != 0) {
		split(bytes, n);
		CHECK(shard_index_decode(bytes, n, NULL, &x) == INDEX_E_STALE);
		return;
	}
	fixed = starve_own_copy(bytes, n);
	fix_hashes(fixed, n);
	r = shard_index_decode(fixed, n, NULL, &x);
	CHECK(r == 0 || r == INDEX_E_STALE || starve_explains(r));
	if (r == 0) {
		walk(&x);
		shard_index_deinit(&x);
	}
	free(fixed);
}
