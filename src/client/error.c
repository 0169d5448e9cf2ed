/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Every error has a name (the exception's in Python) and the errno that C callers see. Numbers with a meaning
 * of their own in rf_session_next() (ENODATA, ETIMEDOUT, ENOBUFS, EPIPE) never come from the daemon's FAILED. */
#include "client/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int number;
	bool is_daemons; /* FAILED may carry it */
} errors[] = {
	{"DaemonGone", ECONNRESET, true},
	{"BadConfig", EINVAL, true},
	{"TooManyBadSamples", EBADMSG, true},
	{"BadSample", EBADMSG, true},
	{"VersionMismatch", EPROTONOSUPPORT, true},
	{"Evicted", ECANCELED, true},
	{"StorageError", EIO, true},
	{"ShardChanged", ESTALE, true},
	{"Refused", EACCES, true},
	{"TokenError", EINVAL, true},
	{"ProtocolError", EPROTO, true},
	{"PeerGone", EPIPE, false}, /* PEER_GONE's: the session goes on */
	{"TooManyHeld", ENOBUFS, false},
	{"Forked", EOWNERDEAD, false},
	{"Timeout", ETIMEDOUT, false},
	{"Busy", EBUSY, false},
	{"Closed", EBADF, false},
	{"Released", EALREADY, false},
};

int error_number(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].number;
	return EREMOTEIO;
}

void error_set(struct rf_error *e, const char *name, const char *format, va_list args)
{
	memset(e, 0, sizeof(*e));
	snprintf(e->name, sizeof(e->name), "%s", name);
	vsnprintf(e->text, sizeof(e->text), format, args);
	/* The daemon quotes names out of hostile files. */
	for (char *c = e->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

int session_refuse(struct rf_session *s, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_set(&s->error, name, format, args);
	va_end(args);
	return -error_number(name);
}

int session_end(struct rf_session *s, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_set(&s->error, name, format, args);
	va_end(args);
	session_drop(s);
	s->state = SESSION_OVER;
	s->is_seeking = s->is_resizing = false;
	s->over_errno = -error_number(name);
	return s->over_errno;
}

int session_end_errno(struct rf_session *s, int r, const char *doing)
{
	session_end(s, "SystemError", "%s: %s", doing, strerror(-r));
	s->over_errno = r;
	return r;
}

bool error_is_daemons(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].is_daemons;
	return false;
}

int session_failed(struct rf_session *s, const struct wire_FAILED *m)
{
	if (!error_is_daemons(m->name))
		return session_end(s, "Error", "%s: %s", m->name, m->text);
	if (error_number(m->name) == ECONNRESET)
		return session_lose(s);
	return session_end(s, m->name, "%s", m->text);
}
