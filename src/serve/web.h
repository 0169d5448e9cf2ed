/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * daemon.metrics: /metrics, the status page and /status.json over HTTP, inside the daemon's loop: no thread,
 * never blocking. Connections, their memory and their time are bounded; one request each.
 */
#ifndef SERVE_WEB_H
#define SERVE_WEB_H

#include "base/reason.h"

#include <stdint.h>

enum {
	WEB_CONNECTIONS = 8,
	WEB_PAGE_MAX = 512 << 10,     /* bytes of an answer */
	WEB_CONNECTION_MAX = 16 << 10, /* bytes of a connection's request and headers */
	WEB_SILENCE_S = 5,
	WEB_LIBRARY_BYTES = 4 << 20, /* of libmicrohttpd and what it leans on, with room to spare */
};
/* What it may keep in memory: for the plan. Each connection may still be sending a page of its own. */
#define WEB_BYTES (WEB_LIBRARY_BYTES + WEB_CONNECTIONS * (WEB_PAGE_MAX + WEB_CONNECTION_MAX))

struct daemon;
struct web;

/* Takes the address, before the work of a start is done: 0, or 1 with the sentence; nothing without the key. */
int web_listen(struct daemon *d, struct reason *why);
/* After the clean parent was forked: loads the library, joins the loop. 0, 1 with the sentence, or -errno. */
int web_start(struct daemon *d, struct reason *why);
/* Does what can be done now; on an event, and at every tick for timeouts. */
void web_run(struct daemon *d);
struct web *web_free(struct web *w);

#endif
