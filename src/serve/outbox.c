/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Messages to a client: sent at once while its socket takes them, else kept in its outbox, in order, up
 * to a bound; a client that lets it fill is disconnected.
 */
#include "serve/daemon.h"

#include "base/log.h"
#include "base/packet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct outbox_head {
	uint32_t n_bytes;
	int32_t fd; /* a slot's, which lives as long as the daemon; -1: none */
};

/* false: the socket has no room now. A peer that is gone takes everything: its hang-up comes as an event. */
static bool send_one(const struct session *s, const void *message, size_t n, int fd)
{
	int r = packet_send(s->fd, message, n, fd, MSG_DONTWAIT);

	return r != -EAGAIN && r != -ETOOMANYREFS;
}

static void watch_room(struct daemon *d, struct session *s, bool is_slow)
{
	struct epoll_event e = {
		.events = EPOLLIN | EPOLLRDHUP | (is_slow ? EPOLLOUT : 0),
		.data.u64 = (uint64_t)WATCH_CLIENT << 32 | (uint32_t)(s - d->sessions),
	};

	s->is_slow = is_slow;
	epoll_ctl(d->epoll, EPOLL_CTL_MOD, s->fd, &e);
}

static void keep(struct daemon *d, struct session *s, const void *message, size_t n, int fd)
{
	const struct outbox_head head = {.n_bytes = (uint32_t)n, .fd = fd};
	size_t all = s->n_outbox + sizeof(head) + n;
	char *more = all > OUTBOX_MAX ? NULL : realloc(s->outbox, all);

	if (!more) {
		log_warn("sessions", "pid %d does not read its messages: it is disconnected", s->pid);
		shutdown(s->fd, SHUT_RDWR); /* the hang-up comes as an event */
		return;
	}
	memcpy(more + s->n_outbox, &head, sizeof(head));
	memcpy(more + s->n_outbox + sizeof(head), message, n);
	s->outbox = more;
	s->n_outbox = all;
	if (!s->is_slow)
		watch_room(d, s, true);
}

void session_send(struct daemon *d, struct session *s, const void *message, size_t n, int fd)
{
	if (s->fd < 0)
		return;
	if (s->n_outbox > 0 || !send_one(s, message, n, fd))
		keep(d, s, message, n, fd);
}

void session_flush(struct daemon *d, struct session *s)
{
	while (s->n_sent < s->n_outbox) {
		struct outbox_head head;

		memcpy(&head, s->outbox + s->n_sent, sizeof(head));
		if (!send_one(s, s->outbox + s->n_sent + sizeof(head), head.n_bytes, head.fd))
			return;
		s->n_sent += sizeof(head) + head.n_bytes;
	}
	free(s->outbox);
	s->outbox = NULL;
	s->n_outbox = s->n_sent = 0;
	watch_room(d, s, false);
}

void session_say_failed(struct daemon *d, struct session *s, int error, const char *name,
			const char *format, ...)
{
	struct wire_FAILED m = {.head = {WIRE_FAILED, sizeof(m)}, .error = -error};
	va_list args;

	snprintf(m.name, sizeof(m.name), "%s", name);
	va_start(args, format);
	vsnprintf(m.text, sizeof(m.text), format, args);
	va_end(args);
	session_send(d, s, &m, sizeof(m), -1);
}
