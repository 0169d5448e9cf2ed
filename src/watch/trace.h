/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The last batches, tasks and reads with their times: two rings of fixed records, written on the way and put
 * into words only when somebody asks. One loop thread owns it.
 */
#ifndef WATCH_TRACE_H
#define WATCH_TRACE_H

#include <stddef.h>
#include <stdint.h>

enum {
	TRACE_BATCHES = 1024,
	TRACE_WORKS = 8192, /* tasks and reads together */
};

struct trace_batch {
	uint64_t lease; /* 0: none yet */
	uint64_t opened_ns, staged_ns, ready_ns, lent_ns;
	uint64_t released_ns; /* 0: the trainer holds it */
	uint64_t epoch, step;
	uint32_t stream, feed, rank, slot, n_rows;
};

enum trace_kind { TRACE_TASK, TRACE_READ, TRACE_INFLATE, N_TRACE_KINDS };

struct trace_work {
	uint64_t begun_ns, ended_ns;
	uint64_t offset;	    /* of a read */
	uint32_t kind, who;	    /* enum trace_kind; worker, or 0 */
	/* Slot and samples of a task of rows, shard and bytes of a read, unit and bytes of a piece to inflate. */
	uint32_t feed, place, size;
	uint32_t has_failed;
};

struct trace {
	struct trace_batch batches[TRACE_BATCHES]; /* by lease */
	struct trace_work works[TRACE_WORKS];	   /* by number */
	uint64_t n_leases, n_works;		   /* ever */
	uint64_t n_of_kind[N_TRACE_KINDS];
};

struct snapshot;

void trace_lent(struct trace *t, const struct trace_batch *b);
void trace_released(struct trace *t, uint64_t now_ns, uint64_t lease);
/* What the stream still held is its no more. */
void trace_gone(struct trace *t, uint64_t now_ns, uint32_t stream);
void trace_work(struct trace *t, const struct trace_work *w);

/*
 * A piece of Chrome's trace-event JSON, from the cursor on (0 first), of at most room bytes; *ret_next is
 * where the next one begins, 0 after the last. Of the snapshot it takes the version, both times, the number of workers,
 * and names and slots of the feeds.
 */
size_t trace_text(const struct trace *t, const struct snapshot *s, uint64_t cursor, char *text, size_t room,
		  uint64_t *ret_next);

#endif
