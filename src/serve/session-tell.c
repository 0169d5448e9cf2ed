/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the core decides becomes a message to the client. */
#include "serve/daemon.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct session *session_of(struct daemon *d, uint32_t stream)
{
	return &d->sessions[d->stream_session[stream]];
}

/* The client knows its slots by their place in the list that it got at attach. */
static uint32_t own_number(const struct daemon *d, uint32_t stream, uint32_t slot)
{
	uint32_t slots[CORE_STREAM_SLOTS_MAX], i = 0;

	core_stream_slots(d->core, stream, slots, CORE_STREAM_SLOTS_MAX);
	while (slots[i] != slot)
		i++;
	return i;
}

static void note(struct daemon *d, const struct core_action *a)
{
	struct core_stream_view v;

	core_view_stream(d->core, a->stream, &v);
	trace_lent(&d->trace, &(struct trace_batch){
		.lease = a->lend.lease, .opened_ns = a->lend.opened_ns, .staged_ns = a->lend.staged_ns,
		.ready_ns = a->lend.ready_ns, .lent_ns = d->now_ns, .epoch = a->lend.epoch, .step = a->lend.step,
		.stream = a->stream, .feed = v.feed, .rank = v.rank, .slot = a->lend.slot, .n_rows = a->lend.n_rows});
}

void session_lend(struct daemon *d, const struct core_action *a)
{
	struct session *s = session_of(d, a->stream);
	struct wire_BATCH m = {
		.head = {WIRE_BATCH, sizeof(m)}, .slot = own_number(d, a->stream, a->lend.slot), .n_rows = a->lend.n_rows,
		.serial = a->lend.serial, .lease = a->lend.lease, .epoch = a->lend.epoch,
		.step = a->lend.step, .epoch_after = a->lend.epoch_after,
		.position_after = a->lend.position_after, .bad = a->lend.bad, .read_ns = a->lend.waits_ns[CORE_WAIT_READ],
		.decode_ns = a->lend.waits_ns[CORE_WAIT_DECODE],
		.slots_ns = a->lend.waits_ns[CORE_WAIT_SLOTS],
		.trainer_ns = a->lend.waits_ns[CORE_WAIT_TRAINER],
	};

	bell_lent(s, m.slot, m.lease);
	session_send(d, s, &m, sizeof(m), -1);
	s->n_batches++;
	note(d, a);
}

void session_epoch_end(struct daemon *d, const struct core_action *a)
{
	struct session *s = session_of(d, a->stream);
	struct wire_EPOCH_END m = {.head = {WIRE_EPOCH_END, sizeof(m)}, .serial = a->lend.serial,
				   .epoch = a->lend.epoch, .n_batches = a->lend.n_batches};

	log_debug("sessions", "pid %d has epoch %llu of feed %s behind it", s->pid, (unsigned long long)a->lend.epoch,
		  d->feeds[s->feed].config->name);
	session_send(d, s, &m, sizeof(m), -1);
}

void session_peer_gone(struct daemon *d, const struct core_action *a)
{
	struct session *s = session_of(d, a->stream);
	struct wire_PEER_GONE m = {.head = {WIRE_PEER_GONE, sizeof(m)}, .rank = a->peer.rank,
				   .replica = a->peer.replica};

	session_send(d, s, &m, sizeof(m), -1);
}

/* A late read has failed by our deadline, not by an error of the storage. */
static void tell_storage(struct daemon *d, struct session *s, const struct core_action *a, const char *where)
{
	const struct config *config = d->reload.current ? d->reload.current : d->config;
	char more[120] = "";

	if (a->bad.cause == CAUSE_read_late)
		snprintf(more, sizeof(more), " (%llu ms)", (unsigned long long)config->daemon.read_timeout_ns / 1000000);
	else if (a->bad.error)
		snprintf(more, sizeof(more), ": %s", strerror(a->bad.error));
	session_say_failed(d, s, EIO, "StorageError", "%s: %s%s; bad_samples.transient is fail", where,
			   cause_text(a->bad.cause), more);
}

void session_fail(struct daemon *d, const struct core_action *a)
{
	struct session *s = session_of(d, a->stream);
	const struct served_feed *f = &d->feeds[a->bad.feed];
	const char *text = *a->bad.detail ? a->bad.detail : cause_text(a->bad.cause);
	char where[400] = "";

	s->since_ns = d->now_ns;
	if (a->bad.failure != CORE_FAIL_TOO_MANY_BAD && a->bad.failure != CORE_FAIL_REPLACED &&
	    a->bad.failure != CORE_FAIL_EVICTED)
		ledger_name(d, a->bad.feed, a->bad.sample, where, sizeof(where));
	switch (a->bad.failure) {
	case CORE_FAIL_BAD_SAMPLE:
		session_say_failed(d, s, EILSEQ, "BadSample", "%s: %s (%s); bad_samples.policy is fail", where,
				   cause_name(a->bad.cause), text);
		break;
	case CORE_FAIL_NO_SUBSTITUTE:
		session_say_failed(d, s, EILSEQ, "BadSample", "position %llu: its sample and eight substitutes "
				   "are bad, the last one %s: %s (%s)", (unsigned long long)a->bad.position,
				   where, cause_name(a->bad.cause), text);
		break;
	case CORE_FAIL_TOO_MANY_BAD:
		session_say_failed(d, s, EILSEQ, "TooManyBadSamples", "%llu samples of epoch %llu of feed %s are "
				   "bad, bad_samples.limit allows %llu: see the ledger or `ringfeed status`",
				   (unsigned long long)a->bad.count, (unsigned long long)a->bad.epoch,
				   f->config->name, (unsigned long long)a->bad.allowed);
		break;
	case CORE_FAIL_STORAGE:
		tell_storage(d, s, a, where);
		break;
	case CORE_FAIL_CHANGED:
		session_say_failed(d, s, ESTALE, "ShardChanged", "%s: the shard is not the one that was indexed: "
				   "start the daemon again to index it anew", where);
		break;
	case CORE_FAIL_EVICTED:
		session_say_failed(d, s, ECANCELED, "Evicted", "it kept the other groups of feed %s waiting for %llu ms; "
				   "slow: evict allows %llu ms", f->config->name, (unsigned long long)a->bad.count,
				   (unsigned long long)a->bad.allowed);
		break;
	case CORE_FAIL_REPLACED:
		session_say_failed(d, s, ECANCELED, "Refused", "a newer restart of this group took its place");
		break;
	}
	log_error("feeds", "%s: session of pid %d has failed%s%s", f->config->name, s->pid,
		  *where ? " on " : "", where);
}
