/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The core's own structures, shared by its files and by nobody else.
 *
 * job: one row of one batch on its way (unread -> reading -> staged -> tasked). request: bytes of a shard in
 * memory, used by the extents (members) that lie in them: read as they are, or a unit of a compressed shard,
 * inflated; or one piece of such a unit's compressed bytes. fill: a unit being read and inflated, piece by
 * piece. slot: the memory of one batch. track: the batches of one rank, made in order into slots of its own.
 * stream: one trainer; it follows a track, alone or with others (replicas; groups that share a pass), and
 * holds the slots lent to it. Everything is an array made once; links are indexes.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "core/core.h"
#include "core/pages.h"

#define NONE UINT32_MAX
#define UNIT_DAMAGED (UINT32_MAX - 1) /* in a feed's unit_requests: known to be bad, whenever it is wanted */
#define UNIT_DEADLY (UINT32_MAX - 2)

enum {
	ACTIONS_ROOM = 1024,
	ACTIONS_SLACK = 192,   /* room that one step of work may need */
	CANDIDATES_MAX = 2048, /* extents sorted and merged in one round */
	MERGE_GAP = 16 << 10,  /* bytes worth reading to save a request */
	AHEAD_ROUNDS = 4,      /* one of so many parts of the read-ahead zone is free before it is filled again */
	EPOCHS_KEPT = 8,       /* orders kept per feed */
	ATTEMPTS_MAX = 8,      /* substitutes for one position */
	READ_TRIES = 3,
	LATE_TRIES = 2,
	CRASH_TRIES = 2,
	DAMAGE_TRIES = 2,
	FILLS_MAX = 16,
	PIECE_PAGES = CORE_PIECE / CORE_PAGE + 1, /* the first piece of a unit begins amid a page */
	FILL_PIECES = 2,	/* one is read while one is inflated */
	PIECES_SPARE = 4,	/* for late reads, which keep theirs */
};

/* A riding job is made when the one it rides on is: see teams.c. */
enum job_state { JOB_FREE, JOB_UNREAD, JOB_READING, JOB_STAGED, JOB_TASKED, JOB_RIDING };
/* Of what is in it; a free one may still be held, or written by a worker (is_draining). */
enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY };
/* Reads are queued and fly; units are wanted and filling. */
enum request_state { REQUEST_FREE, REQUEST_QUEUED, REQUEST_FLYING, REQUEST_WANTED, REQUEST_FILLING,
		     REQUEST_LANDED, REQUEST_FAILED };

struct list {
	uint32_t head, tail;
};

struct job {
	uint64_t position, sample, epoch;
	uint64_t bytes; /* booked in the track's ahead_bytes; 0 once it is due */
	uint32_t feed, track, slot, row; /* slot NONE: read ahead */
	uint32_t next, prev;	    /* in the one list its state keeps it in */
	uint32_t next_ahead;
	uint32_t leader, first_rider, next_rider, n_riders, next_alike; /* leader NONE: none but itself */
	uint8_t state, attempt, n_pending;
	uint8_t n_deaths, n_overruns, n_read_errors, n_late, n_damaged;
	uint8_t own_cause; /* why the position's own sample is bad, or CAUSE_none */
	bool is_alone, is_large, is_masked, is_padded, is_cancelled;
	bool is_due;	 /* it has all its rows: nothing but reading and decoding lies before it */
	bool is_chained;
};

struct extent {
	uint64_t at;	  /* bytes from the request's start */
	uint32_t request; /* NONE: not attached */
	uint32_t n_bytes, size;
	uint32_t next, prev; /* of the same request */
};

struct request {
	uint64_t offset, deadline_ns;
	uint32_t n_bytes, feed, shard;
	uint32_t page, n_pages;
	uint32_t n_users, first_extent;
	uint32_t next; /* in the queue, in settling, among the wanted or in the free list */
	uint32_t unit; /* its number in the feed's samples; NONE: a read */
	uint32_t fill; /* of a filling unit, and of a piece of one */
	uint32_t newer, older; /* of a unit: by last use, in the feed's list */
	int error;     /* of a failed one; 0: the file has changed */
	uint8_t state;
	bool is_late;
	bool is_again; /* for what was damaged when it was read before */
};

/* A piece of a unit's compressed bytes: where in its request, and how far it has come. */
struct piece {
	uint32_t request, at, n_bytes;
	bool is_landed, is_in_hand;
};

enum fill_end { FILL_GOES_ON, FILL_AGAIN, FILL_DAMAGED, FILL_DEADLY, FILL_OVERRUN, FILL_READ_ERROR,
		FILL_READ_LATE, FILL_CHANGED };

struct fill {
	uint32_t request; /* the unit's; NONE: the fill is free */
	uint32_t worker;  /* NONE until the first piece is in hand */
	uint64_t n_asked; /* bytes of the unit read or being read */
	struct piece pieces[FILL_PIECES]; /* in order */
	uint32_t n_pieces, n_in_hand;
	uint8_t end; /* enum fill_end: what becomes of it when nothing is in hand any more */
	uint8_t n_deaths, n_overruns, n_damaged, n_read_errors, n_late;
	int error;
	char detail[TASK_DETAIL_MAX];
};

/* Where a batch begins: the order of batches. */
struct place {
	uint64_t epoch, position;
};

struct slot {
	uint64_t step;
	struct place place, after;
	uint64_t opened_ns, staged_ns, ready_ns; /* staged: the last of its rows so far */
	uint32_t causes[CAUSE_COUNT];
	uint32_t feed, track; /* track NONE: in the pool, or on its way there */
	uint32_t n_rows, n_filled, n_tasked, n_padded;
	uint32_t n_waiting; /* rows that are not due: they wait for other tracks' */
	uint32_t n_holders, n_quarantined; /* streams that may read it; of them those half dead, or without a lease */
	uint32_t next; /* batches of the track, oldest first */
	struct list staged;
	uint8_t state;
	bool is_draining, is_last;
};

struct cursor {
	struct pass pass;
	uint64_t epoch, step, row;
};

struct track {
	struct cursor open, read;
	struct list unread, unread_ahead; /* jobs by next */
	struct list ahead;		  /* jobs by next_ahead: made, without a slot yet */
	/* Slots by next, in the order of places without a gap: what was lent and is held by somebody still, for who
	 * joins late, then what is ready or filling. */
	struct list batches;
	uint64_t ahead_bytes;
	uint32_t feed, group, world, rank, batch; /* group NONE: of any group that shares the feed; batch: rows */
	uint32_t slots[CORE_STREAM_SLOTS_MAX];
	uint32_t n_slots;
	uint32_t first_follower; /* streams by next_follower; an unused track has none */
	bool is_used, is_shared;
};

/* A slot that a stream may read: lent, or, with lease 0, mapped by a trainer that is half dead or has failed. */
struct hold {
	uint64_t lease;
	uint32_t slot;
};

struct stream {
	struct place next; /* of the batch it is lent next */
	uint64_t pass_start, bad; /* where its pass in next.epoch began; the token's count */
	uint64_t n_due, n_bad, n_padded;
	uint64_t waits_ns[CORE_WAITS], lent_waits_ns[CORE_WAITS];
	uint64_t turn_ns; /* when it was lent to, released or sought last */
	uint64_t wait_ns; /* since when it has waited for what it waits for now */
	uint32_t feed, group, rank, credit, serial, batch; /* batch: rows */
	uint32_t replica; /* 0: not one of several */
	uint32_t track; /* NONE: it has left it */
	uint32_t next_follower;
	struct hold holds[CORE_STREAM_SLOTS_MAX];
	uint32_t n_holds, n_lent;
	int wait; /* enum core_wait now, -1 = none */
	bool is_used, is_detached, has_hung_up, has_exited, has_failed, is_empty_pass;
	bool maps_own; /* its track's slots are its own, mapped for writing */
};

struct group {
	char name[CORE_GROUP_MAX];
	uint32_t feed, world, local_world, generation, per_rank, number;
	struct place start; /* of its ranks that come without a token */
	bool is_used;
};

struct feed_state {
	struct core_feed feed;
	struct order_shards shards;
	struct order orders[EPOCHS_KEPT];
	bool has_order[EPOCHS_KEPT];
	uint64_t used_at[EPOCHS_KEPT];
	uint32_t first_slot;
	uint64_t ns_per_sample; /* moving average */
	uint64_t causes[CAUSE_COUNT], n_warnings;
	uint64_t n_batches, n_due, n_bad, n_padded; /* lent to anyone, ever */
	uint64_t n_made; /* rows made, ever */
	uint64_t waits_ns[CORE_WAITS];
	uint32_t *unit_requests; /* of each unit: its request, NONE, UNIT_DAMAGED or UNIT_DEADLY */
	struct pages inflated;	 /* zone of units */
	uint32_t newest, oldest; /* units in memory, by last use */
	uint32_t unit_starved;	 /* a job with a slot that found no room for its units: nobody else gets any */
};

struct hand {
	uint64_t id, deadline_ns;
	uint64_t cpu_began_ns; /* its worker's, when it was first seen on it; UINT64_MAX: not yet */
	uint32_t fill, piece; /* the task is this piece (a request) of it; NONE: rows of the slot */
	uint32_t slot, n_jobs, n_targets; /* targets: rows beside the jobs' own */
	bool has_large;
	uint32_t jobs[TASK_SAMPLES_MAX];
};

struct worker {
	bool is_up, is_killed, has_overrun;
	uint64_t cpu_ns; /* as last told */
	uint32_t n_hands;
	uint32_t fill;	/* the one unit it inflates, or NONE */
	bool had_piece; /* its last task was one: rows are next */
	struct hand hands[CORE_HAND]; /* oldest first */
};

struct candidate {
	uint64_t offset, end;
	uint32_t feed, shard, extent;
};

struct core {
	struct core_spec spec;
	unsigned n_working; /* workers that get tasks: the first so many */
	unsigned n_fields; /* most of any feed: extents a job has */
	uint64_t now_ns, next_lease, next_task, clock;
	uint64_t read_deadline_ns; /* no read is late before this; a lower bound while reads fly */
	struct feed_state *feeds;
	struct stream *streams;
	struct track *tracks; /* as many as streams */
	struct group *groups;
	struct slot *slots;
	struct job *jobs;
	struct extent *extents; /* n_jobs x n_fields */
	struct request *requests;
	struct worker *workers;
	uint64_t *page_words;
	struct pages must, ahead; /* zones of staging */
	struct pages pieces;	  /* the zone behind them; none without compressed shards */
	struct fill *fills;
	uint32_t *unit_requests; /* of all feeds */
	uint32_t n_fills;
	struct list wanted; /* units that no fill has taken up yet */
	uint32_t *chains; /* leaders that are not due, by next_alike */
	uint32_t n_chains; /* a power of two */
	struct candidate *candidates;
	struct core_action *actions;
	uint32_t n_actions, first_action;
	uint32_t n_slots, n_jobs, n_requests, n_groups_seen;
	uint32_t n_streams, n_tracks; /* the used ones are among the first so many */
	uint32_t free_job, free_request, n_free_requests;
	uint32_t n_ahead, n_flying, n_late;
	struct list queue; /* requests planned, not yet flying */
	struct list settling; /* requests failed or late, with jobs that have to be told */
	uint32_t ahead_again; /* free pages of the ahead zone with which reading ahead goes on */
	uint32_t starved; /* a job with a slot that found no room, or NONE */
	uint32_t due_turn, due_slot; /* the track whose rows are read first, while it is this batch's */
	struct list alone, large; /* jobs that go to a worker by themselves */
	uint32_t large_worker; /* who has the large scratch, or NONE */
	uint32_t turn;	       /* track whose turn it is, to be opened and read ahead for */
	uint32_t task_turn;    /* … to get a worker; it moves with every task */
	struct core_totals totals;
	bool is_dirty; /* there may be work to start */
};

/* core.c */
/* Pages of the zone that is kept for samples whose row has a slot; the rest is for reading ahead. */
uint32_t must_pages(const struct core_spec *spec);
/* Every event begins here: books the waits up to now. */
void core_begin(struct core *c, uint64_t now_ns);
struct core_action *action_add(struct core *c, enum core_action_kind kind, uint32_t stream);
static inline uint32_t actions_left(const struct core *c)
{
	return ACTIONS_ROOM - c->n_actions;
}
void job_push(struct core *c, struct list *l, uint32_t job);
void job_push_front(struct core *c, struct list *l, uint32_t job);
uint32_t job_pop(struct core *c, struct list *l);
void job_remove(struct core *c, struct list *l, uint32_t job);
const struct order *feed_order(struct core *c, uint32_t feed, uint64_t epoch);
static inline struct list list_empty(void)
{
	return (struct list){NONE, NONE};
}
/* Follows a track: wants batches. */
static inline bool is_live(const struct stream *s)
{
	return s->is_used && s->track != NONE;
}
static inline int place_compare(struct place a, struct place b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return a.position < b.position ? -1 : a.position > b.position;
}

/* jobs.c */
void job_free(struct core *c, uint32_t job);
uint32_t job_make(struct core *c, uint32_t track);
void job_drop_extents(struct core *c, uint32_t job);
/* It has its bytes, or needs none: on to a worker, when it has a slot. */
void job_staged(struct core *c, uint32_t job);
/* Its sample is bad: by policy a substitute, a masked row, or the failure of who wants it. */
void job_bad(struct core *c, uint32_t job, enum cause cause, const char *detail);
/* A cause of the machine, tried often enough: by `transient` a bad sample or that failure. */
void job_transient(struct core *c, uint32_t job, enum cause cause, int error);
void job_unread(struct core *c, uint32_t job);
/* It was damaged when first read, and then was not: somebody should look after that machine. */
void job_mended(struct core *c, uint32_t job);
/* What was read is not what the index says: they fail by the shard's name. */
void job_changed(struct core *c, uint32_t job);

/* teams.c */
/* A new job: rides on one of another track that is for the same position, if there is one. */
void team_join(struct core *c, uint32_t job);
/* The job's row got a slot: it, or the one it rides on, is due when that was the last. */
void team_check(struct core *c, uint32_t job);
/* Has every track that wants it a row for it? */
bool team_is_complete(const struct core *c, uint32_t job);
/* A track of this feed has gone elsewhere or ended: what waited for it waits no more. */
void team_check_all(struct core *c, uint32_t feed);
/* Before the job is freed. */
void team_leave(struct core *c, uint32_t job);
/* The leader's track wants it no more: it goes on for its first rider's, whose job is freed. is_listed: it is in the
 * list of its state. */
void team_hand_over(struct core *c, uint32_t job, bool is_listed);

/* reads.c */
void reads_plan(struct core *c);

/* candidates.c */
/* By place, in place. */
void candidates_sort(struct candidate *cands, uint32_t n);
/* How many candidates from the first on go into one request, which ends at *ret_end. */
uint32_t candidates_merge(const struct candidate *first, uint32_t n, uint32_t read_max, uint64_t *ret_end);
/* Where a request for all n ends. */
uint64_t candidates_end(const struct candidate *cands, uint32_t n);

/* landings.c: core_on_read, and */
/* Tells the jobs of failed and late reads, as far as the action queue has room. */
void reads_settle(struct core *c);
void reads_time(struct core *c);

/* requests.c */
/* is_due: for a row that somebody waits for, or soon given back. */
uint32_t request_get(struct core *c, bool is_due);
void request_free(struct core *c, uint32_t request);
/* One extent fewer uses it. */
void request_put(struct core *c, uint32_t request);
void request_attach(struct core *c, uint32_t request, uint32_t extent);
void request_push(struct core *c, struct list *l, uint32_t request);
uint32_t request_pop(struct core *c, struct list *l);
void request_remove(struct core *c, struct list *l, uint32_t request);

/* units.c */
/* Gives the job its units; false when there is no room for them now. Its sample may turn out to be bad. */
bool units_attach(struct core *c, uint32_t job);
/* The jobs that have starved for room, first of all. */
void units_feed_starved(struct core *c);
/* Frees the room of the oldest unit of any feed that nobody uses; false: there is none. */
bool units_evict(struct core *c);
/* Nobody uses it any more. */
void unit_idle(struct core *c, uint32_t request);
void unit_landed(struct core *c, uint32_t request);
/* Out of the feed's books, its memory too: what is wanted of it next begins anew. */
void unit_drop(struct core *c, uint32_t request, uint32_t instead);

/* fills.c */
/* Wanted units are taken up, and the next pieces of those taken up asked for. */
void fills_plan(struct core *c);
/* Bytes that this piece's read must bring. */
uint64_t fill_wants(const struct core *c, uint32_t request);
/* has_failed: error is its errno, or 0: the file is no longer that of the index. */
void fill_read_done(struct core *c, uint32_t request, bool has_failed, int error);
void fill_read_late(struct core *c, uint32_t request);
/* The next piece that this worker may take, or NONE; only of units that rows wait for. */
uint32_t fill_for(const struct core *c, uint32_t worker, bool is_due);
/* Puts it into the worker's hand; returns the piece's request. */
uint32_t fill_take(struct core *c, uint32_t fill, uint32_t worker);
void fill_answered(struct core *c, uint32_t fill, const struct answer_sample *said);
void fill_worker_dead(struct core *c, uint32_t fill, bool is_blamed, bool has_overrun);
/* Tells the job why its unit has failed. */
void fill_tell(struct core *c, uint32_t fill, uint32_t job);
void fill_free(struct core *c, uint32_t fill);
void fill_message(const struct core *c, const struct hand *h, struct task_inflate *ret);

/* tasks.c */
void tasks_dispatch(struct core *c);
void tasks_time(struct core *c);

/* batches.c */
/* Gives every free slot of the track its next batch. */
void batches_open(struct core *c, uint32_t track);
/* A worker gave back one row of the slot it may no longer write. */
void slot_untask(struct core *c, uint32_t slot);
/* Nobody holds it or writes it any more, and what was in it is over. */
bool slot_is_free(const struct slot *slot);

/* cursors.c */
void cursor_set(struct core *c, uint32_t track, struct cursor *cur, struct place at);
void cursor_next_batch(struct cursor *cur);
struct place cursor_place(const struct cursor *cur);
/* Of the batch that begins at that position: a resumed pass goes on counting. */
uint64_t step_at(const struct pass *pass, uint64_t position);

/* tracks.c */
/* A new track of so many slots, which nobody follows yet. */
uint32_t track_make(struct core *c, const struct track *like, uint32_t batch, uint32_t n_slots, struct place at);
void track_follow(struct core *c, uint32_t track, uint32_t stream);
/* The stream leaves the track it follows, which ends with its last follower. */
void track_leave(struct core *c, uint32_t stream);
/* Everything under way stops, slots that a worker is writing drain; it goes on at that place. */
void track_restart(struct core *c, uint32_t track, struct place at);
/* After the place of a follower has changed: drops the batches that nobody needs any more, and goes where they all
 * are. */
void track_retire(struct core *c, uint32_t track);
/* Every follower fails. */
void track_fail(struct core *c, uint32_t track, const struct core_action *what);
/* The batch of the track that begins there, or NONE. */
uint32_t track_find(const struct core *c, const struct track *t, struct place at);
/* Of the oldest batch that is still there, or else of the next one. */
struct place track_oldest(const struct core *c, const struct track *t);
bool place_is_needed(const struct core *c, const struct track *t, struct place at);

/* joining.c */
/* Which track the newcomer may follow, from a->epoch and position on: *ret is it, or NONE: it needs its own.
 * 0, or CORE_E_REFUSED. */
int join_find(struct core *c, const struct core_attach *a, uint32_t group, uint32_t *ret, struct reason *why);
/* Sets a->epoch and position to where it starts: its token's, or by a->start. 0, or CORE_E_REFUSED. */
int join_start(struct core *c, struct core_attach *a, uint32_t group, struct reason *why);
/* May this follower go there? 0, or CORE_E_REFUSED. */
int join_seek(const struct core *c, uint32_t stream, struct place to, uint32_t batch, struct reason *why);

/* groups.c */
uint32_t group_find(const struct core *c, uint32_t feed, const char *name);
uint32_t group_make(struct core *c, const struct core_attach *a);
/* Forgets it when it has no members. */
void group_put(struct core *c, uint32_t group);
/* Is the trainer of an older restart than the group? Of a newer one: those of older ones fail. 0, or CORE_E_REFUSED. */
int group_renew(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why);
/* Can this trainer be the rank that it says? 0, or CORE_E_REFUSED. */
int group_check(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why);
/* How many slots a newcomer's own track gets, or 0 with the reason. */
uint32_t group_share(struct core *c, const struct core_attach *a, uint32_t group, struct reason *why);
/* Rows of a rank's batches: those it asked for, or, where batch is 0, the feed's. */
uint32_t batch_rows(const struct core_feed *feed, uint32_t batch, uint32_t world);
int refuse_world(const struct core *c, const struct core_attach *a, struct reason *why);
int refuse_batch(const struct core_feed *feed, uint32_t world, uint64_t each, const char *cure, struct reason *why);

/* lending.c */
/* Lends the stream what is ready, as far as its credit goes; true if it got something. */
bool lend_to(struct core *c, uint32_t stream);
void lend_all(struct core *c);
/* Do those who share the track let go of this ready batch? */
bool may_lend(const struct core *c, const struct track *t, uint32_t slot);

/* slow.c */
/* When the next trainer is to be dropped that keeps others waiting, or UINT64_MAX. */
uint64_t slow_deadline(const struct core *c);
void slow_time(struct core *c);

/* streams.c */
void stream_fail(struct core *c, uint32_t stream, const struct core_action *what);
/* Where its group shares a pass the others are told that it is gone: they wait for it in collectives of their own. */
void tell_peers(struct core *c, const struct stream *gone);

#endif
