/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Who keeps a quarantined slot: a process that outlived its trainer and still maps the slot's memfd (a
 * forked child, mostly). The clean parent looks for it, once a second while anything is quarantined: the core's
 * sandbox would not let it, and its loop need not wait for /proc.
 */
#include "serve/daemon.h"

#include "base/log.h"

#include <string.h>
#include <sys/stat.h>

#define SECOND_NS UINT64_C(1000000000)

_Static_assert((int)CHILDREN_SHOWN == (int)PARENT_HOLDERS_MAX, "a session keeps what the clean parent finds");

void holders_look(struct daemon *d)
{
	if (d->now_ns < d->holders_ns)
		return;
	d->holders_ns = d->now_ns + SECOND_NS;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &d->sessions[i];
		struct core_stream_view v;
		uint32_t slot;
		struct stat st;

		if (s->state == SESSION_NONE || !s->has_stream)
			continue;
		core_view_stream(d->core, s->stream, &v);
		if (!v.n_quarantined || !core_stream_slots(d->core, s->stream, &slot, 1) ||
		    fstat(d->feeds[s->feed].pool.list[slot].fd, &st) < 0)
			continue;
		s->looked_for = st.st_ino;
		parent_look(&d->parent, i, st.st_ino); /* where it cannot be asked now, it is in a second */
	}
}

void holders_found(struct daemon *d, const struct parent_news *news)
{
	struct session *s = news->number < SESSIONS_MAX ? &d->sessions[news->number] : NULL;
	struct core_stream_view v;

	if (!s || s->state == SESSION_NONE || !s->has_stream || s->looked_for != news->inode)
		return;
	core_view_stream(d->core, s->stream, &v);
	s->n_holders = news->n_holders;
	memcpy(s->holders, news->holders, sizeof(s->holders));
	/* A process that is just ending is here for a moment; it is not worth a line. */
	if (v.n_quarantined && s->n_looks++ == 1)
		log_warn("sessions", "%u slots of pid %d are quarantined: it is gone, but %d still maps them",
			 v.n_quarantined, s->pid, s->n_holders ? s->holders[0] : -1);
}
