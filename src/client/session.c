/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Sessions: open, next, where we are, close.
 *
 * Batches wait in the socket, and in the inbox of what was taken from it together, until they are asked for; a token
 * is that of the last BATCH that was handed to the caller.
 */
#include "client/session.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"

enum { TIMEOUT_MS = 60000, OPEN_WAIT_MS = 5000 };

static const struct rf_error closed_error = {"Closed", "the session was closed"};
static const struct rf_error forked_error = {
	"Forked", "the session was opened before a fork; open one of its own in the child"};
static const struct rf_error none_error = {"BadConfig", "there is no session"};

/* A page that a fork leaves empty in the child tells it without a system call. Before Linux 4.14, and where the kernel is
 * an imitation that takes any advice, there is none. */
static const uint32_t *make_mark(void)
{
	uint32_t *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, sizeof(*page), -1) == 0 || madvise(page, sizeof(*page), MADV_WIPEONFORK) < 0) {
		munmap(page, sizeof(*page));
		return NULL;
	}
	*page = MARK;
	return page;
}

bool session_is_own(const struct rf_session *s)
{
	return s->mark ? *s->mark == MARK : s->pid == getpid();
}

/* May this process use the session, and is it open? */
static int check(const struct rf_session *s)
{
	if (!s || (s->magic != SESSION_MAGIC && s->magic != CLOSED_MAGIC))
		return -EINVAL;
	if (!session_is_own(s))
		return -EOWNERDEAD;
	return s->magic == CLOSED_MAGIC ? -EBADF : 0;
}

/* Makes the caller the one thread inside. */
static int enter(struct rf_session *s)
{
	int r = check(s);

	if (r < 0)
		return r;
	/* Acquire: what the last thread inside wrote is seen here; its partner is leave(). */
	if (atomic_exchange_explicit(&s->is_busy, true, memory_order_acquire))
		return -EBUSY;
	return 0;
}

static int leave(struct rf_session *s, int r)
{
	atomic_store_explicit(&s->is_busy, false, memory_order_release); /* partner: enter() */
	return r;
}

static int64_t deadline_of(const struct rf_session *s, int timeout_ms)
{
	return clock_after_ms(timeout_ms < 0 ? s->timeout_ms : timeout_ms);
}

void session_free(struct rf_session *s)
{
	pthread_mutex_destroy(&s->shared.lock);
	free(s->shared.loans);
	if (s->mark)
		munmap((void *)s->mark, sizeof(*s->mark));
	s->magic = 0;
	free(s);
}

/* Copies a text into a field of the wire, or says that it does not fit. */
static int copy_text(char *to, size_t n, const char *text, const char *what, struct reason *why)
{
	if (text && strlen(text) >= n) {
		reason_set(why, "the %s is %zu bytes long; at most %zu are possible", what, strlen(text),
			   n - 1);
		return ENVIRONMENT_E_REFUSED;
	}
	if (text)
		strcpy(to, text);
	return 0;
}

static int read_options(struct rf_session *s, const struct rf_options *o, struct reason *why)
{
	int r;

	if (!o->feed || !*o->feed) {
		reason_set(why, "no feed is named");
		return ENVIRONMENT_E_REFUSED;
	}
	if (o->credit < 0 || o->timeout_ms < 0 || o->reconnect_ms < 0) {
		reason_set(why, "credit %d, timeout_ms %d, reconnect_ms %d: 0 or more is wanted", o->credit,
			   o->timeout_ms, o->reconnect_ms);
		return ENVIRONMENT_E_REFUSED;
	}
	if (o->start != RF_START_NOW && o->start != RF_START_NEXT_EPOCH) {
		reason_set(why, "start %d: RF_START_NOW (%d) or RF_START_NEXT_EPOCH (%d) is wanted", o->start,
			   RF_START_NOW, RF_START_NEXT_EPOCH);
		return ENVIRONMENT_E_REFUSED;
	}
	s->start = (enum rf_start)o->start;
	s->credit = (uint32_t)o->credit;
	s->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	s->reconnect_ms = o->reconnect_ms;
	s->is_pin_wanted = o->pin != 0;
	r = copy_text(s->feed, sizeof(s->feed), o->feed, "feed's name", why);
	if (r == 0)
		r = copy_text(s->shared.given, sizeof(s->shared.given), o->token, "token", why);
	if (r == 0)
		r = environment_socket(o->socket, s->socket, why);
	if (r == 0)
		r = environment_identity(o, &s->identity, why);
	return r;
}

static void fill_error(struct rf_error *ret, const struct rf_error *from)
{
	if (ret)
		*ret = *from;
}

int rf_session_open(const struct rf_options *options, struct rf_session **ret_session,
		    struct rf_error *ret_error)
{
	static const struct rf_error memory_error = {"SystemError", "no memory for a session"};
	struct rf_options o = {0};
	struct rf_error e = {"BadConfig", ""};
	struct rf_session *s;
	struct reason why;
	int r;

	if (!options || !ret_session || options->size < sizeof(size_t)) {
		fill_error(ret_error, &none_error);
		return -EINVAL;
	}
	/* An older program's options are shorter; a newer one's longer part is not known here. */
	memcpy(&o, options, options->size < sizeof(o) ? options->size : sizeof(o));
	s = calloc(1, sizeof(*s));
	if (!s || loans_init(s) < 0) {
		free(s);
		fill_error(ret_error, &memory_error);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->shared.lock, NULL);
	s->magic = SESSION_MAGIC;
	s->pid = getpid();
	s->mark = make_mark();
	s->shared.fd = s->shared.bell = -1;
	if (read_options(s, &o, &why) != 0) {
		memcpy(e.text, why.text, sizeof(e.text));
		fill_error(ret_error, &e);
		session_free(s);
		return -EINVAL;
	}
	s->state = SESSION_LOST;
	s->backoff_ms = 20;
	s->retry_at = clock_now_ns();
	s->gone_at = clock_after_ms(s->reconnect_ms < OPEN_WAIT_MS ? s->reconnect_ms : OPEN_WAIT_MS);
	/* No deadline of the caller's: the attempt ends by gone_at or answer_by. */
	r = o.is_deferred ? 0 : session_attend(s, INT64_MAX);
	if (r < 0) {
		fill_error(ret_error, &s->error);
		session_drop(s);
		session_free(s);
		return r;
	}
	*ret_session = s;
	return 0;
}

/* The pass of the epoch is through: the next one is what follows. */
static int end_epoch(struct rf_session *s, uint64_t n_batches)
{
	pthread_mutex_lock(&s->shared.lock);
	s->shared.epoch++;
	s->shared.n_returned = 0;
	s->shared.n_batches = n_batches;
	if (!s->is_end_due) {
		s->shared.place.epoch = s->shared.epoch;
		s->shared.place.position = s->shared.place.bad = 0;
	}
	pthread_mutex_unlock(&s->shared.lock);
	s->is_end_due = false;
	return -ENODATA;
}

int session_note_gone(struct rf_session *s, const struct wire_PEER_GONE *m)
{
	if (m->rank >= s->identity.world || s->n_gone == PEERS_MAX)
		return session_end(s, "ProtocolError", "the daemon at %s sent PEER_GONE of a trainer that cannot be",
				   s->socket);
	s->gone[s->n_gone++] = (struct rf_peer){m->rank, m->replica ? m->replica - 1 : 0};
	return 0;
}

/* Tells of the first death that the caller does not know of. */
static int tell_gone(struct rf_session *s)
{
	char replica[32] = "";

	s->told = s->gone[0];
	s->has_told = true;
	s->n_gone--;
	memmove(s->gone, s->gone + 1, s->n_gone * sizeof(*s->gone));
	if (s->told.replica)
		snprintf(replica, sizeof(replica), "replica %u of ", s->told.replica);
	return session_refuse(s, "PeerGone", "%srank %u of this group on feed %s has died; who takes its place goes on at "
			      "its token", replica, s->told.rank, s->feed);
}

/* A message that came while attached. 0 with *ret set or not, or -errno. */
static int on_message(struct rf_session *s, const union message *m, int fd, struct rf_batch **ret)
{
	if (m->head.type == WIRE_BATCH)
		return loan_take(s, &m->batch, ret);
	if (m->head.type == WIRE_EPOCH_END && m->epoch_end.serial == s->serial &&
	    m->epoch_end.epoch == s->shared.epoch && m->epoch_end.n_batches <= INT64_MAX)
		return end_epoch(s, m->epoch_end.n_batches);
	if (m->head.type == WIRE_FAILED)
		return session_failed(s, &m->failed);
	if (m->head.type == WIRE_PEER_GONE)
		return session_note_gone(s, &m->peer_gone);
	if (fd >= 0)
		close(fd);
	return session_end(s, "ProtocolError", "the daemon at %s sent a message out of turn", s->socket);
}

/* Does the caller hold all he may, so that no batch can come? Then how many, else 0. */
static unsigned n_full(struct rf_session *s)
{
	unsigned most = s->shared.layout.n_slots, n_held;

	if (s->credit > 0 && s->credit < most)
		most = s->credit;
	pthread_mutex_lock(&s->shared.lock);
	n_held = s->shared.n_returned < s->shared.n_batches ? s->shared.n_held : 0;
	pthread_mutex_unlock(&s->shared.lock);
	return n_held >= most ? n_held : 0;
}

/* The next message: 0, CONNECTION_E_NONE when none can come, _LATE, _GONE, _NONSENSE or -errno. */
static int take_or_wait(struct rf_session *s, int64_t deadline_ns, union message *ret, int *ret_fd)
{
	if (n_full(s) == 0)
		return session_receive(s, ret, ret_fd, deadline_ns);
	*ret_fd = -1; /* what is no batch may be there */
	return inbox_take(&s->inbox, s->shared.fd, false, ret);
}

static int next_batch(struct rf_session *s, int64_t deadline_ns, struct rf_batch **ret_batch)
{
	for (;;) {
		struct rf_batch *b = NULL;
		union message m;
		int fd, r;

		r = session_attend(s, deadline_ns);
		if (r < 0)
			return r;
		if (s->n_gone > 0)
			return tell_gone(s);
		if (s->is_end_due)
			return end_epoch(s, s->shared.n_batches);
		r = take_or_wait(s, deadline_ns, &m, &fd);
		if (r == 0)
			r = on_message(s, &m, fd, &b);
		else if (r == CONNECTION_E_NONE)
			return session_refuse(s, "TooManyHeld", "all %u batches that may be lent are held; release one "
					      "first", n_full(s));
		else if (r == CONNECTION_E_LATE)
			return session_refuse(s, "Timeout",
					      "no batch of feed %s in time from the daemon at %s (pid %u), which is there: "
					      "ringfeed status says what it waits for",
					      s->feed, s->socket, s->daemon_pid);
		else if (r == CONNECTION_E_NONSENSE)
			return session_end(s, "ProtocolError", "the daemon at %s sent bytes that are no message",
					   s->socket);
		else if (r < 0)
			return session_end_errno(s, r, "receiving from the daemon");
		else
			r = session_lose(s);
		if (r < 0)
			return r;
		if (b) {
			*ret_batch = b;
			return 0;
		}
	}
}

int rf_session_next(struct rf_session *s, int timeout_ms, struct rf_batch **ret_batch)
{
	int64_t began;
	int r;

	if (!ret_batch || timeout_ms < -1)
		return -EINVAL;
	r = enter(s);
	if (r < 0)
		return r;
	began = clock_now_ns();
	r = next_batch(s, began + (int64_t)(timeout_ms < 0 ? s->timeout_ms : timeout_ms) * 1000000, ret_batch);
	pthread_mutex_lock(&s->shared.lock);
	s->shared.wait_ns += clock_now_ns() - began;
	pthread_mutex_unlock(&s->shared.lock);
	return leave(s, r);
}

static void seek_begin(struct rf_session *s, uint64_t epoch, const char *token)
{
	memset(s->seek_token, 0, sizeof(s->seek_token));
	strcpy(s->seek_token, token);
	s->seek_epoch = epoch;
	s->is_seeking = true;
	s->is_resizing = false;
	s->is_seek_sent = false; /* an answer to an older SEEK is out of date by its serial */
}

/* Goes where seek_epoch and seek_token say, unless that is under way. */
static int seek_to(struct rf_session *s, uint64_t epoch, const char *token, int timeout_ms)
{
	if (!s->is_seeking || s->is_resizing || s->seek_epoch != epoch || strcmp(s->seek_token, token) != 0)
		seek_begin(s, epoch, token);
	return session_attend(s, deadline_of(s, timeout_ms));
}

int rf_session_set_epoch(struct rf_session *s, uint64_t epoch, int timeout_ms)
{
	int r;

	if (epoch > INT64_MAX || timeout_ms < -1)
		return -EINVAL;
	r = enter(s);
	if (r < 0)
		return r;
	if (s->was_attached && !s->is_seeking && !s->is_end_due && s->shared.epoch == epoch &&
	    s->shared.n_returned == 0)
		return leave(s, s->state == SESSION_OVER ? s->over_errno : 0);
	return leave(s, seek_to(s, epoch, "", timeout_ms));
}

int rf_session_set_batch_size(struct rf_session *s, uint32_t size, int timeout_ms)
{
	char token[TOKEN_BYTES];
	bool is_here;
	int r;

	if (size == 0 || timeout_ms < -1)
		return -EINVAL;
	r = enter(s);
	if (r < 0)
		return r;
	if (!s->was_attached) {
		r = session_attend(s, deadline_of(s, timeout_ms));
		if (r < 0)
			return leave(s, r);
	}
	if (size > s->shared.layout.n_rows)
		return leave(s, session_refuse(s, "BadConfig", "a batch of %u samples: the slots of feed %s hold 1 to %u; a "
					       "larger batch.size makes them larger", size, s->feed, s->shared.layout.n_rows));
	is_here = !s->is_seeking || s->is_resizing;
	s->is_seek_sent = s->is_seek_sent && s->batch == size;
	s->batch = size;
	session_token_text(s, token);
	if (!s->is_seeking)
		seek_begin(s, 0, token);
	s->is_resizing = is_here;
	return leave(s, session_attend(s, deadline_of(s, timeout_ms)));
}

int rf_session_load_token(struct rf_session *s, const char *token, int timeout_ms)
{
	int r;

	if (!token || timeout_ms < -1)
		return -EINVAL;
	r = enter(s);
	if (r < 0)
		return r;
	if (!*token || strlen(token) >= sizeof(s->seek_token))
		return leave(s, session_refuse(s, "TokenError", "a token has 1 to %zu bytes, this one %zu",
					       sizeof(s->seek_token) - 1, strlen(token)));
	return leave(s, seek_to(s, 0, token, timeout_ms));
}

int rf_session_reconnect(struct rf_session *s, int timeout_ms)
{
	int64_t deadline;
	int r;

	if (timeout_ms < -1)
		return -EINVAL;
	r = enter(s);
	if (r < 0)
		return r;
	deadline = deadline_of(s, timeout_ms);
	if (s->state == SESSION_OVER) {
		s->state = SESSION_LOST;
		s->backoff_ms = 20;
		s->retry_at = clock_now_ns();
		s->gone_at = deadline;
	}
	return leave(s, session_attend(s, deadline));
}

void session_token_text(const struct rf_session *s, char ret_text[TOKEN_BYTES])
{
	if (s->shared.layout.n_slots == 0)
		memcpy(ret_text, s->shared.given, sizeof(s->shared.given));
	else
		token_format(&s->shared.place, ret_text);
}

int rf_session_token(const struct rf_session *s, char *text, size_t n_text)
{
	char whole[TOKEN_BYTES];
	pthread_mutex_t *lock;
	int r = check(s);
	size_t n;

	if (r == 0 && !text)
		r = -EINVAL;
	if (r < 0)
		return r;
	lock = &((struct rf_session *)s)->shared.lock;
	pthread_mutex_lock(lock);
	session_token_text(s, whole);
	pthread_mutex_unlock(lock);
	n = strlen(whole);
	if (n == 0)
		r = -ENODATA;
	else if (n >= n_text)
		r = -ENOSPC;
	else
		memcpy(text, whole, n + 1);
	return r < 0 ? r : (int)n;
}

int rf_session_pinned(const struct rf_session *s, char *text, size_t n_text)
{
	struct rf_session *own = (struct rf_session *)s;
	int r = check(s);

	if (r == 0 && !text && n_text > 0)
		r = -EINVAL;
	if (r < 0)
		return r;
	pthread_mutex_lock(&own->shared.lock);
	if (s->shared.layout.n_slots == 0)
		r = -ENODATA;
	else
		r = s->shared.is_pinned;
	if (n_text > 0)
		snprintf(text, n_text, "%s", r == 0 ? s->shared.not_pinned.text : "");
	pthread_mutex_unlock(&own->shared.lock);
	return r;
}

int rf_session_gone_peer(const struct rf_session *s, struct rf_peer *ret_peer)
{
	int r = check(s);

	if (r == 0 && !ret_peer)
		r = -EINVAL;
	if (r == 0 && !s->has_told)
		r = -ENODATA;
	if (r == 0)
		*ret_peer = s->told;
	return r;
}

const struct rf_error *rf_session_error(const struct rf_session *s)
{
	switch (check(s)) {
	case 0:
		return &s->error;
	case -EBADF:
		return &closed_error;
	case -EOWNERDEAD:
		return &forked_error;
	default:
		return &none_error;
	}
}

#define NUMBER(member) offsetof(struct rf_session, member), sizeof(((struct rf_session *)0)->member)

/* A number of the session, read whole. */
static int64_t read_number(const struct rf_session *s, size_t offset, size_t n_bytes)
{
	pthread_mutex_t *lock;
	uint64_t wide = 0;
	int r = check(s);

	if (r < 0)
		return r;
	lock = &((struct rf_session *)s)->shared.lock;
	pthread_mutex_lock(lock);
	if (s->shared.layout.n_slots == 0)
		r = -ENODATA;
	else if (n_bytes == sizeof(unsigned))
		wide = *(const unsigned *)((const char *)s + offset);
	else
		wide = *(const uint64_t *)((const char *)s + offset);
	pthread_mutex_unlock(lock);
	return r < 0 ? r : (int64_t)wide;
}

int64_t rf_session_n_batches(const struct rf_session *s)
{
	return read_number(s, NUMBER(shared.n_batches));
}

int64_t rf_session_n_samples(const struct rf_session *s)
{
	return read_number(s, NUMBER(shared.n_samples));
}

int64_t rf_session_epoch(const struct rf_session *s)
{
	return read_number(s, NUMBER(shared.epoch));
}

int64_t rf_session_n_returned(const struct rf_session *s)
{
	return read_number(s, NUMBER(shared.n_returned));
}

int rf_session_n_fields(const struct rf_session *s)
{
	return (int)read_number(s, NUMBER(shared.layout.n_fields));
}

int rf_session_shared(const struct rf_session *s)
{
	return (int)read_number(s, NUMBER(shared.layout.is_shared));
}

int64_t rf_session_wait_ns(const struct rf_session *s)
{
	return read_number(s, NUMBER(shared.wait_ns));
}

const char *rf_session_field_name(const struct rf_session *s, int i)
{
	int n = rf_session_n_fields(s);

	return i >= 0 && i < n ? s->shared.layout.fields[i].name : NULL;
}

int rf_session_column(const struct rf_session *s, int i, struct rf_column *ret)
{
	const struct feed_layout *l = &s->shared.layout;
	int n = rf_session_n_fields(s);

	if (n < 0)
		return n;
	if (!ret)
		return -EINVAL;
	if (i >= 0 && i < n) {
		const struct feed_field *f = &l->fields[i];

		*ret = (struct rf_column){.name = f->name, .dtype = dtype_name(f->dtype), .at = f->at,
					  .n_dims = (int)f->n_dims};
		for (unsigned k = 0; k < f->n_dims; k++)
			ret->shape[k] = f->dims[k];
	} else if (i == n) {
		*ret = (struct rf_column){.name = "index", .dtype = "int64", .at = l->index_at};
	} else if (i == n + 1) {
		*ret = (struct rf_column){.name = "position", .dtype = "int64", .at = l->position_at};
	} else if (i == n + 2) {
		*ret = (struct rf_column){.name = "valid", .dtype = "bool", .at = l->valid_at};
	} else {
		return -ENOENT;
	}
	return 0;
}

int rf_session_lengths(const struct rf_session *s, int i, struct rf_column *ret)
{
	const struct feed_field *f;
	int n = rf_session_n_fields(s);

	if (n < 0)
		return n;
	if (!ret)
		return -EINVAL;
	if (i < 0 || i >= n)
		return -ENOENT;
	f = &s->shared.layout.fields[i];
	if (f->kind == WIRE_ARRAY)
		return RF_ARRAY;
	*ret = (struct rf_column){.name = f->name, .dtype = "int64", .at = f->lengths_at};
	return f->kind == WIRE_TEXT ? RF_TEXT : RF_BYTES;
}

struct rf_session *rf_session_close(struct rf_session *s)
{
	struct wire_DETACH m = {0};
	bool is_last, is_kept = false;
	int r = enter(s);

	if (r == -EBUSY)
		return s;
	if (r < 0)
		return NULL;
	/* Full socket or no daemon: the hang-up says the same. */
	if (s->state == SESSION_ATTACHED) {
		pthread_mutex_lock(&s->shared.lock);
		leases_flush(s);
		m.last_lease = s->shared.last_lease;
		is_kept = connection_send_now(s->shared.fd, WIRE_DETACH, &m) == 0 && s->shared.n_held > 0;
		pthread_mutex_unlock(&s->shared.lock);
	}
	if (!is_kept)
		session_drop(s);
	pthread_mutex_lock(&s->shared.lock);
	s->magic = CLOSED_MAGIC;
	if (is_kept)
		session_unmap(s);
	if (is_kept && s->shared.n_held == 0)
		session_disconnect(s); /* released meanwhile; else the last release does it */
	is_last = s->shared.n_open == 0;
	leave(s, 0);
	/* From here on the release of the last batch, in another thread, may free s. */
	pthread_mutex_unlock(&s->shared.lock);
	if (is_last)
		session_free(s);
	return NULL;
}
