/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What verify finds in a shard by its headers alone, and the checks of one sample's bytes.
 *
 * Threads: any; each call by itself.
 */
#ifndef PACK_CONTENTS_H
#define PACK_CONTENTS_H

#include "decode/image.h"
#include "pack/verify.h"
#include "shard/index.h"

struct contents {
	struct shard_index index; /* of what stands in front of a fault, if there is one */
	uint64_t n_bytes;
	enum packing packing; /* of a compressed one nothing is known before inspect_stream */
	bool has_hash;
	uint64_t hash, n_bytes_stated; /* of the whole shard, as its manifest says */
};

/* Takes faults as they are found. */
struct fault_sink {
	void *context;
	void (*put)(void *context, const struct verify_fault *fault);
};

/* Reads all headers of the shard. 0 or -errno; what is wrong with the shard goes to the sink. */
int contents_scan(const char *path, uint64_t shard, const struct fault_sink *sink, struct contents *ret);
void contents_deinit(struct contents *c);
/* What an index says of a shard's end. */
void contents_tell_shape(const struct contents *c, uint64_t shard, const struct fault_sink *sink);
/* Completes the fault and gives it to the sink. */
void contents_fault(const struct fault_sink *sink, struct verify_fault *f, const char *cause,
		    const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* One process' means to look into samples. */
struct inspector {
	int fd;
	size_t shard; /* that fd is open for */
	struct image *image;
	struct arena arena;
	struct limits limits;
	uint8_t *bytes;
	size_t room;
};
/* 0 or -errno. */
int inspector_init(struct inspector *in, const struct limits *limits);
void inspector_deinit(struct inspector *in);
/* Opens the shard, if it is not open. 0 or -errno, which is an outcome. */
int inspector_open(struct inspector *in, const char *path, uint64_t shard);
/* One member's payload; f names it. */
void inspect_bytes(struct inspector *in, const void *bytes, size_t n, struct verify_fault *f,
		   const struct fault_sink *sink);
/* 0 or -errno. */
int inspect_sample(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		   uint64_t sample, const struct fault_sink *sink);
int inspect_hash(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		 const struct fault_sink *sink);

struct stream_counts {
	uint64_t n_samples, n_members, n_bytes;
};
/* A compressed shard, all of it, headers too. */
int inspect_stream(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		   const struct fault_sink *sink, struct stream_counts *ret);

#endif
