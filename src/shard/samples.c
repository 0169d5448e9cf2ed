/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The table grows by halves while shards are added and is cut to size at the end. */
#include "shard/samples.h"

#include "base/fault.h"
#include "base/hash.h"
#include "shard/saved.h"
#include "shard/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

/* The last two u32s are SAMPLE_REPEATED and SAMPLE_MISSING. */
static const uint64_t shard_size_max = (uint64_t)SAMPLE_REPEATED * BLOCK;
static const uint64_t member_size_max = UINT32_MAX - 1;

int samples_init(struct samples *s, const struct pipeline *p, size_t n_shards)
{
	*s = (struct samples){.n_fields = p->n_fields};
	s->starts = calloc(n_shards + 1, sizeof(*s->starts));
	s->shards = calloc(n_shards + 1, sizeof(*s->shards));
	if (!s->starts || !s->shards) {
		samples_deinit(s);
		return fail(-ENOMEM);
	}
	s->n_shards_max = n_shards;
	return 0;
}

void samples_deinit(struct samples *s)
{
	for (size_t i = 0; i < s->n_shards; i++)
		free(s->shards[i].path);
	free(s->places);
	free(s->starts);
	free(s->shards);
	free(s->frames);
	free(s->units);
	*s = (struct samples){0};
}

static int reserve(struct samples *s, uint64_t n_more)
{
	size_t n_row = s->n_fields * sizeof(*s->places), n_bytes;
	struct sample_place *grown;
	uint64_t n_wanted;

	if (n_more <= s->n_allocated - s->n_samples || s->n_fields == 0)
		return 0;
	n_wanted = s->n_samples + s->n_samples / 2 + n_more;
	if (__builtin_mul_overflow(n_wanted, n_row, &n_bytes))
		return fail(-ENOMEM);
	grown = realloc(s->places, n_bytes);
	if (!grown)
		return fail(-ENOMEM);
	s->places = grown;
	s->n_allocated = n_wanted;
	return 0;
}

/* The field whose member is read for one that takes the key or the shard: the first that has members. */
static const struct field *stand_in(const struct pipeline *p)
{
	for (unsigned i = 0; i < p->n_fields; i++)
		if (p->fields[i].source == SOURCE_MEMBER)
			return &p->fields[i];
	return NULL;
}

/* The member that gives the field its bytes: by the field's first extension that the sample has. */
static const struct index_member *find_member(const struct shard_index *index,
					      const struct index_sample *sample,
					      const struct field *field)
{
	if (!field)
		return &index->members[sample->first_member];
	for (unsigned e = 0; e < field->n_extensions; e++) {
		for (uint32_t i = 0; i < sample->n_members; i++) {
			const struct index_member *m = &index->members[sample->first_member + i];

			if (strcmp(index->text + m->extension, field->extensions[e]) == 0)
				return m;
		}
	}
	return NULL;
}

static int refuse_member(const char *path, const struct shard_index *index,
			 const struct index_member *m, const struct index_sample *sample,
			 struct reason *why)
{
	reason_set(why,
		   "%.250s, offset %" PRIu64 ": %.100s.%.20s has %" PRIu64
		   " bytes; a field's member may have at most %" PRIu64 " (4 GiB)",
		   path, m->header_offset, index->text + sample->key, index->text + m->extension,
		   m->size, member_size_max);
	return INDEX_E_REFUSED;
}

/* The places of one sample's fields; the longest header goes to *header_bytes. */
static int place_sample(const struct samples *s, const struct pipeline *p, const char *path,
			const struct shard_index *index, const struct index_sample *sample,
			struct sample_place *ret, uint64_t *header_bytes, struct reason *why)
{
	for (unsigned f = 0; f < s->n_fields; f++) {
		const bool has_member = p->fields[f].source == SOURCE_MEMBER;
		const struct index_member *m;
		uint64_t n_header;

		if (sample->flags & INDEX_REPEATED) {
			ret[f] = (struct sample_place){SAMPLE_REPEATED, 0};
			continue;
		}
		m = find_member(index, sample, has_member ? &p->fields[f] : stand_in(p));
		if (!m) {
			ret[f] = (struct sample_place){SAMPLE_MISSING, SAMPLE_MISSING};
			continue;
		}
		if (m->size > member_size_max)
			return refuse_member(path, index, m, sample, why);
		ret[f].header_block = (uint32_t)(m->header_offset / BLOCK);
		ret[f].size = has_member ? (uint32_t)m->size : 0;
		n_header = m->payload_offset - m->header_offset;
		if (*header_bytes < n_header)
			*header_bytes = n_header;
	}
	return 0;
}

int samples_add(struct samples *s, const struct pipeline *p, uint32_t source, const char *path,
		const struct stat *st, const struct shard_index *index, struct reason *why)
{
	struct sample_shard *shard = &s->shards[s->n_shards];
	uint64_t header_bytes = 0;
	int r;

	if (s->n_shards == s->n_shards_max)
		return fail(-EINVAL);
	if (index->raw_size > shard_size_max) {
		reason_set(why, "%.250s: a shard of %" PRIu64 " bytes; at most %" PRIu64 " (2 TiB) are possible",
			   path, index->raw_size, shard_size_max);
		return INDEX_E_REFUSED;
	}
	r = reserve(s, index->n_samples);
	if (r < 0)
		return pass(r);
	for (uint64_t i = 0; i < index->n_samples; i++) {
		r = place_sample(s, p, path, index, &index->samples[i],
				 &s->places[(s->n_samples + i) * s->n_fields], &header_bytes, why);
		if (r != 0)
			return r;
	}
	if (header_bytes > UINT32_MAX)
		return fail(-EINVAL);
	*shard = (struct sample_shard){
		.path = strdup(path), .source = source,
		.device = st->st_dev, .inode = st->st_ino,
		.file_size = (uint64_t)st->st_size, .mtime_ns = saved_mtime_ns(st),
		.raw_size = index->raw_size, .packing = index->packing,
		.header_bytes = (uint32_t)header_bytes,
		.n_samples = index->n_samples, .places_hash = index->places_hash,
	};
	r = shard->path ? units_add(s, index, why) : fail(-ENOMEM);
	if (r) {
		free(shard->path);
		return r < 0 ? pass(r) : r;
	}
	s->n_shards++;
	s->n_samples += index->n_samples;
	s->starts[s->n_shards] = s->n_samples;
	return 0;
}

static void count_extents(struct samples *s)
{
	size_t shard = 0;

	for (uint64_t i = 0; i < s->n_samples; i++) {
		while (i >= s->starts[shard + 1])
			shard++;
		for (unsigned f = 0; f < s->n_fields; f++) {
			const struct sample_place *place = samples_place(s, i, f);
			uint64_t extent = (uint64_t)s->shards[shard].header_bytes + place->size;

			if (place->header_block >= SAMPLE_REPEATED)
				continue;
			s->total_bytes += extent;
			if (s->largest_extent < extent)
				s->largest_extent = extent;
		}
	}
}

static void take_fingerprint(struct samples *s)
{
	XXH3_state_t state;
	XXH128_canonical_t canonical;

	XXH3_128bits_reset(&state);
	for (size_t i = 0; i < s->n_shards; i++) {
		const struct sample_shard *shard = &s->shards[i];
		const char *slash = strrchr(shard->path, '/');
		const char *base = slash ? slash + 1 : shard->path;
		const uint64_t numbers[3] = {shard->file_size, shard->n_samples, shard->places_hash};

		XXH3_128bits_update(&state, base, strlen(base) + 1);
		XXH3_128bits_update(&state, numbers, sizeof(numbers));
	}
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
	for (int i = 0; i < 16; i++) {
		s->fingerprint[2 * i] = "0123456789abcdef"[canonical.digest[i] >> 4];
		s->fingerprint[2 * i + 1] = "0123456789abcdef"[canonical.digest[i] & 15];
	}
	s->fingerprint[32] = '\0';
}

void samples_finish(struct samples *s)
{
	size_t n_bytes = s->n_samples * s->n_fields * sizeof(*s->places);
	struct sample_place *cut = n_bytes ? realloc(s->places, n_bytes) : NULL;

	if (cut) {
		s->places = cut;
		s->n_allocated = s->n_samples;
	}
	units_finish(s);
	s->largest_extent = s->total_bytes = 0;
	count_extents(s);
	take_fingerprint(s);
}

size_t samples_bytes(const struct samples *s)
{
	size_t n = s->n_allocated * s->n_fields * sizeof(*s->places) +
		   (s->n_shards_max + 1) * (sizeof(*s->starts) + sizeof(*s->shards)) +
		   s->n_frames * sizeof(*s->frames) + s->n_units * sizeof(*s->units);

	for (size_t i = 0; i < s->n_shards; i++)
		n += strlen(s->shards[i].path) + 1;
	return n;
}
