/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the core asks of a worker and what it answers: one packet each way. A task is some samples of
 * one batch, or a piece of a compressed shard to inflate. A worker sees the part of the area that is read into
 * read-only, writes the part that is inflated into, and the rows of the slot.
 *
 * On the wire a task of rows is struct task followed by n_samples struct task_sample, then n_samples x
 * n_fields struct task_extent, then the struct task_targets of all its samples, in their order; one that inflates is struct task (n_samples 1) followed by struct
 * task_inflate. An answer is struct answer followed by n_samples struct answer_sample.
 * A worker's answer is untrusted: every value is checked before it is used.
 */
#ifndef CORE_TASK_H
#define CORE_TASK_H

#include "base/pipeline.h"

#include <stdint.h>

enum {
	TASK_SAMPLES_MAX = 64,
	TASK_TARGETS_MAX = 64, /* of all samples of a task together */
	TASK_DETAIL_MAX = 120,
};

enum {
	TASK_SAMPLE_VALID = 1, /* batch.valid of the row */
	TASK_SAMPLE_MASK = 2,  /* no extents: the row becomes zero bytes, valid = false */
};

enum task_kind { TASK_ROWS, TASK_INFLATE };

struct task {
	uint64_t id; /* never used twice */
	uint64_t seed, epoch;
	uint32_t kind, reserved;
	uint32_t feed, slot; /* slot: its number in the feed's pool */
	uint32_t n_samples;
	uint32_t has_large; /* the large scratch (decode_memory) is lent to this worker for this task */
};

struct task_sample {
	uint64_t position, sample;
	uint32_t row, flags;
	uint32_t n_more; /* rows of other batches that get the same sample: its task_targets */
	uint32_t reserved;
};

/* Another batch that a sample goes into, decoded once: of the same feed or of another view of it. */
struct task_target {
	uint32_t feed, slot, row, reserved;
};

struct task_extent {
	uint64_t at;	  /* offset in the area of the member's first header block */
	uint32_t n_bytes; /* how much of it and what follows was read */
	uint32_t size;	  /* of the payload, by the index */
};

enum {
	TASK_INFLATE_FIRST = 1, /* what this worker began to inflate before is void */
	TASK_INFLATE_LAST = 2,	/* after it the unit must be whole, its size and checksums right */
};

/* The next piece of a unit's compressed bytes. The pieces of one unit come in order, all to one worker, which
 * inflates one unit at a time; between them may come tasks of rows. */
struct task_inflate {
	uint64_t from, n_bytes; /* place in the area */
	uint64_t into, n_raw;	/* where the whole unit's raw bytes go; the same in every piece */
	uint32_t unit, flags;	/* unit: its number in the feed's samples */
};

enum answer_code {
	ANSWER_DONE,	   /* the row is written; the piece is inflated */
	ANSWER_BAD,	   /* cause says why; the row is undefined. The unit is damaged (CAUSE_damaged_unit) */
	ANSWER_NEED_LARGE, /* needs the large scratch: send it again with has_large */
	ANSWER_CHANGED,	   /* what was read is not the member the index names: the shard was rewritten */
};

struct answer {
	uint64_t id;
	uint64_t cpu_ns; /* CPU time of the task */
	uint32_t n_samples, reserved;
};

struct answer_sample {
	uint32_t code;
	uint32_t cause; /* enum cause */
	uint32_t n_warnings; /* of libjpeg */
	uint32_t reserved;
	char detail[TASK_DETAIL_MAX]; /* what exactly, zero-ended; "" mostly */
};

#endif
