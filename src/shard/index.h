/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The index of one shard: its samples, their keys, and every member's place. Built by a scan (or
 * taken from a DALI .idx), saved beside the shard or in a cache folder, loaded at the next start.
 * It is valid for a file with the same size and mtime (the saved form) and, once loaded, for the
 * same device and inode too.
 */
#ifndef SHARD_INDEX_H
#define SHARD_INDEX_H

#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
	INDEX_E_STALE = 1,  /* the saved index is of another file, another version, or damaged: scan again */
	INDEX_E_ABSENT,	    /* there is no saved index */
	INDEX_E_REFUSED,    /* the shard itself cannot be indexed: the reason says why, with the offset */
};

/* How a shard's file is compressed. */
enum packing { PACKING_NONE, PACKING_ZSTD, PACKING_GZIP };
/* "plain", "zstd", "gzip" */
const char *packing_name(enum packing packing);

/* One zstd frame or gzip member: it inflates without what is before it. */
struct shard_frame {
	uint64_t offset, n_bytes;   /* in the file, headers and trailers included */
	uint64_t raw_offset, n_raw; /* in the inflated shard */
	uint32_t checksum;	    /* low 32 bits of the XXH64 of its raw bytes, by the seek table */
	uint32_t has_checksum;
};

struct index_member {
	uint64_t header_offset, payload_offset, size;
	uint32_t extension; /* offset into text of a zero-ended string */
	uint32_t sample;
};

struct index_sample {
	uint64_t key; /* offset into text of a zero-ended string */
	uint32_t first_member, n_members;
	uint32_t flags; /* INDEX_REPEATED */
	uint32_t reserved;
};
/* Two members of the sample have one extension (or one has __key__ or __url__, which WebDataset sets
 * itself): the sample is bad by name. */
enum { INDEX_REPEATED = 1 };

struct shard_index {
	struct index_sample *samples;
	struct index_member *members;
	char *text;
	uint64_t n_samples, n_members, n_text;
	uint64_t places_hash;	    /* XXH64 of the (payload offset, size) pairs, for the fingerprint */
	uint64_t file_size, mtime_ns;
	enum packing packing;
	uint64_t raw_size;	    /* file_size when not compressed; all offsets are below it */
	struct shard_frame *frames; /* NULL when not compressed */
	uint64_t n_frames;
	uint64_t trailing_offset, trailing_bytes; /* what lies behind the end marker; 0 bytes = nothing */
	uint64_t n_skipped;	    /* regular members that belong to no sample */
	bool is_unterminated;	    /* no end marker: the shard may have been cut between members */
};

/* Building: feed members in tar order; samples are grouped on the way. */
struct index_builder;
int index_builder_new(struct index_builder **ret);
struct index_builder *index_builder_free(struct index_builder *b);
struct tar_member;
/* 0, or -errno (-EOVERFLOW: more than 2^32 - 1 members). Its context is the builder, so that a scan can
 * call it: tar_scan_feed(s, bytes, n, index_builder_on_member, builder, why). */
int index_builder_add(struct index_builder *b, const struct tar_member *m);
int index_builder_on_member(void *builder, const struct tar_member *m);
struct tar_scan;
/* What the scan has to say at its end (trailing bytes, no end marker). */
void index_builder_take_scan(struct index_builder *b, const struct tar_scan *s);
/* The shard is compressed: frames (taken) are what gives its raw_size bytes. */
void index_builder_take_frames(struct index_builder *b, enum packing packing, struct shard_frame *frames,
			       uint64_t n_frames, uint64_t raw_size);
/* Ends the last sample and hands the index over; the builder is then empty. */
int index_builder_finish(struct index_builder *b, const struct stat *st, struct shard_index *ret);

void shard_index_deinit(struct shard_index *index);

/* Saves atomically (temporary name, fsync, rename) beside the shard as PATH.rfidx, or, where that
 * folder is not writable, in cache_folder (NULL: $XDG_CACHE_HOME/ringfeed or ~/.cache/ringfeed).
 * 0 or -errno. */
int shard_index_save(const struct shard_index *index, const char *path, const char *cache_folder);
/* Looks in both places. 0, INDEX_E_ABSENT, INDEX_E_STALE, or -errno. */
int shard_index_load(const char *path, const char *cache_folder, const struct stat *st,
		     struct shard_index *ret);
/* The key of one sample and where its first header lies in the shard (ret_offset may be NULL), from the saved
 * index, without loading it: four small reads. The key's length, at most n_key - 1, is cut; ret_key is
 * zero-ended. 0, INDEX_E_ABSENT, INDEX_E_STALE or -errno. */
int shard_index_key(const char *path, const char *cache_folder, const struct stat *st,
		    uint64_t sample, char *ret_key, size_t n_key, uint64_t *ret_offset);
/* The saved form (proto/index.md) in memory: what save writes and load reads. Any bytes may be given. */
size_t shard_index_encoded_bytes(const struct shard_index *index);
void shard_index_encode(const struct shard_index *index, void *ret);
/* 0, INDEX_E_STALE or -errno. st may be NULL: the file's size and mtime are then not compared. */
int shard_index_decode(const void *bytes, size_t n_bytes, const struct stat *st,
		       struct shard_index *ret);
/* DALI's PATH with .idx for .tar (wds2idx v1.2), if it is there, not older than the shard, and shows
 * that nothing but plain files of names up to 100 bytes lies in the shard: each header directly behind
 * the member before, zeros to the end behind the last. 0, INDEX_E_ABSENT, INDEX_E_STALE (with the
 * reason: scan instead; also for v1.1, which has no names) or -errno. */
int shard_index_load_dali(const char *path, const struct stat *st, struct shard_index *ret,
			  struct reason *why);

#endif
