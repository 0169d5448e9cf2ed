/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * daemon.metrics: /metrics, the status page and /status.json over HTTP, inside the daemon's loop: no thread,
 * never blocking. Connections, their memory and their time are bounded; one request each. Of the daemon it knows a
 * function that gives a snapshot.
 */
#ifndef WATCH_WEB_H
#define WATCH_WEB_H

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

enum { WEB_E_REFUSED = 1 };

struct snapshot;
struct web;

/* Takes the address ("127.0.0.1:9464"), before the work of a start is done. 0, WEB_E_REFUSED with the sentence, or
 * -errno. */
int web_listen(const char *address, struct web **ret, struct reason *why);
/* After the clean parent was forked: loads the library. look: a snapshot of now, called with the context while
 * web_run runs. *ret_fd: to be watched for input, not to be closed. 0, WEB_E_REFUSED with the sentence, or -errno. */
int web_start(struct web *w, const struct snapshot *(*look)(void *context), void *context, int *ret_fd,
	      struct reason *why);
/* The address as it can be opened, the port that was given in place of port 0. */
const char *web_address(const struct web *w);
/* Does what can be done now; on an event, and at times for timeouts. Nothing before the start, or without w. */
void web_run(struct web *w, uint64_t now_ns);
struct web *web_free(struct web *w);

#endif
