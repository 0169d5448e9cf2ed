/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a session is made of, for session.c (calls), attach.c (the way to the daemon), map.c (slots) and
 * batch.c (loans).
 *
 * One thread at a time is inside a call on a session (busy says so). Only rf_batch_… and the accessors
 * come from any thread; what they touch lies in `shared` under its lock. fd, maps, connection and the loans
 * are written by the busy thread under the lock, so that thread reads them without.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/pipeline.h"
#include "base/token-text.h"
#include "client/connection.h"
#include "client/environment.h"
#include "client/pin.h"
#include "ringfeed/ringfeed.h"

#define SESSION_MAGIC 0x73667266u /* "rfrs" */
#define CLOSED_MAGIC 0x63667266u
#define BATCH_MAGIC 0x62667266u
#define MARK 0x6d667266u

enum {
	SLOTS_MAX = 1024,
	ROWS_MAX = 1 << 24,
	PEERS_MAX = 128, /* deaths to be told of at once; a daemon has no more sessions */
	LOANS_MAX = SLOTS_MAX + 1024, /* so a stale batch is recognised for 1,000 loans more */
	TOKEN_BYTES = sizeof(((struct wire_ATTACH *)0)->token),
};

enum session_state {
	SESSION_LOST,	   /* no connection; the next attempt is due at retry_at */
	SESSION_GREETING,  /* HELLO is out */
	SESSION_ATTACHING, /* ATTACH is out */
	SESSION_RECEIVING, /* ATTACHED came; fields and slots follow */
	SESSION_ATTACHED,
	SESSION_OVER, /* over_errno and error say why, for every call from now on */
};

/* One slot's memory here. Alive as long as the session or a loan refers to it. */
struct map {
	void *base;
	size_t n_bytes;
	unsigned n_refs;  /* under the session's lock */
	bool is_sealed;	 /* nobody but the daemon can write it */
	struct pin *pin; /* what it is registered with, or NULL; one reference */
};

enum loan_state { LOAN_FREE, LOAN_LENT, LOAN_RETURNED };

struct rf_batch {
	uint32_t magic;
	struct rf_session *session;
	struct rf_batch *next_free;
	/* Under the session's lock: */
	enum loan_state state;
	struct map *map;
	uint64_t connection; /* the lease is one of this connection */
	uint32_t slot, n_rows;
	uint64_t lease, epoch, step;
	struct rf_waits waits;
};

struct feed_field {
	char name[FIELD_NAME_MAX];
	enum dtype dtype;
	unsigned n_dims;
	uint32_t dims[DIMS_MAX];
	uint64_t at, row_bytes;
	uint32_t kind;	     /* WIRE_ARRAY, WIRE_BYTES, WIRE_TEXT */
	uint64_t lengths_at; /* of a ragged field */
};

struct feed_layout {
	unsigned n_fields, n_slots;
	unsigned is_shared; /* 1: mapped for reading alone */
	uint32_t n_rows;
	uint64_t slot_bytes, index_at, position_at, valid_at;
	struct feed_field fields[FIELDS_MAX];
};

/* What every turn touches stands together, in each half in front: a trainer's own work has emptied the caches by then. */
struct rf_session {
	uint32_t magic;
	pid_t pid;
	const uint32_t *mark; /* MARK here, 0 in a forked child; NULL: ask for the pid instead */
	atomic_bool is_busy;
	bool is_seeking, is_seek_sent;
	bool is_resizing; /* the SEEK under way changes the size of batches, not the place */
	bool is_end_due;  /* the epoch ended while the daemon was away */
	bool is_pin_wanted;
	bool was_attached; /* once: a lost daemon, not a missing one */
	enum session_state state;
	uint32_t serial, credit;
	unsigned n_gone;
	int timeout_ms, reconnect_ms;

	struct {
		pthread_mutex_t lock;
		int fd; /* -1: no connection */
		int bell; /* eventfd that gives slots back; -1: messages do */
		unsigned n_pending;
		uint64_t connection;
		uint64_t last_lease; /* the highest that came on it */
		struct rf_batch *loans, *free_first, *free_last;
		unsigned n_held; /* LOAN_LENT of this connection */
		unsigned n_open; /* loans that are not free */
		int64_t wait_ns;
		uint64_t n_samples, n_batches, n_returned, epoch;
		struct token place; /* after the last batch that was returned */
		struct feed_layout layout;
		uint16_t n_lent[SLOTS_MAX]; /* loans of each slot, by leases of this connection */
		struct map *maps[SLOTS_MAX];
		uint64_t pending[SLOTS_MAX]; /* leases whose RELEASE found the socket full */
		char given[TOKEN_BYTES]; /* the caller's token; the place before the first ATTACHED */
		bool is_pinned; /* every slot; else not_pinned says why */
		struct reason not_pinned;
	} shared;

	struct inbox inbox;
	struct rf_error error;
	int over_errno;
	int64_t gone_at, retry_at;    /* give up; try again */
	int64_t answer_by;	      /* the attach under way must be through */
	int64_t backoff_ms;
	int gone_errno;		      /* of the last attempt to connect */
	uint32_t daemon_pid;
	char daemon_release[32];
	struct identity identity;
	char feed[sizeof(((struct wire_ATTACH *)0)->feed)];
	char socket[SOCKET_MAX];
	struct wire_ATTACHED attached; /* while the fields and slots come */
	unsigned n_came;	       /* of them */
	struct feed_layout incoming;
	enum rf_start start;
	struct rf_peer gone[PEERS_MAX]; /* n_gone of whom the caller is to be told, in order */
	struct rf_peer told;		/* the last one */
	bool has_told;
	uint64_t seek_epoch;
	char seek_token[TOKEN_BYTES];
	uint32_t batch; /* rows of a batch, as rf_session_set_batch_size wants them; 0: as configured */
};

/* Sets s->error by the exception's name and returns the errno that belongs to it. */
int session_refuse(struct rf_session *s, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, and the session is over. */
int session_end(struct rf_session *s, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* What went wrong in the machine, as "SystemError"; the session is over. */
int session_end_errno(struct rf_session *s, int r, const char *doing);
/* FAILED came: the session is over, or, where the daemon says it leaves, lost (0). */
int session_failed(struct rf_session *s, const struct wire_FAILED *m);
/* PEER_GONE came: the next rf_session_next() says so. 0, or the session is over. */
int session_note_gone(struct rf_session *s, const struct wire_PEER_GONE *m);
/* The errno that belongs to an exception's name; EREMOTEIO for names of other versions. */
int error_number(const char *name);
/* May FAILED carry it? What else comes there, of other versions or out of nowhere, is an "Error". */
bool error_is_daemons(const char *name);
void error_set(struct rf_error *e, const char *name, const char *format, va_list args);

/* May this process use the session? A plain load; in a forked child it is false. */
bool session_is_own(const struct rf_session *s);
/* The place as text, or what the caller gave; caller holds the lock or is the busy thread. */
void session_token_text(const struct rf_session *s, char ret_text[TOKEN_BYTES]);
/* Takes one message, sending what releases are pending. 0, CONNECTION_E_LATE, _GONE, _NONSENSE, -errno. */
int session_receive(struct rf_session *s, union message *m, int *ret_fd, int64_t deadline_ns);
/* Drops what the session itself keeps mapped; caller holds the lock. */
void session_unmap(struct rf_session *s);
/* Every slot came: pins them if the caller wants that, and notes why not. */
void session_pin(struct rf_session *s);
/* From here on they are for reading, if they are shared. 0 or -errno. */
int session_protect(struct rf_session *s);
/* Closes the connection; caller holds the lock. */
void session_disconnect(struct rf_session *s);
/* The connection is gone: forget it and what the session itself keeps mapped. */
void session_drop(struct rf_session *s);
/* The same, and look for the daemon again as long as reconnect_ms allows: 0, or the session is over. */
int session_lose(struct rf_session *s);
/* Gets the session attached and at the place it was told to seek. 0 or -errno with s->error set. */
int session_attend(struct rf_session *s, int64_t deadline_ns);

/* Allocates the loans of a new session. 0 or -ENOMEM. */
int loans_init(struct rf_session *s);
/* BATCH came. 0, or -errno with s->error set (the session is over); *ret stays NULL for a batch of
 * an older serial, which is given back at once. */
int loan_take(struct rf_session *s, const struct wire_BATCH *m, struct rf_batch **ret);
/* Tells the daemon that the lease of a slot is over; caller holds the lock. */
void lease_give_back(struct rf_session *s, uint32_t slot, uint64_t lease);
/* Sends what is pending; caller holds the lock. */
void leases_flush(struct rf_session *s);
/* A mapping of the slot, or NULL and a reason to end the session with, or errno. Takes fd. */
struct map *map_open(int fd, uint64_t n_bytes, bool is_writable, const char **ret_fault);
/* Drops one reference; caller holds the lock. */
void map_put(struct map *map);
/* Frees the session's memory; nothing of it is mapped or lent any more. */
void session_free(struct rf_session *s);

#endif
