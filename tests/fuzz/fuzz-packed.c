/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a compressed shard: the scan ends, and says the same whatever the sizes of its pieces; what it takes
 * has frames that inflate again, each to its own place and no byte beside it, and units that hold every field. Then
 * a bit is flipped behind the index's back: the units inflate to the same bytes, or are damaged. Memory that a frame's
 * window may ask for is bounded by the input: windows above 8 MiB are not tried here.
 */
#include "base/hash.h"
#include "fuzz.h"
#include "shard/inflate.h"
#include "shard/packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 32, RAW_MOST = 4 << 20 };

static const struct pipeline pipeline = {.n_fields = 2, .fields = {
	{.extensions = {"jpg", "png"}, .n_extensions = 2}, {.extensions = {"cls"}, .n_extensions = 1}}};

/* 0 with the index, or TAR_E_REFUSED, or -ENOMEM. */
static int scan(const uint8_t *bytes, size_t n, size_t piece, struct shard_index *ret, struct reason *why)
{
	const struct stat st = {.st_size = (off_t)n};
	struct index_builder *builder = NULL;
	struct packed_scan *s = NULL;
	int r = index_builder_new(&builder);

	if (r == 0)
		r = packed_scan_new("fuzz", packing_of(bytes, n), n, &s);
	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = packed_scan_feed(s, bytes + at, n - at < piece ? n - at : piece, index_builder_on_member, builder, why);
	if (r == 0)
		r = packed_scan_end(s, index_builder_on_member, builder, builder, why);
	CHECK(r == 0 || starve_explains(r) || (r == TAR_E_REFUSED && strstr(why->text, "offset ")));
	if (r == 0)
		r = index_builder_finish(builder, &st, ret);
	CHECK(r >= 0 || starve_explains(r));
	index_builder_free(builder);
	packed_scan_free(s);
	return r;
}

/* The hash of what comes out, or 0 where it is damaged. */
static uint64_t inflate_unit(struct inflate *x, const struct samples *s, const struct sample_unit *u, const uint8_t *bytes,
			     size_t piece)
{
	uint8_t *into = starve_own(u->n_raw + 2 * GUARD);
	struct reason why = {""};
	uint64_t hash = 0;
	int r = 0;

	memset(into, 0xa5, u->n_raw + 2 * GUARD);
	inflate_begin(x, s->shards[0].packing, u, &s->frames[u->first_frame], into + GUARD);
	for (uint64_t at = 0; r == 0 && at < u->n_bytes; at += piece)
		r = inflate_feed(x, bytes + u->offset + at, u->n_bytes - at < piece ? u->n_bytes - at : piece, &why);
	if (r == 0)
		r = inflate_end(x, &why);
	for (int i = 0; i < GUARD; i++)
		CHECK(into[i] == 0xa5 && into[GUARD + u->n_raw + (uint64_t)i] == 0xa5);
	CHECK(r == 0 || strstr(why.text, "offset "));
	if (r == 0)
		hash = hash_bytes(into + GUARD, u->n_raw);
	free(into);
	return hash;
}

static void check_units(const struct shard_index *index, uint8_t *bytes, size_t n)
{
	const struct stat st = {.st_size = (off_t)n};
	struct inflate *x = NULL;
	struct samples s;
	struct reason why;
	int r = samples_init(&s, &pipeline, 1);

	if (r == 0)
		r = samples_add(&s, &pipeline, 0, "fuzz", &st, index, &why);
	if (r == 0)
		samples_finish(&s);
	if (r == 0)
		r = inflate_new(&x);
	CHECK(r == 0 || starve_explains(r));
	if (r < 0) {
		samples_deinit(&s);
		return;
	}
	starve_pause(); /* from here on nothing of ringfeed's allocates; libzstd and zlib have tests of their own */
	for (uint64_t i = 0; i < s.n_samples * s.n_fields; i++) {
		uint64_t start = (uint64_t)s.places[i].header_block * 512, end = start + s.shards[0].header_bytes + s.places[i].size;
		uint32_t unit;

		if (s.places[i].header_block >= SAMPLE_REPEATED)
			continue;
		end = end > index->raw_size ? index->raw_size : end;
		unit = samples_unit(&s, 0, start, end);
		CHECK(unit < s.n_units && s.units[unit].raw_offset <= start);
		CHECK(s.units[unit].raw_offset + s.units[unit].n_raw >= end);
	}
	for (uint64_t i = 0; i < s.n_units && s.largest_unit <= RAW_MOST; i++) {
		const struct sample_unit *u = &s.units[i];
		uint64_t hash = inflate_unit(x, &s, u, bytes, 1 << 16), at = u->offset + hash % u->n_bytes;

		CHECK(hash != 0 && inflate_unit(x, &s, u, bytes, 777) == hash);
		bytes[at] ^= 1 << hash % 8;
		inflate_unit(x, &s, u, bytes, 1 << 16);
		bytes[at] ^= 1 << hash % 8;
		CHECK(inflate_unit(x, &s, u, bytes, 1 << 16) == hash);
	}
	starve_resume();
	inflate_free(x);
	samples_deinit(&s);
}

/* A zstd frame may ask for 128 MiB before its first byte; not worth a fuzzer's memory. */
static bool has_large_window(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i + 13 <= n; i++) {
		const bool is_single = bytes[i + 4] & 0x20; /* then the window is the frame's size, of 1, 2, 4 or 8 bytes */

		if (memcmp(bytes + i, "\x28\xb5\x2f\xfd", 4) != 0)
			continue;
		if (is_single ? bytes[i + 4] >> 6 == 3 || (bytes[i + 4] >> 6 == 2 && (bytes[i + 7] > 0x80 || bytes[i + 8]))
			      : bytes[i + 5] >> 3 > 13)
			return true;
	}
	return false;
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	static const size_t pieces[] = {61, 5000};
	struct shard_index first = {0}, other = {0};
	struct reason why[2] = {{""}, {""}};
	uint8_t *copy;
	int r, r_other;

	if (packing_of(bytes, n) == PACKING_NONE || has_large_window(bytes, n))
		return;
	starve_pause();
	r = scan(bytes, n, n, &first, &why[0]);
	starve_resume();
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		r_other = scan(bytes, n, pieces[i], &other, &why[1]);
		CHECK(r_other == r || starve_explains(r_other));
		CHECK(r_other != 0 || (other.raw_size == first.raw_size && other.n_frames == first.n_frames &&
				       other.places_hash == first.places_hash));
		shard_index_deinit(&other);
	}
	copy = starve_own_copy(bytes, n);
	if (r == 0)
		check_units(&first, copy, n);
	free(copy);
	shard_index_deinit(&first);
}
