/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One client: what it says becomes an event of the core. Every packet is checked for type, exact size and place in the
 * conversation; nonsense ends that client's connection and touches nobody else.
 */
#include "serve/daemon.h"

#include "base/log.h"
#include "serve/nodes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKETS_A_TURN = 32 }; /* so that no client keeps the loop for itself */

static uint32_t number_of(const struct daemon *d, const struct session *s)
{
	return (uint32_t)(s - d->sessions);
}

/* ---- the end ---- */

static void forget(struct session *s)
{
	if (s->exit_fd >= 0)
		close(s->exit_fd);
	free(s->outbox);
	*s = (struct session){.state = SESSION_NONE, .fd = -1, .exit_fd = -1, .bell = -1};
}

/* What the client still sends is thrown away: closed with bytes unread, the socket would take back what was said
 * last. */
void session_hang_up(int fd)
{
	char byte;

	shutdown(fd, SHUT_RD);
	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) > 0)
		;
	close(fd);
}

/* Closes the socket; the session lives on while the core holds slots back on its behalf. */
void session_close(struct daemon *d, uint32_t session)
{
	struct session *s = &d->sessions[session];

	if (s->state == SESSION_NONE || s->fd < 0)
		return;
	session_hang_up(s->fd);
	s->fd = -1;
	bell_close(d, s);
	free(s->outbox);
	s->outbox = NULL;
	s->n_outbox = s->n_sent = 0;
	listen_again(d);
	if (!s->has_stream) {
		forget(s);
		return;
	}
	s->state = SESSION_ENDED;
	core_on_hangup(d->core, d->now_ns, s->stream);
	daemon_act(d);
	if (s->has_stream && s->exit_fd < 0 && !s->has_exited) {
		/* Its death cannot be seen (another PID namespace): hang-up alone decides. */
		core_on_exit(d->core, d->now_ns, s->stream);
		daemon_act(d);
	}
}

void session_exited(struct daemon *d, uint32_t session)
{
	struct session *s = &d->sessions[session];
	struct pollfd p = {.fd = s->exit_fd, .events = POLLIN};

	/* The event may be of a session that ended in this same round. */
	if (s->state == SESSION_NONE || s->exit_fd < 0 || poll(&p, 1, 0) <= 0)
		return;
	close(s->exit_fd);
	s->exit_fd = -1;
	s->has_exited = true;
	if (!s->has_stream)
		return; /* its hang-up comes by itself */
	core_on_exit(d->core, d->now_ns, s->stream);
	daemon_act(d);
}

void session_gone(struct daemon *d, uint32_t stream)
{
	struct session *s = &d->sessions[d->stream_session[stream]];

	trace_gone(&d->trace, d->now_ns, stream);
	log_debug("sessions", "pid %d has left feed %s after %llu batches", s->pid, d->feeds[s->feed].config->name,
		  (unsigned long long)s->n_batches);
	s->has_stream = false;
	if (s->fd < 0)
		forget(s);
}

static bool is_idle(const struct daemon *d, const struct session *s)
{
	struct core_stream_view v;

	if (s->state != SESSION_ATTACHED)
		return s->state == SESSION_NEW || s->state == SESSION_GREETED;
	core_view_stream(d->core, s->stream, &v);
	return v.has_failed && v.n_lent == 0;
}

void session_time(struct daemon *d)
{
	for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &d->sessions[i];

		if (s->fd < 0 || d->now_ns - s->since_ns < SILENCE_S * UINT64_C(1000000000) ||
		    !is_idle(d, s))
			continue;
		log_info("sessions", "pid %d is disconnected: nothing came from it for %d s", s->pid, SILENCE_S);
		session_close(d, i);
	}
}

/* ---- what clients say ---- */

static void nonsense(struct daemon *d, struct session *s, const char *what)
{
	session_say_failed(d, s, EPROTO, "ProtocolError", "%s", what);
	session_close(d, number_of(d, s));
}

static void take_hello(struct daemon *d, struct session *s, const struct wire_HELLO *m)
{
	struct wire_WELCOME reply = {.head = {WIRE_WELCOME, sizeof(reply)}, .version = WIRE_VERSION,
				     .pid = (uint32_t)getpid()};

	if (m->magic != WIRE_MAGIC) {
		nonsense(d, s, "this is no ringfeed client");
		return;
	}
	if (m->version != WIRE_VERSION) {
		session_say_failed(d, s, EPROTONOSUPPORT, "VersionMismatch",
				   "the client is ringfeed %.31s (protocol %u), the daemon %s (protocol %u): "
				   "install the same release on both sides", m->release, m->version,
				   RINGFEED_VERSION, WIRE_VERSION);
		session_close(d, number_of(d, s));
		return;
	}
	snprintf(reply.release, sizeof(reply.release), "%s", RINGFEED_VERSION);
	s->state = SESSION_GREETED;
	session_send(d, s, &reply, sizeof(reply), -1);
}

/* Where a token says to go on, or {epoch, 0} without one. 0, or 1 once the client was told. */
static int read_token(struct daemon *d, struct session *s, const struct served_feed *f, const char *text,
		      struct token *ret)
{
	struct reason why = {{0}};
	int r;

	if (!*text)
		return 0;
	r = token_parse(text, ret, &why);
	if (r == 0)
		r = token_fits(ret, f->token.fingerprint, &f->order, f->n_positions, &why);
	if (r == 0)
		return 0;
	session_say_failed(d, s, EINVAL, r == TOKEN_E_VERSION ? "VersionMismatch" : "TokenError", "%s",
			   why.text);
	return 1;
}

static uint64_t pass_length(struct daemon *d, uint32_t stream)
{
	struct core_stream_view v;

	core_view_stream(d->core, stream, &v);
	return v.n_batches;
}

static uint32_t kind_of(const struct field *f)
{
	if (!field_is_ragged(f))
		return WIRE_ARRAY;
	return f->decode == DECODE_TEXT ? WIRE_TEXT : WIRE_BYTES;
}

static void send_shape(struct daemon *d, struct session *s, const struct served_feed *f)
{
	const struct pipeline *p = &f->config->pipeline;
	uint32_t slots[CORE_STREAM_SLOTS_MAX];
	unsigned n = core_stream_slots(d->core, s->stream, slots, CORE_STREAM_SLOTS_MAX);

	for (unsigned i = 0; i < p->n_fields; i++) {
		const struct field *field = &p->fields[i];
		struct wire_FIELD m = {.head = {WIRE_FIELD, sizeof(m)}, .dtype = field->dtype,
				       .n_dims = field->n_dims, .dim0 = field->dims[0],
				       .dim1 = field->dims[1], .dim2 = field->dims[2],
				       .dim3 = field->dims[3], .at = f->layout.field_at[i],
				       .row_bytes = f->layout.row_bytes[i], .kind = kind_of(field),
				       .lengths_at = f->layout.lengths_at[i]};

		memcpy(m.name, field->name, sizeof(m.name));
		session_send(d, s, &m, sizeof(m), -1);
	}
	for (unsigned i = 0; i < n; i++) {
		struct wire_SLOT m = {.head = {WIRE_SLOT, sizeof(m)}, .slot = i,
				      .n_bytes = f->layout.n_bytes};

		session_send(d, s, &m, sizeof(m), f->pool.list[slots[i]].fd);
	}
}

static void attached(struct daemon *d, struct session *s, const struct served_feed *f,
		     const struct token *at)
{
	struct core_stream_view v;
	struct wire_ATTACHED m = {
		.head = {WIRE_ATTACHED, sizeof(m)}, .n_fields = f->config->pipeline.n_fields,
		.n_slots = core_stream_slots(d->core, s->stream, NULL, 0), .n_rows = f->layout.n_rows,
		.slot_bytes = f->layout.n_bytes, .index_at = f->layout.index_at,
		.position_at = f->layout.position_at, .valid_at = f->layout.valid_at,
		.n_samples = f->dataset->samples.n_samples, .n_batches = pass_length(d, s->stream),
		.epoch = at->epoch, .position = at->position, .bad = at->bad,
		.seed = f->token.seed, .order_hash = f->token.order_hash,
	};

	core_view_stream(d->core, s->stream, &v);
	m.is_shared = v.is_shared || d->config->daemon.is_sealed; /* for reading alone */
	memcpy(m.fingerprint, f->token.fingerprint, sizeof(f->token.fingerprint));
	session_send(d, s, &m, sizeof(m), v.is_shared ? -1 : bell_open(d, s));
	send_shape(d, s, f);
}

static void list_feeds(const struct daemon *d, char *text, size_t n_text)
{
	size_t n = 0;

	*text = 0;
	for (unsigned i = 0; i < d->n_feeds && n < n_text; i++)
		n += (size_t)snprintf(text + n, n_text - n, "%s%s", i ? ", " : "", d->feeds[i].config->name);
}

/* Said by the first of a group's ranks here; a machine alone has nobody to share with. */
static void tell_nodes(const struct daemon *d, const struct session *s, const struct served_feed *f,
		       const struct wire_ATTACH *m)
{
	struct core_stream_view own, other;
	struct node_reads reads;
	char text[400];

	if (!nodes_share_parts(&f->order, m->world, m->local_world, f->dataset->samples.total_bytes, &reads))
		return;
	core_view_stream(d->core, s->stream, &own);
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		core_view_stream(d->core, i, &other);
		if (i != s->stream && other.is_used && other.group_number == own.group_number)
			return;
	}
	nodes_sentence(&f->order, m->world, m->local_world, &reads, text, sizeof(text));
	log_warn("sessions", "feed %s, group '%s': %s", f->config->name, m->group, text);
}

static void tell_attached(const struct session *s, const struct served_feed *f, const struct wire_ATTACH *m,
			  const struct core_attach *a)
{
	char replica[32] = "";

	if (m->replica)
		snprintf(replica, sizeof(replica), "replica %u of ", m->replica - 1);
	log_info("sessions", "pid %d is %srank %u of %u of group '%s' on feed %s, from epoch %llu position %llu", s->pid,
		 replica, m->rank, m->world, m->group, f->config->name, (unsigned long long)a->epoch,
		 (unsigned long long)a->position);
}

static void take_attach(struct daemon *d, struct session *s, const struct wire_ATTACH *m)
{
	static const enum core_start starts[] = {
		[WIRE_START_NOW] = CORE_START_NOW, [WIRE_START_NEXT_EPOCH] = CORE_START_NEXT_EPOCH,
		[WIRE_START_BACK] = CORE_START_BACK};
	struct core_attach a = {.group = m->group, .rank = m->rank, .replica = m->replica, .world = m->world,
				.start = starts[m->start],
				.local_world = m->local_world, .credit = m->credit,
				.generation = m->generation, .batch = m->batch};
	const struct served_feed *f = NULL;
	struct reason why = {{0}};
	struct token at = {0};
	char names[300];

	if (s->has_exited) { /* so its end would be seen no more */
		session_say_failed(d, s, EOWNERDEAD, "Forked",
				   "the process that opened this connection has ended; open one of its own in the child");
		session_close(d, number_of(d, s));
		return;
	}
	for (unsigned i = 0; i < d->n_feeds; i++)
		if (strcmp(d->feeds[i].config->name, m->feed) == 0) {
			f = &d->feeds[i];
			a.feed = i;
		}
	if (!f) {
		list_feeds(d, names, sizeof(names));
		session_say_failed(d, s, ENOENT, "Refused", "there is no feed %.63s; there is %s", m->feed, names);
		session_close(d, number_of(d, s));
		return;
	}
	if (read_token(d, s, f, m->token, &at)) {
		session_close(d, number_of(d, s));
		return;
	}
	a.has_place = *m->token;
	a.epoch = at.epoch;
	a.position = at.position;
	a.bad = at.bad;
	if (core_on_attach(d->core, d->now_ns, &a, &s->stream, &why)) {
		session_say_failed(d, s, EBUSY, "Refused", "%s", why.text);
		session_close(d, number_of(d, s));
		daemon_act(d); /* an older generation may have been told to go */
		return;
	}
	s->state = SESSION_ATTACHED;
	s->feed = a.feed;
	s->has_stream = true;
	d->stream_session[s->stream] = number_of(d, s);
	at.epoch = a.epoch;
	at.position = a.position;
	at.bad = a.bad;
	tell_attached(s, f, m, &a);
	tell_nodes(d, s, f, m);
	attached(d, s, f, &at);
	daemon_act(d);
}

/* It said goodbye, and once nothing is left to be given back the connection has no use. */
static void end_when_empty(struct daemon *d, struct session *s)
{
	if (s->is_leaving && s->has_stream && core_stream_slots(d->core, s->stream, NULL, 0) == 0)
		session_close(d, number_of(d, s));
}

static void take_detach(struct daemon *d, struct session *s, const struct wire_DETACH *m)
{
	s->is_leaving = true;
	s->since_ns = d->now_ns;
	core_on_detach(d->core, d->now_ns, s->stream);
	daemon_act(d);
	core_on_unseen(d->core, d->now_ns, s->stream, m->last_lease);
	daemon_act(d);
	end_when_empty(d, s);
}

static void take_release(struct daemon *d, struct session *s, uint64_t lease)
{
	if (!core_on_release(d->core, d->now_ns, s->stream, lease)) {
		daemon_act(d);
		nonsense(d, s, "a batch was released that is not lent");
		return;
	}
	trace_released(&d->trace, d->now_ns, lease);
	daemon_act(d);
	end_when_empty(d, s);
}

void session_hear_bell(struct daemon *d, uint32_t session)
{
	struct session *s = &d->sessions[session];
	uint64_t leases[BELL_SLOTS];
	unsigned n = s->has_stream ? bell_read(s, leases) : 0;

	for (unsigned i = 0; i < n && s->fd >= 0; i++)
		take_release(d, s, leases[i]);
}

static void take_seek(struct daemon *d, struct session *s, const struct wire_SEEK *m)
{
	const struct served_feed *f = &d->feeds[s->feed];
	struct wire_SOUGHT reply = {.head = {WIRE_SOUGHT, sizeof(reply)}, .serial = m->serial};
	struct token at = {.epoch = m->epoch};
	struct core_seek to = {.serial = m->serial, .batch = m->batch};
	struct reason why;

	if (m->serial != s->serial + 1) {
		nonsense(d, s, "the serial of a SEEK is the last one plus 1");
		return;
	}
	s->serial = m->serial;
	if (read_token(d, s, f, m->token, &at)) {
		session_close(d, number_of(d, s));
		return;
	}
	to.epoch = at.epoch;
	to.position = at.position;
	to.bad = at.bad;
	if (core_on_seek(d->core, d->now_ns, s->stream, &to, &why)) {
		daemon_act(d);
		session_say_failed(d, s, EINVAL, "Refused", "%s", why.text);
		session_close(d, number_of(d, s));
		return;
	}
	reply.epoch = at.epoch;
	reply.position = at.position;
	reply.bad = at.bad;
	reply.n_batches = pass_length(d, s->stream);
	session_send(d, s, &reply, sizeof(reply), -1);
	daemon_act(d);
}

/* The texts of a message end in a zero: what is behind it is ignored. */
static bool texts_end(const char *text, size_t n)
{
	return memchr(text, 0, n) != NULL;
}

static void take_message(struct daemon *d, struct session *s, const struct wire_head *head)
{
	const struct wire_ATTACH *attach = (const void *)head;
	const struct wire_SEEK *seek = (const void *)head;

	switch (head->type) {
	case WIRE_HELLO:
		if (s->state != SESSION_NEW)
			break;
		take_hello(d, s, (const void *)head);
		return;
	case WIRE_ATTACH:
		if (s->state != SESSION_GREETED || attach->start > WIRE_START_BACK ||
		    (attach->start == WIRE_START_BACK && !*attach->token) ||
		    !texts_end(attach->feed, sizeof(attach->feed)) || !texts_end(attach->group, sizeof(attach->group)) ||
		    !texts_end(attach->token, sizeof(attach->token)))
			break;
		take_attach(d, s, attach);
		return;
	case WIRE_RELEASE:
		if (!s->has_stream)
			break;
		take_release(d, s, ((const struct wire_RELEASE *)head)->lease);
		return;
	case WIRE_SEEK:
		if (s->state != SESSION_ATTACHED || s->is_leaving ||
		    !texts_end(seek->token, sizeof(seek->token)))
			break;
		take_seek(d, s, seek);
		return;
	case WIRE_STATUS:
		if (s->state == SESSION_NEW)
			break;
		s->since_ns = d->now_ns;
		session_send_status(d, s);
		return;
	case WIRE_TRACE:
		if (s->state == SESSION_NEW)
			break;
		s->since_ns = d->now_ns;
		session_send_trace(d, s, ((const struct wire_TRACE *)head)->from);
		return;
	case WIRE_DETACH:
		if (s->state != SESSION_ATTACHED || s->is_leaving)
			break;
		take_detach(d, s, (const void *)head);
		return;
	default:
		break;
	}
	nonsense(d, s, "that message has no place here");
}

void session_hear(struct daemon *d, uint32_t session, uint32_t events)
{
	struct session *s = &d->sessions[session];
	union {
		struct wire_head head;
		struct wire_ATTACH attach;
		char bytes[4096];
	} in;

	if (s->state == SESSION_NONE || s->fd < 0)
		return; /* an event of a socket closed in this same round */
	if (events & EPOLLOUT)
		session_flush(d, s);
	for (unsigned i = 0; i < PACKETS_A_TURN && s->fd >= 0; i++) {
		ssize_t n = recv(s->fd, &in, sizeof(in), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && errno == ECONNRESET)
			continue; /* it closed with batches unread, but what it said before still comes */
		if (n <= 0) {
			session_hear_bell(d, session);
			session_close(d, session);
			return;
		}
		if ((size_t)n < sizeof(in.head) || in.head.n_bytes != (size_t)n ||
		    wire_bytes(in.head.type) != (size_t)n) {
			nonsense(d, s, "that is no message of this protocol");
			return;
		}
		session_hear_bell(d, session); /* what it released before it said this */
		if (s->fd < 0)
			return;
		take_message(d, s, &in.head);
		if (in.head.type == WIRE_STATUS || in.head.type == WIRE_TRACE)
			return; /* the dear ones: others get their turn between two */
	}
}
