/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The simulator: src/core driven through schedules that a seed decides. A virtual clock, a disk, workers
 * and trainers (with their faults) make the events; an oracle that knows the order alone, and
 * nothing of the core's own books, judges every action.
 *
 * One thread, no real time, no files: the same seed gives the same run.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "core/core.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOBODY UINT32_MAX
#define NO_EPOCH UINT64_MAX

#define SIM_DETAIL "why" /* what workers say of a bad sample */

enum {
	SIM_FEEDS_MAX = 3,
	SIM_SHARDS_MAX = 8,
	SIM_SLOTS_MAX = 24, /* of a feed */
	SIM_ROWS_MAX = 48,
	SIM_WORKERS_MAX = 4,
	SIM_GROUPS_MAX = 4,
	SIM_TRAINERS_MAX = 24,
	SIM_REPLICAS_MAX = 3,
	SIM_STREAMS_MAX = 16,
	SIM_READS_MAX = 4096,
	SIM_FLYING_MAX = 4096,
	SIM_EVENTS_MAX = 8192,
	SIM_MESSAGE_MAX = 65536,
	SIM_MADE_MAX = 4096, /* a power of two */
	DAMAGED = 1000000, /* in unit_damage: for ever, not by a fault that was counted */
};

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* ---- faults ---- */

enum fault {
#define FAULT(name, what) FAULT_##name,
#include "faults.def"
#undef FAULT
	FAULTS
};

/* ---- the world: what the seed decided ---- */

struct world_feed {
	struct samples samples;
	struct sample_shard shards[SIM_SHARDS_MAX];
	uint64_t starts[SIM_SHARDS_MAX + 1];
	struct order_shards order_shards;
	struct order_mix mix; /* when the feed has several sources */
	uint32_t shares[SIM_SHARDS_MAX];
	size_t first_shards[SIM_SHARDS_MAX + 1];
	uint64_t salt;				      /* of its samples' fates */
	unsigned bad, poison, large;		      /* of 10,000 samples */
	uint32_t *n_errors, *n_late, *n_deaths, *n_overruns; /* faults injected, by sample */
	uint32_t *unit_errors, *unit_late, *unit_deaths, *unit_overruns, *unit_damage; /* by unit */
	/* Of a sample that was said to be damaged, or a unit: how often, and whether all its bytes were from past the
	 * page cache when last it was. */
	uint32_t *n_doubts;
	bool *is_certain, *is_unit_certain;
	uint64_t n_changes;			      /* injected */
};

/* How often faults come, of 10,000. */
struct odds {
	unsigned read_error, read_late, read_never, read_changed, read_short, read_damaged;
	unsigned die, hang, slow, lie, flaky;
	unsigned seek, detach, kill, stall, goodbye, flood;
};

struct world {
	struct core_spec spec;
	struct core_feed feeds[SIM_FEEDS_MAX];
	bool is_together[SIM_FEEDS_MAX]; /* groups of the feed are of one size, and start where the others are */
	struct world_feed more[SIM_FEEDS_MAX];
	struct odds odds;
	bool is_healthy;      /* nothing but trainers ever fails */
	bool may_set_bad;     /* how many bad samples are allowed changes on the way */
	bool is_company;      /* groups that share a pass, each with batches of its own */
	uint64_t wait_ns_max; /* for a batch in a healthy world: the time all rows there are take */
	uint64_t read_ns_max, task_ns_max, think_ns_max;
	unsigned check_every;
	bool is_cpu_told; /* the core hears how much CPU time workers have used */
};

/* ---- events ---- */

enum event_kind { EVENT_READ, EVENT_ANSWER, EVENT_DEAD, EVENT_UP, EVENT_TRAINER, EVENT_HANGUP, EVENT_EXIT,
		  EVENT_UNSEEN, EVENT_CPU };

struct event {
	uint64_t at, order; /* equal times go by order */
	enum event_kind kind;
	uint32_t who;
	uint64_t tag; /* of what it belongs to; a stale one is dropped */
};

struct events {
	struct event heap[SIM_EVENTS_MAX];
	unsigned n;
	uint64_t n_made;
};

/* ---- disk and staging ---- */

enum page_state { PAGE_EMPTY, PAGE_FLYING, PAGE_HELD };

struct page {
	enum page_state state;
	uint32_t feed, shard, unit;  /* NOBODY: read as it is in the file */
	uint64_t file_page, n_valid; /* which page of the file or of the unit, how many bytes of it */
	uint32_t n_readers;	     /* tasks in a hand that read it */
	uint64_t landed_ns;
	bool is_damaged, is_again; /* again: it was read past the page cache */
};

#define NO_PAGE UINT64_MAX

enum read_fate { READ_FINE, READ_ERROR, READ_SHORT, READ_EMPTY, READ_CHANGED };

struct flight {
	bool is_used;
	uint64_t tag;
	uint32_t feed, shard, n_bytes;
	uint64_t offset, into, deadline;
	enum read_fate fate;
	bool is_again;
	uint64_t damaged; /* which of its pages, or NO_PAGE */
};

/* ---- workers ---- */

/* A row that a task writes: its samples' own, each followed by those of its targets. */
struct sim_write {
	uint32_t feed, slot, row, sample; /* sample: its number in the task */
	uint64_t stamp;			  /* its course's disturbances when it was given out */
};

struct sim_task {
	struct task head;
	struct task_sample samples[TASK_SAMPLES_MAX];
	struct task_extent extents[TASK_SAMPLES_MAX * FIELDS_MAX];
	struct task_inflate inflate;
	struct sim_write writes[TASK_SAMPLES_MAX + TASK_TARGETS_MAX];
	unsigned n_writes;
};

enum worker_fate { WORKER_ANSWERS, WORKER_DIES, WORKER_HANGS, WORKER_LIES };

/* What a worker inflates. */
struct sim_inflation {
	bool is_active;
	uint32_t feed, unit;
	uint64_t into, n_taken; /* compressed bytes given to it */
	bool has_damage, is_again; /* some of them are damaged; all of them are from past the page cache */
};

struct sim_worker {
	/* doomed: its death is on the way; condemned: by the core, overrun: because it took too long */
	bool is_up, is_doomed, is_condemned, has_overrun;
	uint64_t incarnation, began_ns, answered; /* answered: the last task it told the truth about */
	/* Of its oldest task: the core was told of it, it uses CPU time, it has used too much; when it was last known to
	 * have used some (or begun), and up to when that is counted; cpu_ns: all its life, began: when first told. */
	bool is_watched, is_working, has_burnt;
	uint64_t moved_ns, counted_ns, cpu_ns, cpu_began_ns;
	unsigned n_tasks;
	enum worker_fate fate;
	uint32_t victim; /* DIES: of the head's samples */
	struct sim_task tasks[CORE_HAND];
	struct sim_inflation inflation;
};

/* ---- what the oracle knows ---- */

/* Where a batch begins. */
struct point {
	uint64_t epoch, position;
};

struct row {
	uint64_t position, sample, task, stamp; /* task: whose it is or was; stamp: as below */
	bool is_masked, is_done, is_in_hand;
	bool may_be_good, may_be_bad; /* both: the same sample once more, after a disturbance */
	bool is_blamed;	 /* a worker died on it: it goes alone until it is done or bad */
	unsigned n_doubts; /* how often its sample was said to be damaged */
	bool is_over;	 /* it is bad for good, and not to be made once more */
	unsigned counts; /* how many were bad before: a substitute may be the same sample again, and is not to blame */
};

struct oracle_slot {
	uint32_t course; /* or NOBODY: in the pool, or on its way there */
	bool has_batch;
	struct point point;
	uint64_t batch, stamp; /* rows of a batch; its course's disturbances when the first row began */
	uint64_t landed_ns, taken_ns, done_ns; /* the last bytes for it, task with a row of it, row of it */
	struct row rows[SIM_ROWS_MAX];
};

/* A position some of whose samples were bad; course: who was told so. */
struct blemish {
	struct point point;
	unsigned counts; /* bit n: n were bad, so far as one can know */
	uint64_t stamp;
	uint32_t course;
};

struct blemishes {
	struct blemish *all;
	unsigned n, n_room;
};

/* What the courses of one pass have in common: those of the feeds of one base, where that is shared. */
struct team {
	struct blemishes blemishes;
	struct point made[SIM_MADE_MAX]; /* positions that were made, found by a hash; epoch NO_EPOCH: none */
	struct point excused;		 /* what lies before it may be made once more */
};

/*
 * What some streams follow together, or one alone: batches made in order into slots of its own. A disturbance is
 * whatever may make the core begin anew somewhere: only then may a batch be made again, or dropped before all
 * have had it.
 */
struct course {
	bool is_used, is_shared, has_jumped; /* jumped: someone came ahead of where the others were */
	uint32_t feed, group, world, rank, n_slots;
	uint64_t batch, n_disturbances;
	uint32_t slots[CORE_STREAM_SLOTS_MAX];
	struct blemishes blemishes;
};

struct oracle_lease {
	uint64_t lease;
	uint32_t slot;
};

struct peer {
	uint32_t rank, replica;
};

struct oracle_stream {
	bool is_used, is_detached, has_hung_up, has_exited, has_failed;
	bool is_replaced; /* failed so, and not told yet */
	bool is_shared;
	uint32_t course; /* or NOBODY: it follows none any more */
	uint32_t trainer, feed, group, rank, replica, generation, credit, serial, n_slots, n_leased;
	uint32_t slots[CORE_STREAM_SLOTS_MAX]; /* mapped */
	struct oracle_lease leases[CORE_STREAM_SLOTS_MAX];
	struct pass pass; /* of the epoch being lent */
	uint64_t epoch, step, bad;
	bool must_end; /* the next word must be EPOCH_END */
	bool was_there, has_moved; /* when the faults stopped; since then */
	uint64_t tag;  /* of its hang-up and exit events */
	uint64_t attached_ns, hungry_ns, n_hungry_events, moved_ns;
	uint64_t lent_ns; /* when it was lent its last batch */
	uint64_t made_ns; /* when a worker last had a row of its next batch in hand */
	uint64_t n_due, n_bad, n_padded;
	uint64_t n_unsure; /* rows more that may have been bad, of the last batch of an epoch */
	struct peer peers[SIM_STREAMS_MAX]; /* died, and it has not been told */
	unsigned n_peers;
};

/* ---- trainers ---- */

struct held {
	uint64_t lease, epoch, position, bad; /* the token after it */
};

struct sim_group {
	uint32_t feed, world, local_world, generation;
	uint32_t number; /* the core's for it, while somebody is in it */
	char name[16];
	struct point start; /* of the first of its live members */
	uint64_t base_epoch, base_start; /* passes of base_epoch start at a multiple of G from there */
};

struct trainer {
	uint32_t group, rank, replica, stream; /* replica: as in core_attach; stream NOBODY: away */
	uint64_t incarnation;
	bool is_leaving; /* it said goodbye and still holds batches */
	struct held inbox[CORE_STREAM_SLOTS_MAX], hands[CORE_STREAM_SLOTS_MAX];
	unsigned n_inbox, n_hands;
	uint64_t epoch, position, bad; /* its token */
	bool has_token;
	uint64_t released; /* the last lease that it gave back */
	uint32_t batch; /* rows it has asked for; 0: as configured */
};

struct sim {
	uint64_t busy_ns; /* when anything last was on its way to a batch */
	const uint8_t *tape; /* decides instead of the seed, as long as it lasts (tests/fuzz/fuzz-core.c) */
	size_t n_tape;
	uint64_t seed, random, now, told_ns, n_events, tag; /* told: when the core last was told of anything */
	struct world world;
	struct core *core;
	struct events events;
	struct page *pages;
	uint32_t n_pages, n_read_pages, n_flying, n_large; /* read: those that reads go into come first */
	uint32_t n_idle_workers; /* the last so many get no tasks, as after a reload */
	struct flight flights[SIM_READS_MAX];
	uint32_t flying[SIM_FLYING_MAX];
	struct sim_worker workers[SIM_WORKERS_MAX];
	struct oracle_slot slots[SIM_FEEDS_MAX][SIM_SLOTS_MAX];
	struct oracle_stream streams[SIM_STREAMS_MAX];
	struct course courses[SIM_STREAMS_MAX];
	struct team teams[SIM_FEEDS_MAX]; /* by base */
	bool is_disturbed[SIM_FEEDS_MAX]; /* something was made in vain, maybe */
	uint64_t n_made[SIM_FEEDS_MAX];	  /* rows that workers said are done */
	uint64_t n_warnings[SIM_FEEDS_MAX]; /* that their decoders gave */
	uint64_t n_told[SIM_FEEDS_MAX][CAUSE_COUNT]; /* bad samples, by base */
	uint64_t n_reads, read_bytes, n_tasks, n_task_samples; /* asked for, ever */
	uint32_t n_numbers; /* of groups: above all that were given */
	uint64_t n_inflated, inflated_bytes; /* units, whole */
	uint64_t n_mends_least; /* rows made good of what was damaged when it was first read */
	uint64_t n_mends_due;	/* of those, the ones that the answer at hand speaks of */
	uint64_t n_batches[SIM_FEEDS_MAX], n_due[SIM_FEEDS_MAX], n_padded[SIM_FEEDS_MAX]; /* lent */
	struct sim_group groups[SIM_GROUPS_MAX];
	struct trainer trainers[SIM_TRAINERS_MAX];
	unsigned n_groups, n_trainers;
	uint32_t coming; /* group of the trainer that comes now, or NOBODY */
	bool is_calm; /* faults have stopped */
	bool was_busy;
	bool is_ending, is_verbose;
	bool is_late_lending; /* in this event a batch without rows was lent */
	uint64_t n_begun;     /* reads and tasks */
	uint64_t n_faults[FAULTS];
	uint64_t n_lent, n_rows, n_bads, n_fails, n_refused, n_gone, n_shared, n_evicted, n_peers, n_riders, n_mended, worst_wait_ns, worst_wait_events;
};

/* sim.c */
_Noreturn void sim_fail(const struct sim *s, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The time now, about to be told to the core. */
uint64_t sim_tells(struct sim *s);
/* Takes the core's actions, and looks at what they have come to. */
void sim_settle(struct sim *s);
uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);		     /* [0, n) */
uint64_t sim_between(struct sim *s, uint64_t a, uint64_t b); /* [a, b] */
bool sim_odds(struct sim *s, unsigned of_10000);
/* It happens now, and is counted. */
void sim_fault(struct sim *s, enum fault fault);
void sim_later(struct sim *s, uint64_t in_ns, enum event_kind kind, uint32_t who, uint64_t tag);
#define SIM_CHECK(s, what, ...)                                                                    \
	do {                                                                                       \
		if (!(what))                                                                       \
			sim_fail(s, __FILE__ ": " #what, __VA_ARGS__);                             \
	} while (0)

/* show.c */
void sim_show(const struct sim *s);

/* memory.c */
/* Allocations not freed yet. */
uint64_t memory_live(void);
/* Bytes that malloc and calloc have ever been asked for. */
uint64_t memory_asked(void);

/* world.c */
void world_make(struct sim *s);
void world_free(struct sim *s);
/* The feed whose samples it has. */
uint32_t world_base(const struct sim *s, uint32_t feed);
bool world_has_views(const struct sim *s);
/* What a worker finds in a sample, the same whenever it looks. */
enum cause world_cause(const struct sim *s, uint32_t feed, uint64_t sample);
bool world_is_poison(const struct sim *s, uint32_t feed, uint64_t sample);
bool world_is_large(const struct sim *s, uint32_t feed, uint64_t sample);

/* disk.c */
void disk_read(struct sim *s, const struct core_action *a);
void disk_done(struct sim *s, uint32_t request, uint64_t tag);
/* No read in flight whose deadline the core has forgotten. */
void disk_judge(const struct sim *s);
/* The extent is in staging, whole and of the file it should be of. */
/* Are any of the sample's bytes damaged? Were all of them read past the page cache? */
bool disk_is_damaged(const struct sim *s, const struct sim_task *t, uint32_t sample, bool *ret_is_again);
void disk_pin(struct sim *s, const struct sim_task *t);
void disk_unpin(struct sim *s, const struct sim_task *t);

/* packing.c */
/* Cuts a shard that is laid out into units, with the fields' extents in mind. */
void packing_cut(struct sim *s, struct samples *samples, size_t shard);
void packing_count(struct samples *samples);
/* Has a unit of the sample had that many of these faults? */
bool packing_is_plain(const struct sim *s, uint32_t feed, uint64_t sample);
bool packing_is_certain(const struct sim *s, uint32_t feed, uint64_t sample);
bool packing_has(const struct sim *s, uint32_t feed, uint64_t sample, const uint32_t *by_unit, uint32_t least);
void packing_charge(struct sim *s, const struct flight *f, bool is_late);
void inflate_take(struct sim *s, uint32_t worker, const struct sim_task *t);
void inflate_over(struct sim *s, uint32_t worker, const struct sim_task *t, bool is_done);
void inflate_answer(struct sim *s, const struct sim_task *t, const struct sim_inflation *state, struct answer_sample *ret);

/* crew.c */
void crew_take(struct sim *s, const struct core_action *a);
void crew_kill(struct sim *s, uint32_t worker);
void crew_answer(struct sim *s, uint32_t worker, uint64_t tag);
void crew_dead(struct sim *s, uint32_t worker, uint64_t tag);
void crew_up(struct sim *s, uint32_t worker);
bool crew_is_idle(const struct sim *s);

/* clocks.c */
/* The worker begins its oldest task. */
void clock_begin(struct sim *s, uint32_t worker);
void clock_told(struct sim *s, uint32_t worker, uint64_t task);
void clock_judge_kill(const struct sim *s, uint32_t worker);
void clock_judge(const struct sim *s);

/* oracle.c */
void oracle_attached(struct sim *s, uint32_t stream, uint32_t trainer, const struct core_attach *a);
void oracle_start(struct sim *s, uint32_t stream, uint32_t batch, uint64_t epoch, uint64_t position, uint64_t bad);
/* is_idle: the worker has nothing else in hand. */
void oracle_task(struct sim *s, struct sim_task *t, bool is_idle);
/* A worker died on it. */
/* The sample is bad, so a worker says; is_final: reading it once more does not help. */
void oracle_doubt(struct sim *s, const struct sim_task *t, uint32_t sample, bool is_final);
void oracle_blame(struct sim *s, const struct sim_task *t);
/* The task is out of the worker's hand; each of its rows is done where is_done says so. */
void oracle_task_over(struct sim *s, const struct sim_task *t, const bool *is_done);
void oracle_released(struct sim *s, uint32_t stream, uint64_t lease);
bool oracle_is_live(const struct oracle_stream *o);
/* Live, and of that group; a group without a name is another one for whoever comes. */
bool oracle_is_member(const struct sim *s, const struct oracle_stream *o, uint32_t group);
/* Of the next batch that it is to be lent. */
struct point oracle_point(const struct oracle_stream *o);

/* holders.c */
struct holders {
	uint32_t n, n_quarantined, n_leases; /* quarantined: half dead, or without a lease */
};

/* Who may read the slot. */
struct holders holders_of(const struct sim *s, uint32_t feed, uint32_t slot);
/* May any worker write it now? Older: what was given out up to this stamp counts alone. */
uint32_t holders_writers(const struct sim *s, uint32_t feed, uint32_t slot, uint64_t stamp);
/* All at both ends of its life. */
bool holders_is_gone(const struct oracle_stream *o);

/* courses.c */
int point_compare(struct point a, struct point b);
/* The stream's slots say which course it follows: a new one, or one that is there. */
void course_join(struct sim *s, uint32_t stream, const struct core_attach *a);
/* The core goes along. */
void course_sought(struct sim *s, uint32_t stream, const struct core_seek *to);
/* It is about to be no more live. */
void course_leave(struct sim *s, uint32_t stream);
void course_disturb(struct sim *s, struct course *c);
bool course_is_followed(const struct sim *s, const struct course *c, const struct oracle_stream *o);
/* Of its live followers but `except`; false: there is none. */
bool course_least(const struct sim *s, const struct course *c, uint32_t except, struct point *ret);
bool course_most(const struct sim *s, const struct course *c, uint32_t except, struct point *ret);
/* How many batches lie between. */
uint64_t course_distance(const struct sim *s, const struct course *c, struct point from, struct point to);
/* The slot whose content is this batch, or NULL; from where the last search ended (NULL: the first). */
struct oracle_slot *course_find(struct sim *s, const struct course *c, struct point at, const struct oracle_slot *after);

/* teams.c */
/* Do they share the pass, each in slots of its own? */
bool team_is_of(const struct sim *s, const struct course *c, uint32_t feed);
/* Does the other stream take part in what this one does? */
bool team_has(const struct sim *s, const struct oracle_stream *o, const struct oracle_stream *other);
/* Is there another course that takes part in the pass? */
bool team_is_company(const struct sim *s, const struct course *c);
/* Of its live streams; false: there is none. */
bool team_least(const struct sim *s, uint32_t feed, struct point *ret);
/* Can each course go on, if only what it has asked for comes? */
bool team_moves(const struct sim *s, const struct oracle_stream *o);
/* Somebody comes, or begins anew: what was about to be made for others may be made again for it. */
void team_upset(struct sim *s, const struct course *c);
/* The first of the pass has come. */
void team_begin(struct sim *s, uint32_t feed);
/* Someone's row of that position is made. */
void team_made(struct sim *s, uint32_t feed, struct point at);

/* blemishes.c */
/* How often the position's samples have been bad, as a set of bits; 1: never. */
unsigned blemish_counts(const struct sim *s, const struct course *c, struct point at);
/* It has turned out that only these can be. */
void blemish_settle(struct sim *s, struct course *c, struct point at, unsigned counts);
/* Forgets those of batches that all have had. */
void blemishes_forget(struct sim *s, struct course *c);
/* The course is over: what it was told stands for those it shared rows with. */
void blemishes_bequeath(struct sim *s, uint32_t course);
void judge_bad(struct sim *s, const struct core_action *a);
bool blemish_is_cause_real(const struct sim *s, uint32_t feed, uint64_t sample, enum cause cause);
bool blemish_is_transient(enum cause cause);
/* The sample that the order names for the position, its n-th substitute for n > 0. */
uint64_t expected_sample(const struct sim *s, uint32_t feed, struct point at, unsigned n);

/* failures.c */
void judge_fail(struct sim *s, const struct core_action *a);
/* May the stream have a batch with so many bad rows? At least, for the limit counts the replicas of a rank once. */
uint64_t limit_least(const struct sim *s, const struct oracle_stream *o, uint64_t bad_here, uint64_t *ret_allowed);
/* Bad rows of the slot: at least, at most. */
void slot_bad(const struct oracle_slot *slot, uint64_t n_rows, uint64_t *ret_least, uint64_t *ret_most);

/* judge.c */
void judge_action(struct sim *s, const struct core_action *a);

/* audit.c */
void judge_state(struct sim *s);
/* Has everyone who was there when the faults stopped got a batch since, or the one that it waits for? */
bool judge_calm(const struct sim *s);
void judge_end(struct sim *s);

/* entry.c */
bool entry_is_impossible(const struct sim *s, const struct sim_group *g);
bool entry_is_pool_rich(const struct sim *s, const struct sim_group *g);
/* Before the newcomer (NOBODY: it was refused) is in the oracle's books. A refusal is right, or wrong, or up to the
 * core. */
void judge_attach(struct sim *s, uint32_t trainer, const struct core_attach *a, uint32_t stream, bool was_rich,
		  const struct reason *why);
void judge_seek(struct sim *s, uint32_t stream, const struct core_seek *to, bool is_accepted, const struct reason *why);

/* trainers.c */
void trainers_make(struct sim *s);
void trainer_tick(struct sim *s, uint32_t trainer, uint64_t tag);
void trainer_lent(struct sim *s, uint32_t trainer, const struct core_action *a);
/* Others of its group have to hear that it is gone. */
void trainer_mourned(struct sim *s, uint32_t stream);
/* The one or the other signal of a death. */
void trainer_hangup(struct sim *s, uint32_t stream, uint64_t tag);
void trainer_exit(struct sim *s, uint32_t stream, uint64_t tag);
/* A trainer that said goodbye tells which batches never reached it. */
void trainer_unseen(struct sim *s, uint32_t stream, uint64_t tag);
/* From now on they take and release what they get, also who has stalled. */
void trainers_calm(struct sim *s);
/* All die soon, and nobody comes any more. */
void trainers_end(struct sim *s);

#endif
