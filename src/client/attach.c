/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The way to the daemon: connect, HELLO, ATTACH, fields, slots, and to the place a SEEK named.
 *
 * A state machine, so that a caller who waits in short slices (Python, for Ctrl-C) goes on where the last
 * slice ended. Whoever runs it is the session's busy thread. Nothing the daemon says is believed: an array must
 * lie inside the slot, a slot inside a memfd that nobody can shrink.
 */
#include "client/session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"

enum { BACKOFF_MS_MIN = 20, BACKOFF_MS_MAX = 200 };

/* Sends what releases are pending. Are there some still? */
static bool has_pending(struct rf_session *s)
{
	bool is_pending;

	pthread_mutex_lock(&s->shared.lock);
	leases_flush(s);
	is_pending = s->shared.n_pending > 0;
	pthread_mutex_unlock(&s->shared.lock);
	return is_pending;
}

int session_receive(struct rf_session *s, union message *m, int *ret_fd, int64_t deadline_ns)
{
	*ret_fd = -1;
	for (;;) {
		const bool is_pending = has_pending(s);
		const bool may_block = s->state == SESSION_ATTACHED && !is_pending &&
				       deadline_ns - clock_now_ns() >= INBOX_WAIT_NS;
		int r;

		if (s->state == SESSION_ATTACHED)
			r = inbox_take(&s->inbox, s->shared.fd, may_block, m);
		else
			r = connection_receive_now(s->shared.fd, m, sizeof(*m), ret_fd);
		if (r == CONNECTION_E_NONE && may_block)
			continue;
		if (r != CONNECTION_E_NONE)
			return r;
		r = connection_wait(s->shared.fd, is_pending ? POLLIN | POLLOUT : POLLIN, deadline_ns);
		if (r != 0)
			return r;
	}
}

void session_disconnect(struct rf_session *s)
{
	if (s->shared.bell >= 0)
		close(s->shared.bell);
	if (s->shared.fd >= 0)
		close(s->shared.fd);
	s->shared.fd = s->shared.bell = -1;
}

void session_drop(struct rf_session *s)
{
	pthread_mutex_lock(&s->shared.lock);
	session_disconnect(s);
	s->shared.connection++;
	session_unmap(s);
	memset(s->shared.n_lent, 0, sizeof(s->shared.n_lent));
	s->shared.n_pending = 0;
	s->shared.n_held = 0;
	s->shared.last_lease = 0;
	pthread_mutex_unlock(&s->shared.lock);
	s->inbox = (struct inbox){0};
	s->is_seek_sent = false;
}

static int end_gone(struct rf_session *s)
{
	if (!s->was_attached)
		return session_end(s, "DaemonGone", "no daemon at %s: %s; start one with: ringfeed serve",
				   s->socket, strerror(s->gone_errno));
	if (s->reconnect_ms == 0)
		return session_end(s, "DaemonGone", "the daemon at %s (pid %u) is gone", s->socket,
				   s->daemon_pid);
	return session_end(s, "DaemonGone", "the daemon at %s is gone and did not come back: %s",
			   s->socket, strerror(s->gone_errno));
}

/* The next attempt is due a little later, each time later, but not after the time is over. */
static void set_retry(struct rf_session *s, int64_t now)
{
	s->retry_at = now + s->backoff_ms * 1000000;
	if (s->retry_at > s->gone_at)
		s->retry_at = s->gone_at;
	s->backoff_ms = s->backoff_ms * 2 < BACKOFF_MS_MAX ? s->backoff_ms * 2 : BACKOFF_MS_MAX;
}

int session_lose(struct rf_session *s)
{
	int64_t now = clock_now_ns();

	session_drop(s);
	s->gone_errno = ECONNRESET;
	s->retry_at = now;
	/* Lost while coming back: the time to come back in runs already. */
	if (s->state == SESSION_ATTACHED) {
		s->gone_at = now + (int64_t)s->reconnect_ms * 1000000;
		s->backoff_ms = BACKOFF_MS_MIN;
	} else {
		set_retry(s, now);
	}
	s->state = SESSION_LOST;
	return now >= s->gone_at ? end_gone(s) : 0;
}

/* LOST: wait for the next attempt, make it. */
static int try_connect(struct rf_session *s, int64_t deadline_ns)
{
	struct wire_HELLO hello = {.magic = WIRE_MAGIC, .version = WIRE_VERSION,
				   .release = RINGFEED_VERSION};
	int64_t now = clock_now_ns();
	int fd, r;

	if (s->retry_at > now) {
		bool is_slice = deadline_ns < s->retry_at;

		r = connection_wait(-1, 0, is_slice ? deadline_ns : s->retry_at);
		if (r < 0)
			return session_end_errno(s, r, "waiting");
		if (is_slice)
			return CONNECTION_E_LATE;
	}
	r = connection_open(s->socket, &fd);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return session_end_errno(s, r, "opening a socket");
	if (r < 0) {
		s->gone_errno = -r;
		now = clock_now_ns();
		if (now >= s->gone_at)
			return end_gone(s);
		set_retry(s, now);
		return 0;
	}
	pthread_mutex_lock(&s->shared.lock);
	s->shared.fd = fd;
	pthread_mutex_unlock(&s->shared.lock);
	s->answer_by = clock_after_ms(s->timeout_ms);
	if (s->was_attached || s->answer_by < s->gone_at)
		s->answer_by = s->gone_at;
	s->state = SESSION_GREETING;
	/* The first packet of a fresh socket always fits; a hang-up is read next. */
	r = connection_send_now(fd, WIRE_HELLO, &hello);
	return r < 0 ? session_end_errno(s, r, "sending HELLO") : 0;
}

static int on_welcome(struct rf_session *s, const struct wire_WELCOME *m)
{
	struct wire_ATTACH attach = {
		.rank = s->identity.rank, .world = s->identity.world,
		.local_world = s->identity.local_world, .credit = s->credit,
		.generation = s->identity.generation, .batch = s->batch, .replica = s->identity.has_replica ? s->identity.replica + 1 : 0,
		.start = s->was_attached	  ? WIRE_START_BACK
			 : s->start == RF_START_NOW ? WIRE_START_NOW
						    : WIRE_START_NEXT_EPOCH,
	};
	int r;

	if (m->version != WIRE_VERSION)
		return session_end(s, "VersionMismatch",
				   "the daemon at %s is ringfeed %s (protocol %u), this library is ringfeed %s (protocol %u)",
				   s->socket, m->release, m->version, RINGFEED_VERSION, WIRE_VERSION);
	s->daemon_pid = m->pid;
	memcpy(s->daemon_release, m->release, sizeof(s->daemon_release));
	memcpy(attach.feed, s->feed, sizeof(attach.feed));
	memcpy(attach.group, s->identity.group, sizeof(attach.group));
	session_token_text(s, attach.token);
	s->state = SESSION_ATTACHING;
	r = connection_send_now(s->shared.fd, WIRE_ATTACH, &attach);
	return r < 0 ? session_end_errno(s, r, "sending ATTACH") : 0;
}

/* Does an array of n_rows rows lie inside the slot, aligned? */
static bool fits(uint64_t at, uint64_t row_bytes, uint32_t n_rows, uint64_t slot_bytes)
{
	uint64_t n_bytes;

	return at % 8 == 0 && !__builtin_mul_overflow(row_bytes, n_rows, &n_bytes) &&
	       n_bytes <= slot_bytes && at <= slot_bytes - n_bytes;
}

static int end_nonsense(struct rf_session *s, const char *what)
{
	return session_end(s, "ProtocolError", "the daemon at %s sent %s", s->socket, what);
}

/* An eventfd has no file behind it, and so no type. A pipe or socket without a reader would raise SIGPIPE. */
static bool is_eventfd(int fd)
{
	struct stat st;

	return fcntl(fd, F_GETFL) & O_NONBLOCK && fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
}

/* Keeps the eventfd that came with ATTACHED, which takes a release without a wait; anything else would not. */
static int keep_bell(struct rf_session *s, int fd)
{
	if (fd >= 0 && !is_eventfd(fd)) {
		close(fd);
		return end_nonsense(s, "ATTACHED with a descriptor that is no eventfd");
	}
	pthread_mutex_lock(&s->shared.lock);
	s->shared.bell = fd;
	pthread_mutex_unlock(&s->shared.lock);
	return 0;
}

static int on_attached(struct rf_session *s, const struct wire_ATTACHED *m, int fd)
{
	int r = keep_bell(s, fd);

	if (r < 0)
		return r;
	if (m->n_fields == 0 || m->n_fields > FIELDS_MAX)
		return end_nonsense(s, "ATTACHED with an impossible number of fields");
	if (m->n_slots == 0 || m->n_slots > SLOTS_MAX)
		return end_nonsense(s, "ATTACHED with an impossible number of slots");
	if (m->n_rows == 0 || m->n_rows > ROWS_MAX || !fits(m->index_at, 8, m->n_rows, m->slot_bytes) ||
	    !fits(m->position_at, 8, m->n_rows, m->slot_bytes) ||
	    !fits(m->valid_at, 1, m->n_rows, m->slot_bytes))
		return end_nonsense(s, "ATTACHED with arrays outside the slot");
	if (strlen(m->fingerprint) != sizeof(s->shared.place.fingerprint) - 1 ||
	    strspn(m->fingerprint, "0123456789abcdef") != strlen(m->fingerprint))
		return end_nonsense(s, "ATTACHED with a fingerprint that is none");
	if (m->n_samples > INT64_MAX || m->n_batches > INT64_MAX || m->epoch > INT64_MAX)
		return end_nonsense(s, "ATTACHED with an impossible count");
	if (m->is_shared > 1)
		return end_nonsense(s, "ATTACHED with slots that are neither shared nor not");
	s->attached = *m;
	s->n_came = 0;
	memset(&s->incoming, 0, sizeof(s->incoming));
	s->incoming.n_fields = m->n_fields;
	s->incoming.n_slots = m->n_slots;
	/* What was for reading stays so, whatever the next daemon says. */
	s->incoming.is_shared = m->is_shared || s->identity.has_replica ||
				(s->was_attached && s->shared.layout.is_shared);
	s->incoming.n_rows = m->n_rows;
	s->incoming.slot_bytes = m->slot_bytes;
	s->incoming.index_at = m->index_at;
	s->incoming.position_at = m->position_at;
	s->incoming.valid_at = m->valid_at;
	s->state = SESSION_RECEIVING;
	return 0;
}

static int on_field(struct rf_session *s, const struct wire_FIELD *m)
{
	struct feed_field *f = &s->incoming.fields[s->n_came];
	const uint32_t dims[DIMS_MAX] = {m->dim0, m->dim1, m->dim2, m->dim3};
	uint64_t n_bytes;

	if (m->dtype >= DTYPE_COUNT)
		return session_end(s, "VersionMismatch",
				   "the daemon at %s (ringfeed %s) uses an element type that this library (ringfeed %s) does not know",
				   s->socket, s->daemon_release, RINGFEED_VERSION);
	if (m->n_dims > DIMS_MAX || m->name[0] == '\0')
		return end_nonsense(s, "FIELD without a name or with too many dimensions");
	n_bytes = dtype_bytes((enum dtype)m->dtype);
	for (unsigned i = 0; i < m->n_dims; i++)
		if (__builtin_mul_overflow(n_bytes, dims[i], &n_bytes))
			return end_nonsense(s, "FIELD with an impossible shape");
	if (n_bytes != m->row_bytes || !fits(m->at, n_bytes, s->incoming.n_rows, s->incoming.slot_bytes))
		return end_nonsense(s, "FIELD whose array is outside the slot");
	if (m->kind > WIRE_TEXT || (m->kind == WIRE_ARRAY) != (m->lengths_at == 0) ||
	    (m->kind != WIRE_ARRAY && (m->dtype != DTYPE_uint8 || m->n_dims != 1 ||
				       !fits(m->lengths_at, sizeof(int64_t), s->incoming.n_rows,
					     s->incoming.slot_bytes))))
		return end_nonsense(s, "FIELD of a kind that cannot be");
	for (unsigned i = 0; i < s->n_came; i++)
		if (strcmp(s->incoming.fields[i].name, m->name) == 0)
			return end_nonsense(s, "two FIELDs of one name");
	*f = (struct feed_field){.dtype = (enum dtype)m->dtype, .n_dims = m->n_dims, .at = m->at,
				   .row_bytes = n_bytes, .kind = m->kind, .lengths_at = m->lengths_at};
	memcpy(f->name, m->name, sizeof(f->name));
	memcpy(f->dims, dims, m->n_dims * sizeof(*dims));
	s->n_came++;
	return 0;
}

/* Is the feed that came back the one that was lost? Slots may be fewer or more. */
static bool is_same_layout(const struct feed_layout *a, const struct feed_layout *b)
{
	if (a->n_fields != b->n_fields || a->is_shared != b->is_shared || a->n_rows != b->n_rows || a->index_at != b->index_at ||
	    a->position_at != b->position_at || a->valid_at != b->valid_at)
		return false;
	for (unsigned i = 0; i < a->n_fields; i++) {
		const struct feed_field *f = &a->fields[i], *g = &b->fields[i];

		if (strcmp(f->name, g->name) != 0 || f->dtype != g->dtype || f->n_dims != g->n_dims ||
		    f->at != g->at || f->kind != g->kind || f->lengths_at != g->lengths_at ||
		    memcmp(f->dims, g->dims, sizeof(f->dims)) != 0)
			return false;
	}
	return true;
}

/* Everything came: the session stands where ATTACHED said. */
static int finish(struct rf_session *s)
{
	const struct wire_ATTACHED *m = &s->attached;
	const bool is_moving = !s->was_attached || (s->is_seeking && !s->is_resizing);
	int r = 0;

	pthread_mutex_lock(&s->shared.lock);
	if (!is_moving && m->epoch == s->shared.epoch + 1)
		s->is_end_due = true;
	else if (!is_moving && m->epoch != s->shared.epoch)
		r = -EPROTO;
	else if (is_moving)
		s->shared.n_returned = 0;
	if (!s->was_attached)
		s->shared.layout = s->incoming;
	/* The rest is the same, and callers may be reading a field's name. */
	s->shared.layout.n_slots = s->incoming.n_slots;
	s->shared.layout.slot_bytes = s->incoming.slot_bytes;
	s->shared.n_samples = m->n_samples;
	s->shared.n_batches = m->n_batches + (s->is_end_due ? 0 : s->shared.n_returned);
	s->shared.epoch = m->epoch - (s->is_end_due ? 1 : 0);
	s->shared.place = (struct token){.seed = m->seed, .order_hash = m->order_hash, .epoch = m->epoch,
					 .position = m->position, .bad = m->bad};
	memcpy(s->shared.place.fingerprint, m->fingerprint, sizeof(s->shared.place.fingerprint));
	pthread_mutex_unlock(&s->shared.lock);
	if (r < 0)
		return end_nonsense(s, "ATTACHED with another epoch than the token's");
	r = inbox_open(s->shared.fd);
	if (r < 0)
		return session_end_errno(s, r, "setting the socket's time to wait");
	s->serial = m->serial;
	s->was_attached = true;
	s->state = SESSION_ATTACHED;
	return 0;
}

static int on_slot(struct rf_session *s, const struct wire_SLOT *m, int fd)
{
	unsigned expected = s->n_came - s->incoming.n_fields;
	const bool is_writable = !s->incoming.is_shared || s->is_pin_wanted;
	const char *fault;
	struct map *map;
	int r;

	if (m->slot != expected || m->n_bytes != s->incoming.slot_bytes) {
		close(fd);
		return end_nonsense(s, "SLOT of another number or size than ATTACHED announced");
	}
	map = map_open(fd, m->n_bytes, is_writable, &fault);
	if (!map)
		return fault ? end_nonsense(s, fault)
			     : session_end_errno(s, errno ? -errno : -ENOMEM, "mapping a slot");
	pthread_mutex_lock(&s->shared.lock);
	s->shared.maps[m->slot] = map;
	pthread_mutex_unlock(&s->shared.lock);
	s->n_came++;
	if (s->n_came < s->incoming.n_fields + s->incoming.n_slots)
		return 0;
	if (s->was_attached && !is_same_layout(&s->shared.layout, &s->incoming))
		return session_end(s, "Refused", "the daemon at %s came back with another layout of feed %s",
				   s->socket, s->feed);
	session_pin(s);
	r = session_protect(s);
	return r < 0 ? session_end_errno(s, r, "making slots read-only") : finish(s);
}

/* One message on the way to ATTACHED. */
static int on_message(struct rf_session *s, const union message *m, int fd)
{
	bool is_field = s->state == SESSION_RECEIVING && s->n_came < s->incoming.n_fields;

	if (m->head.type == WIRE_FAILED)
		return session_failed(s, &m->failed);
	if (m->head.type == WIRE_WELCOME && s->state == SESSION_GREETING)
		return on_welcome(s, &m->welcome);
	if (m->head.type == WIRE_ATTACHED && s->state == SESSION_ATTACHING)
		return on_attached(s, &m->attached, fd);
	if (m->head.type == WIRE_FIELD && is_field)
		return on_field(s, &m->field);
	if (m->head.type == WIRE_SLOT && s->state == SESSION_RECEIVING && !is_field)
		return on_slot(s, &m->slot, fd);
	if (fd >= 0)
		close(fd);
	return end_nonsense(s, "a message out of turn while attaching");
}

/* GREETING to RECEIVING: hear one message. */
static int hear(struct rf_session *s, int64_t deadline_ns)
{
	static const char *const stages[] = {[SESSION_GREETING] = "HELLO", [SESSION_ATTACHING] = "ATTACH",
					     [SESSION_RECEIVING] = "ATTACH in full"};
	bool is_slice = deadline_ns < s->answer_by;
	union message m;
	int fd, r;

	r = session_receive(s, &m, &fd, is_slice ? deadline_ns : s->answer_by);
	if (r == 0)
		return on_message(s, &m, fd);
	if (r == CONNECTION_E_LATE && is_slice)
		return r;
	if (r == CONNECTION_E_LATE)
		return session_end(s, "DaemonGone",
				   "the daemon at %s took the connection but did not answer %s in time",
				   s->socket, stages[s->state]);
	if (r == CONNECTION_E_NONSENSE)
		return end_nonsense(s, "bytes that are no message");
	if (r < 0)
		return session_end_errno(s, r, "receiving from the daemon");
	return session_lose(s);
}

/* The session stands where SOUGHT says. With batches of another size the pass goes on, be it only to its end. */
static void arrive(struct rf_session *s, const struct wire_SOUGHT *m)
{
	pthread_mutex_lock(&s->shared.lock);
	s->is_end_due = s->is_resizing && m->epoch == s->shared.epoch + 1;
	if (!s->is_resizing)
		s->shared.n_returned = 0;
	s->shared.epoch = m->epoch - (s->is_end_due ? 1 : 0);
	s->shared.n_batches = m->n_batches + (s->is_end_due ? 0 : s->shared.n_returned);
	s->shared.place.epoch = m->epoch;
	s->shared.place.position = m->position;
	s->shared.place.bad = m->bad;
	pthread_mutex_unlock(&s->shared.lock);
	s->is_seeking = s->is_resizing = s->is_seek_sent = false;
}

/* ATTACHED, but elsewhere than the caller wants. */
static int seek(struct rf_session *s, int64_t deadline_ns)
{
	struct wire_SEEK m = {.epoch = s->seek_epoch, .batch = s->batch};
	union message answer;
	struct rf_batch *b;
	int fd, r;

	if (!s->is_seek_sent) {
		m.serial = s->serial + 1;
		memcpy(m.token, s->seek_token, sizeof(m.token));
		r = connection_send(s->shared.fd, WIRE_SEEK, &m, deadline_ns);
		if (r < 0)
			return session_end_errno(s, r, "sending SEEK");
		if (r == CONNECTION_E_LATE)
			return r;
		s->serial++;
		s->is_seek_sent = true;
	}
	r = session_receive(s, &answer, &fd, deadline_ns);
	if (r == CONNECTION_E_LATE)
		return r;
	if (r == CONNECTION_E_GONE)
		return session_lose(s);
	if (r < 0)
		return session_end_errno(s, r, "receiving from the daemon");
	if (r == 0 && answer.head.type == WIRE_FAILED)
		return session_failed(s, &answer.failed);
	if (r == 0 && answer.head.type == WIRE_BATCH && answer.batch.serial != s->serial)
		return loan_take(s, &answer.batch, &b);
	if (r == 0 && answer.head.type == WIRE_EPOCH_END &&
	    (int32_t)(answer.epoch_end.serial - s->serial) < 0)
		return 0;
	if (r == 0 && answer.head.type == WIRE_PEER_GONE)
		return session_note_gone(s, &answer.peer_gone);
	if (r == 0 && fd >= 0)
		close(fd);
	if (r != 0 || answer.head.type != WIRE_SOUGHT || answer.sought.serial != s->serial ||
	    answer.sought.epoch > INT64_MAX || answer.sought.n_batches > INT64_MAX)
		return end_nonsense(s, "something else than SOUGHT");
	arrive(s, &answer.sought);
	return 0;
}

static int end_late(struct rf_session *s)
{
	switch (s->state) {
	case SESSION_LOST:
		return session_refuse(s, "Timeout", "the daemon at %s is %s; still trying: %s", s->socket,
				      s->was_attached ? "gone" : "not there", strerror(s->gone_errno));
	case SESSION_ATTACHED:
		return session_refuse(s, "Timeout", "the daemon at %s did not confirm the new place in time",
				      s->socket);
	default:
		return session_refuse(s, "Timeout", "the daemon at %s did not attach feed %s in time",
				      s->socket, s->feed);
	}
}

int session_attend(struct rf_session *s, int64_t deadline_ns)
{
	for (;;) {
		int r = 0;

		switch (s->state) {
		case SESSION_OVER:
			return s->over_errno;
		case SESSION_LOST:
			r = try_connect(s, deadline_ns);
			break;
		case SESSION_GREETING:
		case SESSION_ATTACHING:
		case SESSION_RECEIVING:
			r = hear(s, deadline_ns);
			break;
		case SESSION_ATTACHED:
			if (!s->is_seeking)
				return 0;
			r = seek(s, deadline_ns);
			break;
		}
		if (r < 0)
			return r;
		if (r == CONNECTION_E_LATE)
			return end_late(s);
	}
}
