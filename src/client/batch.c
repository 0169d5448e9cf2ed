/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Loans: a batch that the caller holds.
 *
 * Handles come from one array per session and go back to the end of a queue, so that a stale pointer
 * meets a free handle, and is named, for a thousand loans. A loan refers to its slot's mapping, which
 * therefore outlives a lost daemon and rf_session_close(). Releases come from any thread: they take the
 * lock for one non-blocking send; the connection outlives rf_session_close() for them. A full socket leaves the lease in `pending`; the daemon has then at
 * least a hundred releases to read, answers to those, and so wakes rf_session_next(), which sends the rest.
 */
#include "client/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"

int loans_init(struct rf_session *s)
{
	s->shared.loans = calloc(LOANS_MAX, sizeof(*s->shared.loans));
	if (!s->shared.loans)
		return fail(-ENOMEM);
	for (unsigned i = 0; i < LOANS_MAX; i++) {
		struct rf_batch *b = &s->shared.loans[i];

		b->magic = BATCH_MAGIC;
		b->session = s;
		b->next_free = i + 1 < LOANS_MAX ? b + 1 : NULL;
	}
	s->shared.free_first = s->shared.loans;
	s->shared.free_last = &s->shared.loans[LOANS_MAX - 1];
	return 0;
}

/* One bit for each of the first slots: BELL_SLOTS of them, for an eventfd cannot count to all ones. */
static bool ring(const struct rf_session *s, uint32_t slot)
{
	enum { BELL_SLOTS = 63 };
	const uint64_t bit = slot < BELL_SLOTS ? UINT64_C(1) << slot : 0;

	return bit && s->shared.bell >= 0 && write(s->shared.bell, &bit, sizeof(bit)) == sizeof(bit);
}

void lease_give_back(struct rf_session *s, uint32_t slot, uint64_t lease)
{
	struct wire_RELEASE m = {.lease = lease};

	if (s->shared.fd < 0 || ring(s, slot))
		return;
	/* Any failure but a full socket is the next call's to find: it reads the hang-up. */
	if (connection_send_now(s->shared.fd, WIRE_RELEASE, &m) == CONNECTION_E_NONE &&
	    s->shared.n_pending < SLOTS_MAX)
		s->shared.pending[s->shared.n_pending++] = lease;
}

void leases_flush(struct rf_session *s)
{
	unsigned n = 0;

	while (n < s->shared.n_pending) {
		struct wire_RELEASE m = {.lease = s->shared.pending[n]};

		if (connection_send_now(s->shared.fd, WIRE_RELEASE, &m) == CONNECTION_E_NONE)
			break;
		n++;
	}
	s->shared.n_pending -= n;
	memmove(s->shared.pending, s->shared.pending + n,
		s->shared.n_pending * sizeof(*s->shared.pending));
}

/* Why this BATCH cannot be true, or NULL; caller holds the lock. */
static const char *check_batch(const struct rf_session *s, const struct wire_BATCH *m)
{
	if (m->slot >= s->shared.layout.n_slots)
		return "a slot that was never sent";
	/* Of slots that others read, too, a batch may come again after a SEEK back to it. */
	if (s->shared.n_lent[m->slot] && !s->shared.layout.is_shared)
		return "a slot that is lent already";
	if (m->n_rows > s->shared.layout.n_rows)
		return "more rows than a batch has";
	if ((int32_t)(m->serial - s->serial) > 0)
		return "a serial that was never asked for";
	if (m->serial == s->serial && m->epoch != s->shared.epoch)
		return "another epoch";
	return NULL;
}

int loan_take(struct rf_session *s, const struct wire_BATCH *m, struct rf_batch **ret)
{
	const char *fault;
	struct rf_batch *b;

	*ret = NULL;
	pthread_mutex_lock(&s->shared.lock);
	fault = check_batch(s, m);
	if (fault) {
		pthread_mutex_unlock(&s->shared.lock);
		return session_end(s, "ProtocolError", "the daemon at %s lent a batch with %s", s->socket,
				   fault);
	}
	b = s->shared.free_first;
	s->shared.last_lease = m->lease;
	if (m->serial != s->serial || !b) {
		lease_give_back(s, m->slot, m->lease);
		pthread_mutex_unlock(&s->shared.lock);
		return m->serial != s->serial ? 0
			: session_end(s, "TooManyHeld", "%d batches are mapped still; release them",
				      LOANS_MAX);
	}
	s->shared.free_first = b->next_free;
	if (!s->shared.free_first)
		s->shared.free_last = NULL;
	b->state = LOAN_LENT;
	b->map = s->shared.maps[m->slot];
	b->map->n_refs++;
	b->connection = s->shared.connection;
	b->slot = m->slot;
	b->n_rows = m->n_rows;
	b->lease = m->lease;
	b->epoch = m->epoch;
	b->step = m->step;
	b->waits = (struct rf_waits){m->read_ns, m->decode_ns, m->slots_ns, m->trainer_ns};
	s->shared.n_lent[m->slot]++;
	s->shared.n_held++;
	s->shared.n_open++;
	s->shared.n_returned++;
	s->shared.place.epoch = m->epoch_after;
	s->shared.place.position = m->position_after;
	s->shared.place.bad = m->bad;
	pthread_mutex_unlock(&s->shared.lock);
	*ret = b;
	return 0;
}

/* Takes the lock of a batch's session, if it may be used by this process. */
static int enter(const struct rf_batch *b)
{
	if (!b || b->magic != BATCH_MAGIC)
		return -EINVAL;
	if (!session_is_own(b->session))
		return -EOWNERDEAD;
	pthread_mutex_lock(&b->session->shared.lock);
	return 0;
}

static void leave(const struct rf_batch *b)
{
	pthread_mutex_unlock(&b->session->shared.lock);
}

/* The lease is over, if it is one of the present connection. */
static void end_lease(struct rf_batch *b)
{
	struct rf_session *s = b->session;

	if (b->connection != s->shared.connection || s->shared.fd < 0)
		return;
	s->shared.n_held--;
	s->shared.n_lent[b->slot]--;
	lease_give_back(s, b->slot, b->lease);
	if (s->magic == CLOSED_MAGIC && s->shared.n_held == 0)
		session_disconnect(s); /* it was kept for this release */
}

int rf_batch_return(struct rf_batch *b)
{
	int r = enter(b);

	if (r < 0)
		return r;
	if (b->state == LOAN_LENT) {
		end_lease(b);
		b->state = LOAN_RETURNED;
	} else {
		r = -EALREADY;
	}
	leave(b);
	return r;
}

int rf_batch_release(struct rf_batch *b)
{
	struct rf_session *s;
	bool is_last;
	int r = enter(b);

	if (r < 0)
		return r;
	s = b->session;
	if (b->state == LOAN_FREE) {
		leave(b);
		return -EALREADY;
	}
	if (b->state == LOAN_LENT)
		end_lease(b);
	map_put(b->map);
	b->map = NULL;
	b->state = LOAN_FREE;
	b->next_free = NULL;
	if (s->shared.free_last)
		s->shared.free_last->next_free = b;
	else
		s->shared.free_first = b;
	s->shared.free_last = b;
	is_last = --s->shared.n_open == 0 && s->magic == CLOSED_MAGIC;
	leave(b);
	if (is_last)
		session_free(s);
	return 0;
}

static const struct feed_field *find_field(const struct feed_layout *l, const char *name)
{
	for (unsigned i = 0; i < l->n_fields; i++)
		if (strcmp(l->fields[i].name, name) == 0)
			return &l->fields[i];
	return NULL;
}

int rf_batch_array(const struct rf_batch *b, const char *name, struct rf_array *ret)
{
	const struct feed_field *f;
	int r;

	if (!name || !ret)
		return -EINVAL;
	r = enter(b);
	if (r < 0)
		return r;
	f = find_field(&b->session->shared.layout, name);
	if (b->state == LOAN_FREE) {
		r = -EALREADY;
	} else if (!f) {
		r = -ENOENT;
	} else {
		*ret = (struct rf_array){.data = (char *)b->map->base + f->at,
					 .dtype = dtype_name(f->dtype),
					 .n_bytes = f->row_bytes * b->n_rows,
					 .n_dims = 1 + (int)f->n_dims,
					 .shape = {b->n_rows}};
		for (unsigned i = 0; i < f->n_dims; i++)
			ret->shape[1 + i] = f->dims[i];
	}
	leave(b);
	return r;
}

/* Where the array at that offset lies, or NULL for a batch that is not held. */
static const void *array_at(const struct rf_batch *b, size_t layout_offset)
{
	const void *at = NULL;
	uint64_t offset;

	if (enter(b) < 0)
		return NULL;
	memcpy(&offset, (const char *)&b->session->shared.layout + layout_offset, sizeof(offset));
	if (b->state != LOAN_FREE)
		at = (const char *)b->map->base + offset;
	leave(b);
	return at;
}

const int64_t *rf_batch_index(const struct rf_batch *b)
{
	return array_at(b, offsetof(struct feed_layout, index_at));
}

const int64_t *rf_batch_position(const struct rf_batch *b)
{
	return array_at(b, offsetof(struct feed_layout, position_at));
}

const uint8_t *rf_batch_valid(const struct rf_batch *b)
{
	return array_at(b, offsetof(struct feed_layout, valid_at));
}

const int64_t *rf_batch_lengths(const struct rf_batch *b, const char *name)
{
	const struct feed_field *f;
	const void *at = NULL;

	if (!name || enter(b) < 0)
		return NULL;
	f = find_field(&b->session->shared.layout, name);
	if (f && f->kind != WIRE_ARRAY && b->state != LOAN_FREE)
		at = (const char *)b->map->base + f->lengths_at;
	leave(b);
	return at;
}

/* A copy of the handle's values. */
static int read_loan(const struct rf_batch *b, struct rf_batch *ret)
{
	int r = enter(b);

	if (r < 0)
		return r;
	if (b->state == LOAN_FREE)
		r = -EALREADY;
	else
		*ret = *b;
	leave(b);
	return r;
}

int64_t rf_batch_n_rows(const struct rf_batch *b)
{
	struct rf_batch copy;
	int r = read_loan(b, &copy);

	return r < 0 ? r : (int64_t)copy.n_rows;
}

int64_t rf_batch_epoch(const struct rf_batch *b)
{
	struct rf_batch copy;
	int r = read_loan(b, &copy);

	return r < 0 ? r : (int64_t)copy.epoch;
}

int64_t rf_batch_step(const struct rf_batch *b)
{
	struct rf_batch copy;
	int r = read_loan(b, &copy);

	return r < 0 ? r : (int64_t)copy.step;
}

int rf_batch_view(const struct rf_batch *b, struct rf_view *ret_view)
{
	int r;

	if (!ret_view)
		return -EINVAL;
	r = enter(b);
	if (r < 0)
		return r;
	if (b->state == LOAN_FREE)
		r = -EALREADY;
	else
		*ret_view = (struct rf_view){.base = b->map->base, .n_bytes = b->map->n_bytes,
					     .n_rows = b->n_rows, .epoch = (int64_t)b->epoch,
					     .step = (int64_t)b->step};
	leave(b);
	return r;
}

int rf_session_next_view(struct rf_session *s, int timeout_ms, struct rf_batch **ret_batch,
			 struct rf_view *ret_view)
{
	int r = ret_view ? rf_session_next(s, timeout_ms, ret_batch) : -EINVAL;

	return r == 0 ? rf_batch_view(*ret_batch, ret_view) : r;
}

int rf_batch_waits(const struct rf_batch *b, struct rf_waits *ret_waits)
{
	struct rf_batch copy;
	int r;

	if (!ret_waits)
		return -EINVAL;
	r = read_loan(b, &copy);
	if (r == 0)
		*ret_waits = copy.waits;
	return r;
}
