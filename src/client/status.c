/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Asks a daemon for its state over a connection of its own that never attaches. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/connection.h"
#include "client/environment.h"
#include "client/session.h"
#include "ringfeed/ringfeed.h"

enum { JSON_MAX = 16 << 20, TIMEOUT_MS = 60000 };

struct text {
	char *bytes;
	size_t n;
};

const char *rf_version(void)
{
	return RINGFEED_VERSION;
}

void rf_free(void *p)
{
	free(p);
}

static int refuse(struct rf_error *e, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct rf_error *e, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_set(e, name, format, args);
	va_end(args);
	return -error_number(name);
}

static int hear(int fd, union answer *m, int64_t deadline, const char *path, struct rf_error *e)
{
	int extra = -1, r;

	while ((r = connection_receive_now(fd, m, sizeof(*m), &extra)) == CONNECTION_E_NONE) {
		r = connection_wait(fd, POLLIN, deadline);
		if (r == CONNECTION_E_LATE)
			return refuse(e, "Timeout", "the daemon at %s did not answer in time", path);
	}
	if (extra >= 0)
		close(extra);
	if (r == CONNECTION_E_GONE)
		return refuse(e, "DaemonGone", "the daemon at %s hung up", path);
	if (r != 0)
		return refuse(e, "ProtocolError", "the daemon at %s sent bytes that are no message", path);
	if (m->head.type == WIRE_FAILED && !error_is_daemons(m->message.failed.name))
		return refuse(e, "Error", "%s: %s", m->message.failed.name, m->message.failed.text);
	if (m->head.type == WIRE_FAILED)
		return refuse(e, m->message.failed.name, "%s", m->message.failed.text);
	return 0;
}

/* Appends one piece. */
static int append(struct text *t, const char *piece, uint32_t n_piece, const char *path, struct rf_error *e)
{
	char *bytes;

	if (n_piece > sizeof(((struct wire_STATUS_TEXT *)0)->text) || t->n + n_piece > JSON_MAX)
		return refuse(e, "ProtocolError", "the daemon at %s sent a status that is too long", path);
	bytes = realloc(t->bytes, t->n + n_piece + 1);
	if (!bytes)
		return refuse(e, "SystemError", "no memory for the status");
	memcpy(bytes + t->n, piece, n_piece);
	t->bytes = bytes;
	t->n += n_piece;
	t->bytes[t->n] = '\0';
	return 0;
}

static int greet(int fd, int64_t deadline, const char *path, struct rf_error *e)
{
	struct wire_HELLO hello = {.magic = WIRE_MAGIC, .version = WIRE_VERSION,
				   .release = RINGFEED_VERSION};
	union answer m;
	int r;

	connection_send(fd, WIRE_HELLO, &hello, deadline); /* a hang-up is read next */
	r = hear(fd, &m, deadline, path, e);
	if (r < 0)
		return r;
	if (m.head.type != WIRE_WELCOME)
		return refuse(e, "ProtocolError", "the daemon at %s did not answer HELLO", path);
	if (m.message.welcome.version != WIRE_VERSION)
		return refuse(e, "VersionMismatch",
			      "the daemon at %s is ringfeed %s (protocol %u), this library is ringfeed %s (protocol %u)",
			      path, m.message.welcome.release, m.message.welcome.version, RINGFEED_VERSION, WIRE_VERSION);
	return 0;
}

static int ask_status(int fd, int64_t deadline, const char *path, struct text *t, struct rf_error *e)
{
	struct wire_STATUS status = {0};
	union answer m;
	int r;

	connection_send(fd, WIRE_STATUS, &status, deadline);
	do {
		r = hear(fd, &m, deadline, path, e);
		if (r == 0 && m.head.type != WIRE_STATUS_TEXT)
			r = refuse(e, "ProtocolError", "the daemon at %s did not answer STATUS", path);
		if (r == 0)
			r = append(t, m.status_text.text, m.status_text.n_bytes, path, e);
	} while (r == 0 && !m.status_text.is_last);
	return r;
}

static int ask_trace(int fd, int64_t deadline, const char *path, struct text *t, struct rf_error *e)
{
	struct wire_TRACE trace = {.from = 0};
	union answer m;
	int r;

	do {
		connection_send(fd, WIRE_TRACE, &trace, deadline);
		r = hear(fd, &m, deadline, path, e);
		if (r == 0 && m.head.type != WIRE_TRACE_TEXT)
			r = refuse(e, "ProtocolError", "the daemon at %s did not answer TRACE", path);
		if (r == 0)
			r = append(t, m.trace_text.text, m.trace_text.n_bytes, path, e);
		trace.from = m.trace_text.next;
	} while (r == 0 && trace.from != 0);
	return r;
}

static int ask(const char *socket, int timeout_ms,
	       int (*say)(int fd, int64_t deadline, const char *path, struct text *t, struct rf_error *e),
	       char **ret_json, struct rf_error *ret_error)
{
	char path[SOCKET_MAX];
	struct rf_error unused, *e = ret_error ? ret_error : &unused;
	struct text t = {0};
	struct reason why;
	int64_t deadline;
	int fd, r;

	if (!ret_json || timeout_ms < -1)
		return refuse(e, "BadConfig", "ret_json or timeout_ms is not usable");
	if (environment_socket(socket, path, &why) != 0)
		return refuse(e, "BadConfig", "%s", why.text);
	r = connection_open(path, &fd);
	if (r < 0)
		return refuse(e, "DaemonGone", "no daemon at %s: %s", path, strerror(-r));
	deadline = clock_after_ms(timeout_ms < 0 ? TIMEOUT_MS : timeout_ms);
	r = greet(fd, deadline, path, e);
	if (r == 0)
		r = say(fd, deadline, path, &t, e);
	close(fd);
	if (r < 0) {
		free(t.bytes);
		return r;
	}
	*ret_json = t.bytes;
	return 0;
}

int rf_status(const char *socket, int timeout_ms, char **ret_json, struct rf_error *ret_error)
{
	return ask(socket, timeout_ms, ask_status, ret_json, ret_error);
}

int rf_trace(const char *socket, int timeout_ms, char **ret_json, struct rf_error *ret_error)
{
	return ask(socket, timeout_ms, ask_trace, ret_json, ret_error);
}
