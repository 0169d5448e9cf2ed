/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The daemon's own structures, shared by the files of this room. One loop thread owns all of it.
 *
 * data flow: sessions, workers and reads turn what happens into events of the core; loop.c carries
 * out the actions that come back.
 */
#ifndef SERVE_DAEMON_H
#define SERVE_DAEMON_H

#include "batch/layout.h"
#include "batch/plan.h"
#include "batch/slots.h"
#include "config/config.h"
#include "core/core.h"
#include "io/engine.h"
#include "order/token.h"
#include "sandbox/trial.h"
#include "serve/dataset.h"
#include "serve/files.h"
#include "serve/keys.h"
#include "serve/notify.h"
#include "serve/planning.h"
#include "serve/reload.h"
#include "serve/serve.h"
#include "watch/latency.h"
#include "watch/snapshot.h"
#include "watch/trace.h"
#include "watch/trend.h"
#include "watch/web.h"
#include "wire.h"
#include "worker/parent.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SESSIONS_MAX = 128,    /* connections at once */
	OUTBOX_MAX = 32 << 10, /* bytes a client may leave unread, on top of what its socket holds */
	IDLE_MAX = 32,	       /* connections of one process without a session */
	SILENCE_S = 10,        /* how long a connection may take to attach or ask for the status */
	CHILDREN_SHOWN = 8,    /* processes named that keep a slot quarantined */
	BELL_SLOTS = 64,       /* slots of a session that a bell can name */
	SEEN_BAD_MAX = 8,      /* bad samples that the status names */
	OPEN_SHARDS_MAX = 256,
};

/* What an epoll event is about: kind in the upper half, number in the lower. */
enum watch { WATCH_LISTEN, WATCH_SIGNAL, WATCH_READS, WATCH_PARENT, WATCH_WORKER, WATCH_CLIENT, WATCH_BELL,
	     WATCH_EXIT, WATCH_WEB };

struct served_feed {
	const struct config_feed *config;
	struct dataset *dataset;
	struct order_spec order;
	uint64_t n_positions; /* of an epoch */
	struct slot_layout layout;
	struct slots pool;
	struct token token; /* fingerprint, seed and order hash of every token of this feed */
};

/* The daemon's side of one worker. */
struct helper {
	int channel; /* -1: none */
	pid_t pid;
	uint64_t respawn_ns; /* when to start the next one; 0: not due */
	unsigned n_quick_deaths;
	struct trace_work hands[CORE_HAND]; /* tasks it has, oldest first */
	unsigned n_hands;
	uint64_t answered_ns;
	bool is_up;
};

struct flying_read {
	uint64_t begun_ns, offset, into;
	uint32_t feed, shard, n_bytes;
	uint32_t next; /* that waits for the same file to be open */
	bool is_again; /* what was read before was damaged */
	int64_t n_got;
	struct shard_file *file;
};

struct seen_bad {
	uint64_t seen_ns, offset;
	const char *shard;
	uint32_t feed;
	enum cause cause;
	char key[128], detail[TASK_DETAIL_MAX];
};

struct failed_read {
	uint32_t request;
	int result;
};

enum session_state { SESSION_NONE, SESSION_NEW, SESSION_GREETED, SESSION_ATTACHED, SESSION_ENDED };

struct session {
	enum session_state state;
	int fd, exit_fd; /* socket; pidfd of the peer (-1: none) */
	int bell;	 /* eventfd (-1: none) */
	pid_t pid;
	uint32_t stream, feed, serial;
	bool has_stream; /* the core knows it until CORE_GONE */
	bool is_leaving, has_exited;
	bool is_slow;	 /* the outbox waits for room in the socket */
	uint64_t since_ns; /* when it connected, last asked for the status, or failed */
	char *outbox;	 /* whole messages, each behind a struct outbox_head */
	size_t n_outbox, n_sent;
	uint64_t n_batches;
	uint64_t bell_leases[BELL_SLOTS]; /* the lease of each slot, 0: none */
	uint32_t n_looks;   /* for who keeps its slots quarantined */
	uint32_t n_holders; /* those processes */
	pid_t holders[CHILDREN_SHOWN];
	uint64_t looked_for; /* the inode of a slot of its, while that is looked up */
};

struct daemon {
	const struct config *config;
	struct served_feed *feeds;
	unsigned n_feeds, n_workers;
	unsigned n_wanted; /* workers: n_workers, or fewer since a reload */
	struct dataset *datasets;
	struct planning planning;
	struct memory staging;
	uint64_t shared_bytes; /* that staging and all slots take of memory */
	struct worker_feed *worker_feeds;
	struct worker_setup setup;
	struct sandbox_report sandbox;
	struct parent parent;
	struct io_engine *engine;
	struct files *files;
	struct keys keys;
	struct core *core;
	struct helper *helpers;
	struct session sessions[SESSIONS_MAX];
	uint32_t stream_session[STREAMS_MAX];
	struct flying_read reads[CORE_REQUESTS_MAX]; /* by the core's number */
	struct failed_read failed_reads[READS_IN_FLIGHT]; /* could not even begin */
	unsigned n_failed_reads, n_flying;
	int epoll, listener, signals, lock;
	char socket_path[108];
	bool is_default_socket; /* nobody chose the path */
	char io_reason[600]; /* why not io_uring, or "" */
	uint64_t started_ns, now_ns, ticked_ns, holders_ns;
	struct watchdog watchdog;
	uint64_t step_ns_max[2], step_turned_ns; /* the longest steps of the loop: of the present ten seconds, and of those before */
	uint64_t peak_bytes, resident_bytes;
	uint64_t turned_away_ns, deaf_told_ns;
	uint64_t idle_ns, used_ns; /* how long it waits without clients; when it last had one */
	int ledger;
	bool is_ledger_torn;	/* it does not end with a newline */
	uint64_t n_ledger_lost; /* lines since the last one that could be written */
	uint64_t bad_told_ns[CAUSE_COUNT], bad_untold[CAUSE_COUNT];
	uint64_t mended_told_ns, n_mended_untold;
	struct seen_bad seen_bad[SEEN_BAD_MAX];
	unsigned n_seen_bad; /* ever */
	struct snapshot snapshot;
	uint64_t weighed_ns; /* when its memory and CPU times were asked for */
	struct trend trend;
	struct latency read_latency;
	struct trace trace;
	struct reload reload;
	int (*reread)(void *context, struct config **ret, struct reason *why);
	void *reread_context;
	struct web *web; /* NULL: daemon.metrics is not set */
	unsigned n_cpus;	 /* that workers may run on */
	bool is_ending, has_failed;
	bool is_deaf; /* the listener is unwatched: no descriptor or memory was left */
};

/* start.c: everything before the loop, in the order that memory and fork demand. */
int daemon_start(struct daemon *d, const struct config *config, const struct serve_options *options,
		 struct reason *why);
void daemon_stop(struct daemon *d);

/* loop.c */
int daemon_watch(struct daemon *d, int fd, uint32_t events, enum watch what, uint32_t number);
/* Before the first turn. */
void daemon_begin(struct daemon *d);
/* One turn of the loop: waits up to most_ms for what happens, and carries out what follows. 0 or -errno. */
int daemon_turn(struct daemon *d, int most_ms);
/* Turns until it is to end. */
int daemon_loop(struct daemon *d);
/* Carries out the core's actions; after every event. */
void daemon_act(struct daemon *d);
/* Books all waits up to now, as a look at them wants. */
void daemon_glance(struct daemon *d);

/* workers.c */
void workers_spawn(struct daemon *d, unsigned worker);
void workers_news(struct daemon *d);
void workers_answer(struct daemon *d, unsigned worker);
void workers_task(struct daemon *d, const struct core_action *a);
void workers_kill(struct daemon *d, unsigned worker);
void workers_time(struct daemon *d);
/* Tells the core what CPU time those have used that have something in hand. */
void workers_clock(struct daemon *d);
/* Ends those above n, when they have nothing in hand, and starts those below that are not there. */
void workers_set(struct daemon *d, unsigned n);

/* reads.c */
int reads_open(struct daemon *d);
void reads_start(struct daemon *d, const struct core_action *a);
void reads_reap(struct daemon *d);
/* Tells the core of one read that could not begin; as an event of its own. */
void reads_failed(struct daemon *d);
/* Waits up to a second for reads in flight, and for shards to close; false: some are stuck in the storage. */
bool reads_drain(struct daemon *d);

/* listen.c */
int listen_open(struct daemon *d, struct reason *why);
void listen_close(struct daemon *d);
void listen_accept(struct daemon *d);
/* Watches it again where that was given up for want of a descriptor or memory. */
void listen_again(struct daemon *d);

/* session.c */
void session_hear(struct daemon *d, uint32_t session, uint32_t events);
void session_hear_bell(struct daemon *d, uint32_t session);
void session_exited(struct daemon *d, uint32_t session);
void session_gone(struct daemon *d, uint32_t stream);
void session_close(struct daemon *d, uint32_t session);
void session_hang_up(int fd);
/* Disconnects who has nothing to say, or does not go after it was told that its session is over. */
void session_time(struct daemon *d);

/* session-tell.c: what the core decides, as messages. */
void session_lend(struct daemon *d, const struct core_action *a);
void session_epoch_end(struct daemon *d, const struct core_action *a);
void session_peer_gone(struct daemon *d, const struct core_action *a);
void session_fail(struct daemon *d, const struct core_action *a);

/* session-look.c: answers who asks for the status, or for the trace from that cursor on. */
void session_send_status(struct daemon *d, struct session *s);
void session_send_trace(struct daemon *d, struct session *s, uint64_t from);

/* bell.c */
/* A new one, watched: the descriptor, which stays the session's, or -1. */
int bell_open(struct daemon *d, struct session *s);
void bell_close(struct daemon *d, struct session *s);
/* The slot, by the client's number, is lent under this lease. */
void bell_lent(struct session *s, uint32_t slot, uint64_t lease);
/* Leases of the slots that were given back; 0 for one that was not lent. Returns how many. */
unsigned bell_read(struct session *s, uint64_t ret_leases[BELL_SLOTS]);

/* outbox.c: sends one message, now or when the socket has room; fd < 0: none. */
void session_send(struct daemon *d, struct session *s, const void *message, size_t n, int fd);
void session_flush(struct daemon *d, struct session *s);
void session_say_failed(struct daemon *d, struct session *s, int error, const char *name,
			const char *format, ...) __attribute__((format(printf, 5, 6)));

/* ledger.c */
int ledger_open(struct daemon *d, struct reason *why);
void ledger_write(struct daemon *d, const struct core_action *a);
/* A line in the log, for what was good when read again. */
void ledger_mended(struct daemon *d, const struct core_action *a);
/* Where a sample is and what it is called: "SHARD, key KEY, offset N". */
void ledger_name(struct daemon *d, uint32_t feed, uint64_t sample, char *text, size_t n_text);

/* footprint.c */
void footprint_sample(struct daemon *d);
/* holders.c: who keeps quarantined slots? */
void holders_look(struct daemon *d);
void holders_found(struct daemon *d, const struct parent_news *news);

/* confining.c: what the daemon's processes give up. plan: tries it out, before the fork; refuses the start where
 * the configuration requires what is not to be had. files: before there are threads. calls: last of all. */
int confining_plan(struct daemon *d, struct reason *why);
int confining_files(struct daemon *d);
int confining_calls(struct daemon *d);

/* snapshot.c: the daemon for those who look at it from outside. open: after the clean parent was forked. */
int snapshot_open(struct daemon *d);
void snapshot_close(struct daemon *d);
/* Notes the counters for the trend when a second has passed. */
void snapshot_time(struct daemon *d);
/* All of it as it is now; lent until the daemon goes on. */
const struct snapshot *snapshot_take(void *daemon);

#endif
