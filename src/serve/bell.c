/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The bell: an eventfd by which a client gives slots back, one bit each, at a third of what a message costs it.
 *
 * What was rung is read as one number and checked like a message: a bit whose slot is not lent is nonsense. Only slots
 * that no other trainer reads are given back so; they are lent once at a time, so that a bit says which lease is over.
 */
#include "serve/daemon.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int bell_open(struct daemon *d, struct session *s)
{
	s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Without one its releases come as messages. */
	if (s->bell >= 0 && daemon_watch(d, s->bell, EPOLLIN, WATCH_BELL, (uint32_t)(s - d->sessions)) < 0)
		bell_close(d, s);
	return s->bell;
}

void bell_close(struct daemon *d, struct session *s)
{
	if (s->bell < 0)
		return;
	/* The client has it, too: closing alone would leave it watched. */
	epoll_ctl(d->epoll, EPOLL_CTL_DEL, s->bell, NULL);
	close(s->bell);
	s->bell = -1;
}

void bell_lent(struct session *s, uint32_t slot, uint64_t lease)
{
	if (s->bell >= 0 && slot < BELL_SLOTS)
		s->bell_leases[slot] = lease;
}

unsigned bell_read(struct session *s, uint64_t ret_leases[BELL_SLOTS])
{
	uint64_t rung;
	unsigned n = 0;

	if (s->bell < 0 || read(s->bell, &rung, sizeof(rung)) != sizeof(rung))
		return 0;
	for (; rung; rung &= rung - 1) {
		const unsigned slot = (unsigned)__builtin_ctzll(rung);

		ret_leases[n++] = s->bell_leases[slot];
		s->bell_leases[slot] = 0;
	}
	return n;
}
