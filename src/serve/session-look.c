/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What any greeted client may ask: the status, and pieces of the trace. */
#include "serve/daemon.h"

#include "watch/status.h"

#include <stdlib.h>
#include <string.h>

void session_send_status(struct daemon *d, struct session *s)
{
	struct wire_STATUS_TEXT m = {.head = {WIRE_STATUS_TEXT, sizeof(m)}};
	char *json = status_json(snapshot_take(d));
	size_t n = json ? strlen(json) : 0, at = 0;

	do {
		size_t part = n - at < sizeof(m.text) ? n - at : sizeof(m.text);

		memset(m.text, 0, sizeof(m.text));
		if (part)
			memcpy(m.text, json + at, part);
		at += part;
		m.n_bytes = (uint32_t)part;
		m.is_last = at == n;
		session_send(d, s, &m, sizeof(m), -1);
	} while (at < n);
	free(json);
}

void session_send_trace(struct daemon *d, struct session *s, uint64_t from)
{
	struct wire_TRACE_TEXT m = {.head = {WIRE_TRACE_TEXT, sizeof(m)}};
	uint64_t next;

	d->snapshot.now_ns = d->now_ns;
	m.n_bytes = (uint32_t)trace_text(&d->trace, &d->snapshot, from, m.text, sizeof(m.text), &next);
	m.next = next;
	session_send(d, s, &m, sizeof(m), -1);
}
