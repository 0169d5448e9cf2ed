/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The socket to the daemon: whole messages out and in, each wait with a deadline.
 *
 * Functions return 0, a CONNECTION_E_… that the caller settles, or -errno. Signals never cut a wait
 * short. What arrives has been checked for size, type, direction and closing zeros of its texts;
 * its numbers have not.
 *
 * Threads: any; a descriptor is read by one thread at a time and written by any.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum {
	CONNECTION_E_NONE = 1, /* nothing there now */
	CONNECTION_E_LATE,     /* the deadline passed */
	CONNECTION_E_GONE,     /* the other side hung up */
	CONNECTION_E_NONSENSE, /* not a message of the protocol */
};

/* Everything a daemon may say to a session. */
union message {
	struct wire_head head;
	struct wire_WELCOME welcome;
	struct wire_FAILED failed;
	struct wire_ATTACHED attached;
	struct wire_FIELD field;
	struct wire_SLOT slot;
	struct wire_BATCH batch;
	struct wire_EPOCH_END epoch_end;
	struct wire_SOUGHT sought;
	struct wire_PEER_GONE peer_gone;
};

/* And to who asks without one. */
union answer {
	struct wire_head head;
	union message message;
	struct wire_STATUS_TEXT status_text;
	struct wire_TRACE_TEXT trace_text;
};

enum {
	INBOX_MESSAGES = 4,
	INBOX_WAIT_NS = 50000000,
};

/* Messages taken from the socket that nobody has looked at; all zero: none. */
struct inbox {
	unsigned n, next;
	struct {
		uint32_t n_bytes;
		int flags;
		union message message;
	} list[INBOX_MESSAGES];
};

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t clock_now_ns(void);
/* The moment ms from now. */
int64_t clock_after_ms(int64_t ms);

/* Connects without waiting. 0 and a non-blocking CLOEXEC descriptor, or -errno (-ENAMETOOLONG: path). */
int connection_open(const char *path, int *ret_fd);
/* Waits for poll events (POLLIN, POLLOUT; fd -1: for the deadline alone). 0, LATE or -errno. */
int connection_wait(int fd, short events, int64_t deadline_ns);
/* Fills in the head and sends; never waits. 0, NONE (the socket is full), GONE or -errno. */
int connection_send_now(int fd, uint32_t type, void *message);
/* The same, waiting for room. 0, LATE, GONE or -errno. */
int connection_send(int fd, uint32_t type, void *message, int64_t deadline_ns);
/* Takes one message of at most n_ret bytes, if there is one. ret: room for them; ret_fd: the descriptor that came
 * with it, yours, or -1. 0, NONE, GONE, NONSENSE or -errno. */
int connection_receive_now(int fd, void *ret, size_t n_ret, int *ret_fd);
/* From here on inbox_take() can wait on the socket. 0 or -errno. */
int inbox_open(int fd);
/* The same by way of an inbox, many at a time; none may carry a descriptor. may_wait: for INBOX_WAIT_NS at most, or until
 * a signal, which is NONE, too. */
int inbox_take(struct inbox *in, int fd, bool may_wait, union message *ret);

#endif
