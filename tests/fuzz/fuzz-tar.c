/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a shard: the scan ends, whatever the sizes of its pieces, and says the same; members lie
 * within the file and read back as scanned; what was built survives saving and loading. To spend the
 * input on meanings, not on sums, checksums of blocks that look like headers are set right first. A shard that is
 * good is not refused for want of memory.
 */
#include "fuzz.h"
#include "shard/index.h"
#include "shard/samples.h"
#include "shard/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	const uint8_t *bytes;
	uint64_t n, end;
	struct index_builder *builder;
};

static void fix_sums(uint8_t *bytes, size_t n)
{
	for (size_t at = 0; at + 512 <= n; at += 512) {
		uint8_t *block = bytes + at;
		unsigned sum = 8 * ' ';

		if (memcmp(block + 257, "ustar", 5) != 0 || block[148] == 'x')
			continue;
		for (int i = 0; i < 512; i++)
			sum += i >= 148 && i < 156 ? 0 : block[i];
		snprintf((char *)block + 148, 8, "%06o", sum);
		block[155] = ' ';
	}
}

static int on_member(void *context, const struct tar_member *m)
{
	static struct tar_header header;
	struct run *run = context;
	struct reason why;
	uint64_t n_header = m->payload_offset - m->header_offset;

	CHECK(m->header_offset >= run->end && m->payload_offset > m->header_offset);
	CHECK(m->payload_offset <= run->n && m->size <= run->n - m->payload_offset);
	CHECK(m->header_offset % 512 == 0 && m->payload_offset % 512 == 0);
	run->end = m->payload_offset + m->size;
	CHECK(tar_header_read(run->bytes + m->header_offset, n_header, &header, &why) == 0);
	CHECK(header.payload_at == n_header && header.size == m->size && strcmp(header.name, m->name) == 0);
	return index_builder_add(run->builder, m);
}

/* 0 with the index, or TAR_E_REFUSED, or -ENOMEM. */
static int scan(const uint8_t *bytes, size_t n, size_t piece, struct shard_index *ret, struct reason *why)
{
	struct run run = {.bytes = bytes, .n = n};
	struct stat st = {.st_size = (off_t)n};
	struct tar_scan *s = NULL;
	uint64_t offset, turns = 0;
	size_t wanted;
	int r = index_builder_new(&run.builder);

	if (r == 0)
		r = tar_scan_new("fuzz.tar", n, &s);
	while (r == 0) {
		tar_scan_want(s, &offset, &wanted);
		CHECK(offset % 512 == 0 && wanted <= TAR_WANT_MAX && offset <= n && wanted <= n - offset);
		CHECK(turns++ <= n / 512 + 2);
		r = tar_scan_feed(s, bytes + offset, wanted > piece ? piece : wanted, on_member, &run, why);
	}
	if (r == TAR_E_DONE) {
		index_builder_take_scan(run.builder, s);
		r = index_builder_finish(run.builder, &st, ret);
		CHECK(r == 0 || starve_explains(r));
	} else {
		CHECK(starve_explains(r) || (r == TAR_E_REFUSED && strstr(why->text, "offset ")));
	}
	index_builder_free(run.builder);
	tar_scan_free(s);
	return r;
}

static void tabulate(const struct shard_index *index)
{
	static const struct pipeline p = {.n_fields = 2, .fields = {
		{.extensions = {"jpg", "png"}, .n_extensions = 2}, {.extensions = {"cls"}, .n_extensions = 1}}};
	const struct stat st = {.st_size = (off_t)index->file_size};
	struct samples s;
	struct reason why;
	int r = samples_init(&s, &p, 1);

	if (r == 0)
		r = samples_add(&s, &p, 0, "fuzz.tar", &st, index, &why);
	CHECK(r == 0 || starve_explains(r));
	if (r == 0) {
		samples_finish(&s);
		CHECK(s.n_samples == index->n_samples && strlen(s.fingerprint) == 32);
	}
	samples_deinit(&s);
}

/* Both say the same, saved as well as in memory, and what was saved is loaded again. */
static void compare(const struct shard_index *first, struct shard_index *other, bool is_good)
{
	const size_t n = shard_index_encoded_bytes(other);
	char *encoded = starve_own(n * 2);
	int r;

	CHECK(n == shard_index_encoded_bytes(first));
	shard_index_encode(first, encoded);
	shard_index_encode(other, encoded + n);
	CHECK(memcmp(encoded, encoded + n, n) == 0);
	shard_index_deinit(other);
	r = is_good ? shard_index_decode(encoded, n, NULL, other) : 0;
	CHECK(r == 0 || starve_explains(r));
	shard_index_deinit(other);
	free(encoded);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	static const size_t pieces[] = {512, 1500, 1 << 20};
	uint8_t *fixed = starve_own_copy(bytes, n);
	struct shard_index first = {0}, other = {0};
	struct reason why[2] = {{""}, {""}};
	int r, r_other;

	fix_sums(fixed, n);
	starve_pause();
	r = scan(fixed, n, 4096, &first, &why[0]);
	starve_resume();
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		r_other = scan(fixed, n, pieces[i], &other, &why[1]);
		if (starve_explains(r_other))
			continue;
		CHECK(r_other == r && strcmp(why[0].text, why[1].text) == 0);
		compare(&first, &other, r == 0);
	}
	if (r == 0)
		tabulate(&first);
	shard_index_deinit(&first);
	free(fixed);
}
