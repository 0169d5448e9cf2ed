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
/* 0 or -errno. */
int inspect_sample(struct inspector *in, const char *path, const struct contents *c, uint64_t shard, uint64_t sample,
		   const struct fault_sink *sink);
int inspect_hash(struct inspector *in, const char *path, const struct contents *c, uint64_t shard,
		 const struct fault_sink *sink);

#endif
