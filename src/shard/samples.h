/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The samples of one feed in memory: 8 bytes a field (u32 first header block, u32 payload size),
 * over all its shards in listed order. Keys stay on disk, in the saved indexes. Of a compressed shard
 * all offsets are those of its inflated bytes, and its units say what is inflated as a whole to reach them.
 *
 * Threads: any once built; never changes after.
 */
#ifndef SHARD_SAMPLES_H
#define SHARD_SAMPLES_H

#include "base/pipeline.h"
#include "base/shards.h"
#include "shard/index.h"

#include <stdint.h>

struct sample_shard {
	char *path;
	uint32_t source; /* of the feed, whose this shard is */
	uint64_t device, inode, file_size, mtime_ns;
	uint64_t raw_size; /* of its bytes when inflated; file_size of a plain one */
	enum packing packing;
	bool is_remote; /* behind a server that may not answer */
	uint32_t first_unit, n_units; /* by raw_offset, ascending; none of a plain one */
	uint32_t header_bytes; /* the longest header (extension blocks included) of its fields' members */
	uint64_t n_samples;
	uint64_t places_hash;
};

struct sample_place {
	uint32_t header_block; /* in 512-byte blocks */
	uint32_t size;	       /* of the payload; 0 where only the header is read, for key or shard */
};
#define SAMPLE_MISSING UINT32_MAX /* header_block and size of a field the sample does not have */
/* header_block of every field of a sample in which an extension stands twice (the sample is bad, as it
 * is an error to WebDataset); size is then 0. */
#define SAMPLE_REPEATED (UINT32_MAX - 1)

/* What is inflated as a whole: a run of frames of a compressed shard. Units overlap where a field's extent
 * crosses the edge of one; every extent lies in at least one. */
struct sample_unit {
	uint64_t offset, n_bytes;   /* in the file; n_bytes > 0 */
	uint64_t raw_offset, n_raw; /* in the inflated shard; n_raw > 0 */
	uint32_t first_frame, n_frames; /* in samples.frames */
};

struct samples {
	unsigned n_fields;
	struct sample_place *places; /* n_samples x n_fields */
	uint64_t *starts;	     /* samples before shard i; n_shards + 1 of them */
	struct sample_shard *shards;
	size_t n_shards;
	struct shard_frame *frames; /* of all compressed shards */
	struct sample_unit *units;
	uint64_t n_frames, n_units; /* below 2^32 - 2 */
	uint64_t frames_allocated, units_allocated;
	uint64_t largest_unit;	    /* n_raw of the largest; 0: no shard is compressed */
	uint32_t most_units;	    /* of one sample's fields together; 0 as above */
	uint64_t n_samples;
	uint64_t largest_extent;   /* the longest (header + payload) of any field, in bytes */
	uint64_t total_bytes;	   /* of all fields' extents */
	char fingerprint[33];
	uint64_t n_allocated; /* samples that places has room for */
	size_t n_shards_max;
};

/* Makes room for n_shards shards; fields' extensions from the pipeline. 0 or -errno. */
int samples_init(struct samples *s, const struct pipeline *p, size_t n_shards);
void samples_deinit(struct samples *s);
/* Adds the next shard in listed order, of that source of the feed. 0, or INDEX_E_REFUSED with the reason (a field's member above
 * 4 GiB, a shard above 2 TiB, too many frames), or -errno. */
int samples_add(struct samples *s, const struct pipeline *p, uint32_t source, const char *path,
		const struct stat *st, const struct shard_index *index, struct reason *why);
/* After the last shard: fingerprint, largest extent. */
void samples_finish(struct samples *s);
/* Bytes the table takes: for the memory plan. */
size_t samples_bytes(const struct samples *s);

/* Borrowed. */
static inline struct order_shards samples_shards(const struct samples *s)
{
	return (struct order_shards){s->starts, s->n_shards};
}

static inline const struct sample_place *samples_place(const struct samples *s, uint64_t sample,
						       unsigned field)
{
	return &s->places[sample * s->n_fields + field];
}

/* The number of the unit of a compressed shard in which the raw bytes from start to end lie, as short a one as
 * there is; UINT32_MAX: in none, which no place of the index gives. */
uint32_t samples_unit(const struct samples *s, uint32_t shard, uint64_t start, uint64_t end);

#endif
