/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A daemon at one moment, in plain numbers and words: all that status, metrics, page and trend know of it. The
 * daemon fills it; who renders it needs neither the daemon nor its core.
 *
 * Memory: made once at the start, 13 KiB with room for all 64 ranks, 0.7 KiB more for each feed, and 0.5 KiB for
 * each source of the largest mix (512 KiB with 1,024); part of the core's base in the plan. Strings are borrowed: what is
 * filled in is good until the daemon goes on.
 * Threads: one.
 */
#ifndef WATCH_SNAPSHOT_H
#define WATCH_SNAPSHOT_H

#include "base/pipeline.h"
#include "watch/latency.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SNAPSHOT_RANKS_MAX = 64, SNAPSHOT_BAD_MAX = 8 };

/* What the next batch of a trainer can wait for. */
enum snapshot_wait {
	SNAPSHOT_WAIT_READ,
	SNAPSHOT_WAIT_DECODE,
	SNAPSHOT_WAIT_SLOTS,
	SNAPSHOT_WAIT_TRAINER,
	SNAPSHOT_WAITS,
};

struct snapshot_line { /* of the memory plan */
	const char *name;
	uint64_t n_bytes;
};

struct snapshot_memory {
	uint64_t budget, planned, resident, peak; /* bytes */
	struct snapshot_line *lines;
	size_t n_lines;
};

struct snapshot_worker {
	pid_t pid;
	bool is_up;
};

struct snapshot_reads {
	uint64_t n_reads, n_bytes, n_sample_bytes, n_retries, n_flying;
	uint64_t n_mended; /* samples and units damaged when first read, good when read again */
	uint64_t staging_used;		  /* bytes */
	uint64_t n_units, n_unit_bytes;	  /* inflated whole */
	uint64_t n_tasks, n_task_samples, n_worker_deaths;
	struct latency latency;
};

/* Positions lent to trainers; due = delivered + bad. */
struct snapshot_lent {
	uint64_t n_due, n_delivered, n_bad, n_padded;
	uint64_t waits_ns[SNAPSHOT_WAITS];
};

/* By state. */
struct snapshot_slots {
	uint32_t free, filling, ready, leased, quarantined, all;
};

/* Of the last seconds; trend.h fills it. */
struct snapshot_trend {
	double samples_per_second, batches_per_second;
	char limit[300]; /* what sets the rate, in a sentence */
};

struct snapshot_feed {
	const char *name;
	uint64_t n_samples, n_shards, slot_bytes;
	uint64_t n_positions;	/* of an epoch */
	uint32_t window;	/* groups share a pass and are so many batches apart at most; 0: each has its own */
	const uint32_t *shares; /* of each source of a mix */
	size_t n_sources;	/* 0: it is none */
	struct snapshot_slots slots;
	uint64_t n_huge_slots;
	uint64_t n_batches;
	uint64_t n_made; /* rows, each once, however many trainers get it */
	struct snapshot_lent lent; /* to anyone, ended sessions too */
	uint64_t causes[CAUSE_COUNT], n_warnings;
	struct snapshot_trend trend;
};

enum snapshot_state { SNAPSHOT_ATTACHED, SNAPSHOT_LEAVING, SNAPSHOT_FAILED, SNAPSHOT_QUARANTINED };

struct snapshot_rank {
	uint32_t feed, rank, replica, world;
	bool is_shared; /* others read its slots, too */
	uint64_t lag;	/* batches that it is behind whoever is furthest in the pass they share */
	const char *group; /* "" for a group of its own */
	uint32_t group_number;
	pid_t pid;
	enum snapshot_state state;
	uint64_t epoch, step, n_batches_in_epoch; /* of the next batch */
	uint64_t n_batches;			  /* ever lent to it */
	uint32_t n_slots, n_quarantined;
	uint64_t n_leases;
	double *passes; /* over each source of a mix, the present one by its share that is behind */
	const pid_t *holders; /* who keep its slots quarantined */
	uint32_t n_holders;
	struct snapshot_lent lent;
	int wait; /* enum snapshot_wait now; -1: none */
};

struct snapshot_bad {
	uint64_t seen_ns, offset;
	const char *shard, *key, *detail;
	uint32_t feed;
	enum cause cause;
};

struct snapshot_reload {
	uint64_t at_ns; /* of the last one; 0: there was none */
	uint64_t n_applied, n_refused;
	const char *text; /* what became of the last one */
	bool was_refused;
};

/* What a kind of process gave up at its start, as the self-test found it. */
struct snapshot_role {
	const char *name; /* "core", "parent", "worker" */
	bool has_filter, has_no_new_privs;
	int landlock; /* ABI; 0: none */
	unsigned n_tried, n_refused;
	const char *filter_reason, *landlock_reason; /* why not; "" */
	const char *let_through;		     /* of what was tried; "" */
};

enum { SNAPSHOT_ROLES = 3 };

struct snapshot_sandbox {
	const char *missing; /* in a sentence; "": it is whole */
	uint64_t took_ns;    /* the self-test */
	struct snapshot_role roles[SNAPSHOT_ROLES];
};

struct snapshot {
	const char *version, *socket, *engine, *engine_reason, *kernels;
	pid_t pid, parent_pid;
	uint64_t started_ns, now_ns;
	uint64_t registered_bytes;
	uint64_t core_cpu_ns, workers_cpu_ns;
	uint64_t step_ns_max; /* the longest step of the loop in the last 10 to 20 s */
	unsigned n_sessions, n_cpus;
	struct snapshot_memory memory;
	struct snapshot_worker *workers;
	unsigned n_workers, n_wanted; /* wanted: all, or fewer since a reload */
	struct snapshot_reads reads;
	struct snapshot_feed *feeds;
	unsigned n_feeds;
	struct snapshot_rank ranks[SNAPSHOT_RANKS_MAX];
	unsigned n_ranks;
	double *passes; /* of all ranks */
	size_t n_sources; /* of the largest mix */
	struct snapshot_bad bad[SNAPSHOT_BAD_MAX]; /* the newest first */
	unsigned n_bad;
	struct snapshot_reload reload;
	struct snapshot_sandbox sandbox;
};

/* Makes the arrays, of zeros. 0 or -errno. */
int snapshot_init(struct snapshot *s, unsigned n_feeds, unsigned n_workers, size_t n_lines, size_t n_sources);
void snapshot_deinit(struct snapshot *s);

/* "read", "decode", "slots", "trainer". */
const char *snapshot_wait_name(enum snapshot_wait wait);
unsigned snapshot_workers_up(const struct snapshot *s);

#endif
