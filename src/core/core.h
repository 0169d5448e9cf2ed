/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The heart: which read, which task, which batch comes next. A pure state machine: events in (a read is
 * done, a worker answered or died, a trainer came, released, sought, left, time passed), actions out
 * (read this, run that, lend this batch). It makes no system call, reads no clock and touches no
 * sample bytes, so a simulator drives it through any schedule from a seed.
 *
 * After every event the caller takes all actions with core_next() and carries them out in order.
 *
 * Invariants (core_check proves them): every slot is in exactly one state; every page of staging has
 * one owner; every position of a pass is in exactly one row of one batch.
 *
 * Threads: one caller. Memory: all of it in core_new.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "base/reason.h"
#include "core/task.h"
#include "order/order.h"
#include "shard/samples.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CORE_PAGE = 4096,      /* granule of staging and of direct reads */
	CORE_HAND = 2,	       /* tasks a worker may have in hand */
	CORE_GROUP_MAX = 256,  /* bytes of a group's name */
	CORE_REQUESTS_MAX = 4096, /* reads planned or in flight: read.request is below it */
	CORE_REQUESTS_LEAST = 96, /* a quarter of them serves any sample, however many its fields are */
	CORE_STREAM_SLOTS_MAX = 64, /* slots of one rank */
	CORE_PIECE = 512 << 10, /* compressed bytes read and inflated at a time */
};

/* Reads that may be with the engine at once: those in flight, and late ones that have not ended. */
#define CORE_FLYING_MAX(reads_in_flight) (4 * (reads_in_flight))

enum core_policy { CORE_BAD_FAIL, CORE_BAD_SUBSTITUTE, CORE_BAD_MASK };
enum core_wait { CORE_WAIT_READ, CORE_WAIT_DECODE, CORE_WAIT_SLOTS, CORE_WAIT_TRAINER, CORE_WAITS };

struct core_feed {
	const char *name;
	const struct samples *samples; /* borrowed for the core's life */
	struct order_spec order; /* what it borrows, too */
	uint64_t n_positions; /* of an epoch, by order_length */
	uint64_t batch_size, batch_global; /* one of them is 0 */
	enum last last;
	enum core_policy policy;
	double bad_limit;
	bool is_transient_bad;	 /* transient: as_bad */
	uint32_t slots_per_rank; /* wished for at attach */
	uint32_t n_slots;	 /* in the feed's pool */
	uint32_t n_rows;	 /* of a slot */
	uint64_t slot_bytes;	 /* for sentences */
	uint32_t base;		 /* the feed it is a view of; else its own number. Views have their base's samples and order */
	uint32_t window;	 /* share: 0: independent; else groups share one pass and are so many batches apart at most */
	uint64_t evict_ns;	 /* slow: a trainer that keeps others waiting for so long is dropped; 0: never */
	/* Room for inflated units, whole pages, at least core_inflated_least(); 0: no shard is compressed. */
	uint64_t inflated_bytes;
};

struct core_spec {
	const struct core_feed *feeds;
	unsigned n_feeds;
	unsigned n_workers;
	unsigned n_streams; /* most sessions attached at once */
	unsigned n_ahead;   /* most samples read ahead of their slot */
	uint64_t staging_bytes;
	uint32_t read_max;	 /* bytes of one request, unless one sample needs more */
	unsigned reads_in_flight;
	unsigned n_requests;	 /* reads and units planned, flying or in memory, at least CORE_REQUESTS_LEAST; 0: CORE_REQUESTS_MAX */
	uint64_t read_timeout_ns;
	uint64_t task_timeout_ns; /* a task may stand still so long */
	uint64_t task_cpu_ns;	  /* the CPU time it may take */
};

struct core;

/* The bytes core_new will allocate; for the memory plan. */
size_t core_bytes(const struct core_spec *spec);
/* The least staging that lets every sample through: for the memory plan. */
uint64_t core_staging_least(const struct core_feed *feeds, unsigned n_feeds);
/* The least inflated_bytes of a feed, by its samples: every sample's units at once. */
uint64_t core_inflated_least(const struct samples *samples);
/* How many bytes one unit of the feed takes there: the same for all where units are large (whole shards), so
 * that room for one is room for any. */
uint64_t core_unit_bytes(const struct samples *samples, uint64_t n_raw);
/* The bytes of the area that read.into and task extents point into: first what is read into (staging, and
 * pieces of compressed shards), then what workers inflate into. Both are whole pages. */
void core_area(const struct core_spec *spec, uint64_t *ret_read, uint64_t *ret_inflated);
/* 0 or -errno. The feeds are copied, what they point to is borrowed. */
int core_new(const struct core_spec *spec, struct core **ret);
struct core *core_free(struct core *c);

/* ---- events ---- */

/* A read ended: bytes read, or -errno. is_changed: the file is no longer the one of the index. */
void core_on_read(struct core *c, uint64_t now_ns, uint32_t request, int64_t n_bytes,
		  bool is_changed);
void core_on_worker_up(struct core *c, uint64_t now_ns, unsigned worker);
void core_on_worker_dead(struct core *c, uint64_t now_ns, unsigned worker);
/* The CPU time that a worker has used in its life: a task overruns by what it uses, and one that uses some does not
 * stand still. Where nobody tells, task_timeout_ns alone holds. */
void core_on_worker_cpu(struct core *c, uint64_t now_ns, unsigned worker, uint64_t cpu_ns);
/* A worker's answer as it came. false: it lies, and is to be killed (core_on_worker_dead follows). */
bool core_on_answer(struct core *c, uint64_t now_ns, unsigned worker, const void *bytes, size_t n);
/* Time passed (core_deadline says when it must). */
void core_on_time(struct core *c, uint64_t now_ns);

/* BACK: at its place, from which the end of an earlier daemon took it; how far that is behind others is not its choice. */
enum core_start { CORE_START_NOW, CORE_START_NEXT_EPOCH, CORE_START_BACK };

struct core_attach {
	unsigned feed;
	const char *group; /* "": a group of its own */
	uint32_t rank, world, local_world, credit, generation;
	uint32_t replica;	  /* its number + 1 among the trainers of that rank; 0: it is the only one */
	uint32_t batch;		  /* rows of this rank's batches; 0: as configured */
	bool has_place;		  /* a token says where the stream starts; else `start`, where a pass is shared, or 0 */
	enum core_start start;
	uint64_t epoch, position; /* in with has_place; out: where it starts */
	uint64_t bad;		  /* of the token */
};

enum { CORE_E_REFUSED = 1 };

/* A trainer wants a place. 0 and the stream, or CORE_E_REFUSED with the sentence. */
int core_on_attach(struct core *c, uint64_t now_ns, struct core_attach *a,
		   uint32_t *ret_stream, struct reason *why);
/* false: no such lease of this stream. */
bool core_on_release(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t lease);
struct core_seek {
	uint32_t serial, batch; /* batch as above */
	uint64_t epoch, position, bad;
};

/* 0, or CORE_E_REFUSED with the sentence, and nothing has changed. */
int core_on_seek(struct core *c, uint64_t now_ns, uint32_t stream, const struct core_seek *to,
		 struct reason *why);
/* It said goodbye: what it does not hold is free at once, what it holds when released or dead. */
void core_on_detach(struct core *c, uint64_t now_ns, uint32_t stream);
/* After its goodbye: what was lent to it after this lease never reached it. */
void core_on_unseen(struct core *c, uint64_t now_ns, uint32_t stream, uint64_t last_lease);
/* Its socket hung up / its process is dead. Slots are free when both are said. The stream is gone
 * (CORE_ACTION_GONE) when it holds nothing any more. */
void core_on_hangup(struct core *c, uint64_t now_ns, uint32_t stream);
void core_on_exit(struct core *c, uint64_t now_ns, uint32_t stream);

/* ---- changes on the way ---- */

/* Only workers below n get tasks from now on; n is at most the spec's. The others finish what they have. */
void core_set_workers(struct core *c, uint64_t now_ns, unsigned n);
/* It is up, has no task and no unit half inflated. */
bool core_worker_is_idle(const struct core *c, unsigned worker);
/* Of reads that begin from now on. */
void core_set_read_timeout(struct core *c, uint64_t timeout_ns);
void core_set_bad(struct core *c, unsigned feed, double limit, bool is_transient_bad);

/* ---- actions ---- */

enum core_action_kind {
	CORE_READ,	  /* read.* */
	CORE_TASK,	  /* send core_task_message() to task.worker */
	CORE_KILL_WORKER, /* task.worker overran: its CPU time, or it stands still */
	CORE_LEND,	  /* lend.* to the stream's trainer */
	CORE_EPOCH_END,	  /* tell the stream's trainer; lend.epoch is the one that ended */
	CORE_FAIL,	  /* tell the stream's trainer, once; it gets nothing more */
	CORE_BAD,	  /* a line for the ledger: bad.* */
	CORE_GONE,	  /* the stream's number is free again */
	CORE_PEER_GONE,	  /* tell the stream's trainer that peer.rank of its group, which shares a pass, has died */
	CORE_MENDED,	  /* a line for the log: what mended.* names was damaged when first read, and then was not */
};

enum core_failure {
	CORE_FAIL_BAD_SAMPLE,	   /* policy fail */
	CORE_FAIL_NO_SUBSTITUTE,   /* nine bad in a row */
	CORE_FAIL_TOO_MANY_BAD,	   /* over the limit: count, allowed */
	CORE_FAIL_STORAGE,	   /* transient: fail */
	CORE_FAIL_CHANGED,	   /* a shard is not the one that was indexed */
	CORE_FAIL_REPLACED,	   /* a newer generation of the group took over */
	CORE_FAIL_EVICTED,	   /* slow: it kept others waiting for count ms, of allowed ms */
};

struct core_action {
	enum core_action_kind kind;
	uint32_t stream; /* LEND, EPOCH_END, FAIL, GONE; BAD */
	union {
		struct {
			uint32_t request, feed, shard, n_bytes;
			uint64_t offset;
			uint64_t into; /* offset in staging */
			bool is_again; /* what was read before was damaged: past the page cache */
		} read;
		struct {
			uint32_t worker;
			uint64_t id;
		} task;
		struct {
			uint32_t slot, n_rows, serial;
			uint64_t lease, epoch, step;
			uint64_t epoch_after, position_after, bad; /* the token's */
			uint64_t n_batches;	       /* CORE_EPOCH_END: of the next epoch */
			uint64_t waits_ns[CORE_WAITS]; /* since the last one */
			uint64_t opened_ns, staged_ns, ready_ns; /* when its rows were drawn, read, made */
		} lend;
		struct {
			uint32_t rank, replica; /* as in core_attach */
		} peer;
		struct {
			uint32_t feed, shard;
			uint64_t sample; /* UINT64_MAX: the unit of a compressed shard at that offset */
			uint64_t offset;
		} mended;
		struct {
			enum core_failure failure;
			enum cause cause;
			uint32_t feed;
			int error; /* errno of the read, or 0 */
			uint64_t sample, position, epoch;
			uint64_t count, allowed;
			char detail[TASK_DETAIL_MAX];
		} bad;
	};
};

/* Takes the next action; false when there is none left to take for now. */
bool core_next(struct core *c, struct core_action *ret);
/* The task as it goes over the wire; returns its length, 0 when it is no longer wanted. */
size_t core_task_message(const struct core *c, unsigned worker, uint64_t id, void *ret, size_t room);
/* The latest time by which core_on_time must be called; UINT64_MAX for none. */
uint64_t core_deadline(const struct core *c);

/* ---- looking in ---- */

struct core_slots {
	uint32_t free, filling, ready, leased, quarantined, all;
};

struct core_stream_view {
	bool is_used, is_detached, has_hung_up, has_exited, has_failed;
	bool is_shared; /* others read its slots, too, or may come to: they are for reading only from the beginning */
	uint32_t feed, rank, replica, world, n_slots; /* replica: as in core_attach */
	uint64_t lag;	/* batches that it is behind whoever is furthest in the pass they share */
	const char *group; /* "" for a group of its own */
	uint32_t group_number;
	uint64_t epoch, step; /* of the next batch to lend */
	uint64_t position;    /* where that global batch begins */
	uint64_t n_batches;   /* of the pass it is in */
	uint64_t n_steps;     /* of that epoch: its last batch is step n_steps - 1 */
	uint64_t n_lent, n_held;
	uint64_t n_due, n_good, n_bad, n_padded; /* positions lent so far: due = good + bad */
	uint64_t waits_ns[CORE_WAITS];
	int wait; /* enum core_wait now; -1: none */
	uint32_t n_quarantined;
};

struct core_feed_view {
	struct core_slots slots;
	uint64_t causes[CAUSE_COUNT]; /* bad samples lent, by cause */
	uint64_t n_warnings;	      /* of libjpeg */
	uint64_t n_batches, n_due, n_good, n_bad, n_padded; /* lent to anyone: due = good + bad */
	uint64_t n_made;	       /* rows made, each once, however many get it */
	uint64_t waits_ns[CORE_WAITS]; /* of all its streams, the ended ones too */
};

struct core_totals {
	uint64_t n_reads, read_bytes, sample_bytes, n_tasks, n_samples, n_worker_deaths, n_retries;
	uint64_t n_mended; /* samples and units that were damaged when first read, and then were not */
	uint64_t staging_used;
	uint64_t n_units, inflated_bytes; /* inflated whole, and their raw bytes */
};

void core_view_stream(const struct core *c, uint32_t stream, struct core_stream_view *ret);
void core_view_feed(const struct core *c, unsigned feed, struct core_feed_view *ret);
void core_view_totals(const struct core *c, struct core_totals *ret);
/* The slots (numbers in the feed's pool) of a stream, up to room of them; returns how many it has. */
unsigned core_stream_slots(const struct core *c, uint32_t stream, uint32_t *ret, unsigned room);
/* Aborts the process when an invariant is broken; for the simulator and tests. */
void core_check(const struct core *c);

#endif
