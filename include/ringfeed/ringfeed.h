/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libringfeed: borrow finished batches from a ringfeed daemon.
 *
 * A session is one trainer's place (its rank) in the passes over one feed. Batches lie in shared
 * memory and are lent, not copied: rf_session_next() borrows one, rf_batch_release() gives it back.
 *
 * The library has no global state, starts no threads, installs no signal handlers, never prints,
 * aborts or exits, and needs libc alone. Every wait has a deadline. Functions return 0 (or a count)
 * or -errno; rf_session_error() and struct rf_error say by name and in a sentence what was wrong.
 *
 * Misuse has a name each: -EBUSY "Busy" (two threads in one session), -EBADF "Closed" (a session
 * used after rf_session_close() while batches of it are still held), -EALREADY "Released" (a batch
 * used after its release; recognised until 1,000 more batches were lent or the session is gone),
 * -EOWNERDEAD "Forked".
 */
#ifndef RINGFEED_RINGFEED_H
#define RINGFEED_RINGFEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RF_API __attribute__((visibility("default")))

struct rf_session;
struct rf_batch;

/* What went wrong, for people; name is the exception's name in Python ("DaemonGone"). */
struct rf_error {
	char name[32];
	char text[600];
};

/* Where a session without a token begins in a pass that groups share and that is under way. Elsewhere: at the start of
 * epoch 0. */
enum rf_start { RF_START_NOW, RF_START_NEXT_EPOCH };

/* Set size to sizeof(struct rf_options) and the rest to zero; then what differs. Texts are copied. */
struct rf_options {
	size_t size;
	const char *feed;   /* required */
	const char *socket; /* NULL: RINGFEED_SOCKET, else the default path (proto/protocol.md) */
	const char *group;  /* NULL: the launcher's (proto/protocol.md); a trainer alone: its own */
	const char *token;  /* NULL: as start says; else what rf_session_token() gave */
	int has_rank;	    /* 0: rank, world_size and local_world_size come from the environment */
	int rank, world_size, local_world_size; /* local_world_size 0: as the environment says, or all */
	int credit;	    /* most batches lent at once, held or sent ahead; 0: one per slot */
	int timeout_ms;	    /* longest wait of one call; 0: 60 s */
	int reconnect_ms;   /* how long a lost daemon is tried (not there yet at open: 5 s at most); 0: once */
	int is_deferred;    /* 1: rf_session_open() only checks; rf_session_reconnect() attaches */
	int pin;	    /* 1: page-lock the slots for CUDA, if that can be; rf_session_pinned() says */
	int has_replica;    /* 0: RINGFEED_REPLICA, else there is one trainer of this rank */
	uint32_t replica;   /* trainers of one rank with a number each, from 0, get the same batches from the same memory */
	int start;	    /* enum rf_start */
};

/* A trainer of the group. */
struct rf_peer {
	uint32_t rank, replica;
};

/* One field of a batch: a C-contiguous array in the slot. */
struct rf_array {
	void *data;	   /* inside the slot; valid until the batch is released */
	const char *dtype; /* NumPy's name: "uint8", "float32", "int64" …; "bfloat16" is ml_dtypes' */
	size_t n_bytes;	   /* of the whole array */
	int n_dims;	   /* shape[0] is the number of samples */
	int64_t shape[8];
};

/* What the rows of a field are. RF_BYTES and RF_TEXT (UTF-8) have different lengths; their array is uint8 of shape
 * {n, max}, and zeros fill each row behind its own bytes. */
enum rf_kind { RF_ARRAY, RF_BYTES, RF_TEXT };

/* Where an array lies in every slot of a session. */
struct rf_column {
	const char *name, *dtype;
	size_t at;	  /* bytes from the slot's start */
	int n_dims;	  /* of one row; 0: a number a row */
	int64_t shape[7]; /* of one row */
};

/* A lent batch as a whole. */
struct rf_view {
	void *base; /* valid until the batch is released */
	size_t n_bytes;
	int64_t n_rows, epoch, step;
};

/* What made a batch wait before it was full, in nanoseconds, as the daemon saw it. */
struct rf_waits {
	uint64_t read_ns, decode_ns, slots_ns, trainer_ns;
};

/**
 * The version of the library, "0.1.0".
 *
 * @return a text that stays valid; never NULL
 *
 * Threads: any.
 * Blocks:  no.
 * Fork:    may be called in the child.
 * Since:   0.1
 */
RF_API const char *rf_version(void);

/**
 * Take a place in a feed: connect, attach, map the slots.
 *
 * @param options      What to attach to; used, not kept. Unset values come from the environment.
 * @param ret_session  Set on success, untouched on failure. Yours until rf_session_close().
 * @param ret_error    May be NULL; filled on failure.
 *
 * @return 0             the session is open
 *         -EINVAL       an option or the environment is malformed or contradictory ("BadConfig"),
 *                       the token is not one of this dataset and order ("TokenError"), or a
 *                       pointer is NULL
 *         -ECONNRESET   no daemon answers at the socket ("DaemonGone"); start one
 *         -EACCES       the daemon refused: no such feed, rank and replica taken, … ("Refused")
 *         -EPROTONOSUPPORT  versions differ; the text names both ("VersionMismatch")
 *         -EPROTO       the daemon talks nonsense ("ProtocolError")
 *         other -errno  the machine refused memory, mappings or descriptors ("SystemError")
 *
 * Threads: any; sessions are independent.
 * Blocks:  up to reconnect_ms, at most 5 s, for a daemon, then up to timeout_ms for its answer; not at all with
 *          is_deferred.
 * Fork:    the session belongs to the calling process alone.
 * Since:   0.1
 */
RF_API int rf_session_open(const struct rf_options *options, struct rf_session **ret_session,
			   struct rf_error *ret_error);

/**
 * Wait for the next full batch and borrow it.
 *
 * The batch already lies in shared memory; nothing is copied. Batches come in the order that
 * proto/order.md fixes, also after a reconnect. Where reconnect_ms was set, a lost daemon is looked
 * for again during this call and the ones after it.
 *
 * @param s           Open session; used, not taken.
 * @param timeout_ms  Longest wait in milliseconds: 0 polls, -1 takes the session's own limit.
 * @param ret_batch   Set on success, untouched on failure. Yours until rf_batch_release(); until
 *                    then its bytes stay mapped and do not change, even if the daemon dies.
 *
 * @return 0             a batch was lent
 *         -ENODATA      the epoch is over, not a fault; the next call goes on with the next epoch
 *         -ETIMEDOUT    nothing became ready within timeout_ms; may be called again
 *         -ENOBUFS      you hold every batch you may hold ("TooManyHeld"); release one first
 *         -EPIPE        a trainer of the group has died where groups share a pass ("PeerGone"): once for each
 *                       death, in its place among the batches; rf_session_gone_peer() tells which one, and
 *                       the next call goes on
 *         -ECANCELED    this trainer kept the others of a shared pass waiting for longer than the feed's
 *                       slow: evict allows ("Evicted"); the session is over
 *         -ECONNRESET   the daemon is gone; rf_session_reconnect() or close
 *         -EOWNERDEAD   the session was opened before a fork
 *         -EBUSY        another thread is inside a call on this session
 *         -EINVAL       s or ret_batch is NULL, or timeout_ms < -1
 *         other -errno  the session is over; rf_session_error() says why
 *
 * Threads: one caller at a time per session; sessions are independent.
 * Blocks:  up to timeout_ms; signals do not cut the wait short.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_next(struct rf_session *s, int timeout_ms, struct rf_batch **ret_batch);

/**
 * Go on at the start of another epoch.
 *
 * Nothing happens where the session already stands in that epoch and has returned no batch of its
 * pass yet: after a token of that epoch was loaded, or after the epoch before it ended. Batches
 * that are held stay lent.
 *
 * @param s           Open session; used, not taken.
 * @param epoch       Any epoch up to INT64_MAX, also an earlier one.
 * @param timeout_ms  Longest wait in milliseconds; -1 takes the session's own limit.
 *
 * @return 0             the next batch is the first of that epoch
 *         -ETIMEDOUT    not confirmed in time; call again with the same epoch to go on waiting
 *         -ECONNRESET, -EOWNERDEAD, -EBUSY, -EINVAL, other  as rf_session_next()
 *
 * Threads: one caller at a time per session.
 * Blocks:  up to timeout_ms.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_set_epoch(struct rf_session *s, uint64_t epoch, int timeout_ms);

/**
 * Go on where a token says.
 *
 * @param s           Open session; used, not taken.
 * @param token       What rf_session_token() gave, here or elsewhere; copied.
 * @param timeout_ms  Longest wait in milliseconds; -1 takes the session's own limit.
 *
 * @return 0             the next batch is the one after the token
 *         -ETIMEDOUT    not confirmed in time; call again with the same token to go on waiting
 *         -EINVAL       the token is not one of this dataset and order ("TokenError"), and the
 *                       session is over; or s or token is NULL
 *         -ECONNRESET, -EOWNERDEAD, -EBUSY, other  as rf_session_next()
 *
 * Threads: one caller at a time per session.
 * Blocks:  up to timeout_ms.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_load_token(struct rf_session *s, const char *token, int timeout_ms);

/**
 * Go on with batches of another size, from the next one on.
 *
 * For a trainer that fits its batch to free memory. The place does not change: the next batch begins
 * behind the last one that rf_session_next() returned, and tokens stay exact. Batches that were made
 * ahead in the old size are made again. All ranks of a group have to call it between the same two
 * batches, with the same size. A daemon that comes back goes on with it; a token does not say it.
 * rf_session_n_batches() is then what this pass comes to.
 *
 * @param s           Open session; used, not taken.
 * @param size        Rows of this rank's batches, 1 to those that a slot was made for: batch.size of the
 *                    configuration, or batch.global / batch.ranks.
 * @param timeout_ms  Longest wait in milliseconds; -1 takes the session's own limit.
 *
 * @return 0             the next batch has that size
 *         -ETIMEDOUT    not confirmed in time; call again with the same size to go on waiting
 *         -EINVAL       the slots do not hold so many ("BadConfig"); or s is NULL, or size is 0
 *         -ECONNRESET, -EOWNERDEAD, -EBUSY, other  as rf_session_next()
 *
 * Threads: one caller at a time per session.
 * Blocks:  up to timeout_ms.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_set_batch_size(struct rf_session *s, uint32_t size, int timeout_ms);

/**
 * Where the run is: the state after the last batch that rf_session_next() returned.
 *
 * @param s       Open session; used, not taken.
 * @param text    Filled with a zero-ended text of at most 512 bytes; yours.
 * @param n_text  Room in text, 513 or more.
 *
 * @return the length of the text, or
 *         -ENOSPC       n_text is too small
 *         -ENODATA      a deferred session has not attached yet
 *         -EOWNERDEAD, -EBADF, -EINVAL  as above
 *
 * Threads: any, at any time, also while another thread is in rf_session_next().
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_token(const struct rf_session *s, char *text, size_t n_text);

/**
 * Attach again, with the token of the last batch returned.
 *
 * For a session whose daemon was lost, one that is over, or a deferred one. Where an attempt is
 * already under way it goes on. Old slots that are not held are unmapped first.
 *
 * @param s           Open session; used, not taken.
 * @param timeout_ms  Longest wait in milliseconds; -1 takes the session's own limit.
 *
 * @return 0             attached (or it was all along)
 *         -ETIMEDOUT    not yet; call again to go on
 *         other         as rf_session_open()
 *
 * Threads: one caller at a time per session.
 * Blocks:  up to timeout_ms.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_reconnect(struct rf_session *s, int timeout_ms);

/**
 * Who died, when rf_session_next() answered -EPIPE.
 *
 * @param s         Open session; used, not taken.
 * @param ret_peer  Set on success: of the last -EPIPE.
 *
 * @return 0             set
 *         -ENODATA      nobody that rf_session_next() has told of
 *         -EOWNERDEAD, -EBADF, -EINVAL  as above
 *
 * Threads: the thread that made the call.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_gone_peer(const struct rf_session *s, struct rf_peer *ret_peer);

/**
 * Do other trainers read the same memory? Then it is mapped read-only here: writing there is a fault (SIGSEGV), and
 * who wants to write takes a copy.
 *
 * So it is in every session of a feed whose groups share a pass, and in every one that has named its replica; and in
 * all of a daemon whose daemon.sealed is true, which lets nobody write its slots.
 *
 * @return 1 or 0, or -ENODATA (a deferred session has not attached yet), -EOWNERDEAD, -EBADF, -EINVAL
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_shared(const struct rf_session *s);

/**
 * What the last failed call on this session says, by name and in a sentence.
 *
 * @param s  Open session; used, not taken.
 *
 * @return never NULL; belongs to the session and holds until the next call on it
 *
 * Threads: the thread that made the call.
 * Blocks:  no.
 * Fork:    may be called in the child; says "Forked".
 * Since:   0.1
 */
RF_API const struct rf_error *rf_session_error(const struct rf_session *s);

/**
 * Are the slots page-locked for CUDA, and if not, why?
 *
 * With `pin` in the options every attach, also one after a lost daemon, registers all slots or none
 * with libcuda.so.1 for every context of the process; copies out of a batch then overlap with work
 * on the GPU. It uses the context that is current in the attaching thread, else an active primary
 * context, and never makes one. Not being able to pin is no failure: this function says so.
 * Registered memory is unregistered before it is unmapped: at rf_session_close(), after a lost
 * daemon, or with the release of the last batch that is held beyond those. Before that, wait for
 * the copies that read from it; and do not release a batch that is still being copied.
 *
 * @param s       Open session; used, not taken.
 * @param text    Filled with why not, as a zero-ended sentence, cut to fit; empty where pinned.
 *                May be NULL with n_text 0; yours.
 * @param n_text  Room in text; 600 hold every sentence.
 *
 * @return 1             every slot is pinned
 *         0             none is; text says why
 *         -ENODATA      a deferred session has not attached yet
 *         -EOWNERDEAD, -EBADF, -EINVAL  as above
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened; the library makes no CUDA call there.
 * Since:   0.1
 */
RF_API int rf_session_pinned(const struct rf_session *s, char *text, size_t n_text);

/**
 * Batches of the current pass: the length of an iterator that starts now or has started.
 *
 * @return the number, or -ENODATA (a deferred session has not attached yet), -EOWNERDEAD, -EBADF,
 *         -EINVAL
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int64_t rf_session_n_batches(const struct rf_session *s);
/** Samples of the whole feed; else as rf_session_n_batches(). */
RF_API int64_t rf_session_n_samples(const struct rf_session *s);
/** Epoch of the pass that the next batch belongs to; else as rf_session_n_batches(). */
RF_API int64_t rf_session_epoch(const struct rf_session *s);
/** Batches of the current pass that were returned; else as rf_session_n_batches(). */
RF_API int64_t rf_session_n_returned(const struct rf_session *s);
/** Fields of a batch; else as rf_session_n_batches(). */
RF_API int rf_session_n_fields(const struct rf_session *s);
/** Nanoseconds that rf_session_next() has waited so far; else as rf_session_n_batches(). */
RF_API int64_t rf_session_wait_ns(const struct rf_session *s);

/**
 * Name of a field.
 *
 * @param s  Open session; used, not taken.
 * @param i  0 … rf_session_n_fields() - 1.
 *
 * @return the name, valid until the session is closed; NULL when there is no such field
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened (NULL).
 * Since:   0.1
 */
RF_API const char *rf_session_field_name(const struct rf_session *s, int i);

/**
 * Where an array lies in every batch of the session, for bindings that make their own array objects.
 *
 * @param s           Open session; used, not taken.
 * @param i           0 … rf_session_n_fields() - 1 for the fields, then three more: index, position
 *                    and valid.
 * @param ret_column  Set on success; its texts hold until the session is closed.
 *
 * @return 0          done
 *         -ENOENT    there is no column i
 *         -ENODATA, -EOWNERDEAD, -EBADF, -EINVAL  as rf_session_n_batches()
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_column(const struct rf_session *s, int i, struct rf_column *ret_column);

/**
 * What the rows of a field are, and where their lengths lie when they have different ones.
 *
 * @param s            Open session; used, not taken.
 * @param i            0 … rf_session_n_fields() - 1.
 * @param ret_lengths  Set for RF_BYTES and RF_TEXT: int64, a number a row, named as the field.
 *
 * @return RF_ARRAY, RF_BYTES or RF_TEXT
 *         -ENOENT    there is no field i
 *         -ENODATA, -EOWNERDEAD, -EBADF, -EINVAL  as rf_session_n_batches()
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a session its parent opened.
 * Since:   0.1
 */
RF_API int rf_session_lengths(const struct rf_session *s, int i, struct rf_column *ret_lengths);

/**
 * Leave the feed.
 *
 * Batches that are still held stay lent and mapped until they are released; the rest of the session
 * goes with the last of them. The rank is free for another trainer at once.
 *
 * @param s  Session, or NULL; taken.
 *
 * @return NULL, or s itself, still open, when another thread is inside a call on it
 *
 * Threads: one caller at a time per session.
 * Blocks:  no.
 * Fork:    does nothing in the child.
 * Since:   0.1
 */
RF_API struct rf_session *rf_session_close(struct rf_session *s);

/**
 * One field of a batch.
 *
 * @param b          Held batch; used, not taken.
 * @param name       Name of the field.
 * @param ret_array  Filled on success; data points into the slot and may be written, unless
 *                   rf_session_shared().
 *
 * @return 0             filled
 *         -ENOENT       the feed has no such field
 *         -EALREADY     the batch was released
 *         -EOWNERDEAD, -EINVAL  as above
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed.
 * Since:   0.1
 */
RF_API int rf_batch_array(const struct rf_batch *b, const char *name, struct rf_array *ret_array);

/**
 * How many bytes each row of a field with bytes or text has.
 *
 * @param b     Held batch; used, not taken.
 * @param name  Name of the field.
 *
 * @return one number a row, inside the slot, each at most the array's shape[1]; NULL when the field has no rows of
 *         different length, or the batch is not held
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed (NULL).
 * Since:   0.1
 */
RF_API const int64_t *rf_batch_lengths(const struct rf_batch *b, const char *name);

/**
 * The samples' numbers in the dataset (shards in listed order), one int64 a row.
 *
 * @return rf_batch_n_rows() values, valid until the release; NULL for a batch that is not held
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed (NULL).
 * Since:   0.1
 */
RF_API const int64_t *rf_batch_index(const struct rf_batch *b);
/** The rows' positions in the epoch (proto/order.md); else as rf_batch_index(). */
RF_API const int64_t *rf_batch_position(const struct rf_batch *b);
/** 1 where the row is a sample, 0 where it pads or masks; else as rf_batch_index(). */
RF_API const uint8_t *rf_batch_valid(const struct rf_batch *b);

/**
 * Rows of the batch; 0 is possible with `last: short`.
 *
 * @return the number, or -EALREADY (released), -EOWNERDEAD, -EINVAL
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed.
 * Since:   0.1
 */
RF_API int64_t rf_batch_n_rows(const struct rf_batch *b);
/** The epoch it belongs to; else as rf_batch_n_rows(). */
RF_API int64_t rf_batch_epoch(const struct rf_batch *b);
/** Its number in its epoch, from 0, the same after a resume; else as rf_batch_n_rows(). */
RF_API int64_t rf_batch_step(const struct rf_batch *b);
/**
 * All of the above and where the batch lies, in one call.
 *
 * @param b         Lent batch; used, not taken.
 * @param ret_view  Set on success. base is the batch's memory: column c's array begins at base + c.at.
 *
 * @return 0 or as rf_batch_n_rows()
 *
 * Threads: any, at any time.
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed.
 * Since:   0.1
 */
RF_API int rf_batch_view(const struct rf_batch *b, struct rf_view *ret_view);
/** rf_session_next() and rf_batch_view() in one call, for bindings where a call is dear; else as
 *  rf_session_next(). */
RF_API int rf_session_next_view(struct rf_session *s, int timeout_ms, struct rf_batch **ret_batch,
				struct rf_view *ret_view);
/** What it waited for; 0 or as rf_batch_n_rows(). */
RF_API int rf_batch_waits(const struct rf_batch *b, struct rf_waits *ret_waits);

/**
 * Give a batch back to the daemon, keep its memory mapped.
 *
 * For callers that cannot know whether a pointer into the batch is left somewhere: from now on the
 * daemon may write other samples there, but reading it stays harmless until rf_batch_release().
 *
 * @return 0             given back; rf_batch_release() is still due
 *         -EALREADY     it was given back or released before
 *         -EOWNERDEAD, -EINVAL  as rf_batch_release()
 *
 * Threads: any, at any time, as rf_batch_release().
 * Blocks:  no.
 * Fork:    the child must not use a batch its parent borrowed.
 * Since:   0.1
 */
RF_API int rf_batch_return(struct rf_batch *b);

/**
 * Give a batch back. Its pointers are void from now on.
 *
 * @param b  Held batch; taken.
 *
 * @return 0             given back
 *         -EALREADY     it was released before; nothing happened
 *         -EOWNERDEAD   it was borrowed before a fork; nothing happened
 *         -EINVAL       b is NULL or not a batch
 *
 * Threads: any, at any time: also while another thread is in rf_session_next(), and after
 *          rf_session_close().
 * Blocks:  no; what the socket does not take at once goes out with the next rf_session_next(). Where the slot
 *          is pinned and nothing else holds it mapped, the driver unregisters it here.
 * Fork:    the child must not release what its parent borrowed.
 * Since:   0.1
 */
RF_API int rf_batch_release(struct rf_batch *b);

/**
 * The state of a running daemon, as JSON.
 *
 * @param socket      NULL: as in struct rf_options.
 * @param timeout_ms  Longest wait in milliseconds; -1: 60 s.
 * @param ret_json    Set on success to a zero-ended text; yours, rf_free() it.
 * @param ret_error   May be NULL; filled on failure.
 *
 * @return 0, or -errno as rf_session_open()
 *
 * Threads: any.
 * Blocks:  up to timeout_ms.
 * Fork:    may be called in the child.
 * Since:   0.1
 */
RF_API int rf_status(const char *socket, int timeout_ms, char **ret_json,
		     struct rf_error *ret_error);

/**
 * What a running daemon did of late, as JSON that Perfetto and chrome://tracing show.
 *
 * The last 1,024 batches from being drawn to being given back, and the last 8,192 reads of shards and tasks of
 * workers, each with its times.
 *
 * @param socket      NULL: as in struct rf_options.
 * @param timeout_ms  Longest wait in milliseconds; -1: 60 s.
 * @param ret_json    Set on success to a zero-ended text; yours, rf_free() it.
 * @param ret_error   May be NULL; filled on failure.
 *
 * @return 0, or -errno as rf_session_open()
 *
 * Threads: any.
 * Blocks:  up to timeout_ms.
 * Fork:    may be called in the child.
 * Since:   0.1
 */
RF_API int rf_trace(const char *socket, int timeout_ms, char **ret_json,
		    struct rf_error *ret_error);

/**
 * Free what the library gave with the words "rf_free() it"; NULL is fine.
 *
 * Threads: any.
 * Blocks:  no.
 * Fork:    may be called in the child.
 * Since:   0.1
 */
RF_API void rf_free(void *p);

#ifdef __cplusplus
}
#endif
#endif
