/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The rings as trace-event JSON, one event a line. A cursor is a phase and a number in it, so that nothing is
 * kept between two pieces; what was overwritten meanwhile is left out, and complete_from_us says since when
 * nothing is. Batches come before works: what made a batch has ended when it is lent, so it is among the works that
 * are told after it, however much happens meanwhile. Feeds' names are the only words that are not ours, and the
 * configuration takes no others than letters, digits, - and _ there.
 */
#include "watch/trace.h"

#include "watch/snapshot.h"

#include <stdarg.h>
#include <stdio.h>

enum phase { PHASE_FEEDS, PHASE_WORKERS, PHASE_SLOTS, PHASE_BATCHES, PHASE_WORKS, PHASE_END };
enum { PHASE_SHIFT = 56, ITEM_MAX = 1500, SLOTS_NAMED = 512 };
enum { PROCESS_WORKERS = 1, PROCESS_READS = 2, PROCESS_FEEDS = 10 }; /* + feed */

struct piece {
	const struct trace *trace;
	const struct snapshot *s;
	char *text;
	size_t n, room;
};

static void add(struct piece *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct piece *p, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(p->text + p->n, p->room - p->n, format, args);
	va_end(args);
	p->n += n > 0 && (size_t)n < p->room - p->n ? (size_t)n : 0;
}

static double us(const struct piece *p, uint64_t ns)
{
	return ((double)ns - (double)p->s->started_ns) / 1000;
}

/* ---- one item of each phase ---- */

static void add_feed(struct piece *p, uint64_t feed)
{
	add(p, ",\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%llu,\"args\":{\"name\":\"feed %s: batches by slot\"}}",
	    (unsigned long long)(PROCESS_FEEDS + feed), p->s->feeds[feed].name);
}

static void add_worker(struct piece *p, uint64_t worker)
{
	add(p, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%llu,\"args\":{\"name\":\"worker %llu\"}}",
	    PROCESS_WORKERS, (unsigned long long)worker, (unsigned long long)worker);
}

static void add_slot(struct piece *p, uint64_t number)
{
	unsigned feed = 0;

	while (number >= p->s->feeds[feed].slots.all)
		number -= p->s->feeds[feed++].slots.all;
	add(p, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%llu,\"args\":{\"name\":\"slot %llu\"}}",
	    PROCESS_FEEDS + feed, (unsigned long long)number, (unsigned long long)number);
}

static void add_work(struct piece *p, uint64_t number)
{
	const struct trace_work *w = &p->trace->works[number % TRACE_WORKS];
	const char *feed = p->s->feeds[w->feed].name;
	double from = us(p, w->begun_ns), to = us(p, w->ended_ns);

	if (w->kind == TRACE_TASK) {
		add(p, ",\n{\"ph\":\"X\",\"cat\":\"task\",\"name\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,"
		    "\"args\":{\"feed\":\"%s\",\"slot\":%u,\"samples\":%u}}", w->has_failed ? "died" : "decode",
		    PROCESS_WORKERS, w->who, from, to - from, feed, w->place, w->size);
		return;
	}
	if (w->kind == TRACE_INFLATE) {
		add(p, ",\n{\"ph\":\"X\",\"cat\":\"inflate\",\"name\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,"
		    "\"args\":{\"feed\":\"%s\",\"unit\":%u,\"bytes\":%u}}", w->has_failed ? "died" : "inflate",
		    PROCESS_WORKERS, w->who, from, to - from, feed, w->place, w->size);
		return;
	}
	/* Reads overlap: asynchronous events, a pair each. */
	add(p, ",\n{\"ph\":\"b\",\"cat\":\"read\",\"name\":\"read\",\"id\":%llu,\"pid\":%d,\"tid\":0,\"ts\":%.3f,\"args\":"
	    "{\"feed\":\"%s\",\"shard\":%u,\"offset\":%llu,\"bytes\":%u,\"failed\":%s}}", (unsigned long long)number,
	    PROCESS_READS, from, feed, w->place, (unsigned long long)w->offset, w->size, w->has_failed ? "true" : "false");
	add(p, ",\n{\"ph\":\"e\",\"cat\":\"read\",\"name\":\"read\",\"id\":%llu,\"pid\":%d,\"tid\":0,\"ts\":%.3f}",
	    (unsigned long long)number, PROCESS_READS, to);
}

static void add_stage(struct piece *p, const struct trace_batch *b, const char *name, uint64_t from_ns, uint64_t to_ns)
{
	add(p, ",\n{\"ph\":\"X\",\"cat\":\"stage\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"args\":"
	    "{\"lease\":%llu}}", name, PROCESS_FEEDS + b->feed, b->slot, us(p, from_ns), (double)(to_ns - from_ns) / 1000,
	    (unsigned long long)b->lease);
}

static void add_batch(struct piece *p, uint64_t lease)
{
	const struct trace_batch *b = &p->trace->batches[lease % TRACE_BATCHES];
	uint64_t end = b->released_ns ? b->released_ns : p->s->now_ns;

	if (b->lease != lease)
		return;
	add(p, ",\n{\"ph\":\"X\",\"cat\":\"batch\",\"name\":\"epoch %llu step %llu\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,"
	    "\"dur\":%.3f,\"args\":{\"lease\":%llu,\"rank\":%u,\"epoch\":%llu,\"step\":%llu,\"rows\":%u,\"released\":%s}}",
	    (unsigned long long)b->epoch, (unsigned long long)b->step, PROCESS_FEEDS + b->feed, b->slot,
	    us(p, b->opened_ns), (double)(end - b->opened_ns) / 1000, (unsigned long long)lease, b->rank,
	    (unsigned long long)b->epoch, (unsigned long long)b->step, b->n_rows, b->released_ns ? "true" : "false");
	add_stage(p, b, "reading", b->opened_ns, b->staged_ns);
	add_stage(p, b, "decoding", b->staged_ns, b->ready_ns);
	add_stage(p, b, "ready", b->ready_ns, b->lent_ns);
	add_stage(p, b, "lent", b->lent_ns, end);
}

static void add_head(struct piece *p)
{
	add(p, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
	    "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"workers\"}},\n"
	    "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"reads\"}}", PROCESS_WORKERS, PROCESS_READS);
}

/* Batches drawn from then on have all their tasks and reads in the trace. */
static uint64_t complete_from(const struct piece *p)
{
	const struct trace *t = p->trace;
	uint64_t from = p->s->started_ns;

	/* Whatever was overwritten ended before the oldest that is left. */
	if (t->n_works > TRACE_WORKS)
		from = t->works[t->n_works % TRACE_WORKS].ended_ns;
	if (t->n_leases >= TRACE_BATCHES && t->batches[(t->n_leases + 1) % TRACE_BATCHES].lent_ns > from)
		from = t->batches[(t->n_leases + 1) % TRACE_BATCHES].lent_ns;
	return from;
}

static void add_tail(struct piece *p)
{
	const struct trace *t = p->trace;

	add(p, "\n],\"otherData\":{\"version\":\"%s\",\"complete_from_us\":%.3f,\"batches_lent\":%llu,\"tasks_ended\":%llu,"
	    "\"reads_ended\":%llu}}\n", p->s->version, us(p, complete_from(p)), (unsigned long long)t->n_leases,
	    (unsigned long long)(t->n_of_kind[TRACE_TASK] + t->n_of_kind[TRACE_INFLATE]),
	    (unsigned long long)t->n_of_kind[TRACE_READ]);
}

/* ---- the way through ---- */

/* From where to where the numbers of a phase go. */
static void bounds(const struct piece *p, enum phase phase, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t n_slots = 0;

	for (unsigned i = 0; i < p->s->n_feeds; i++)
		n_slots += p->s->feeds[i].slots.all;
	*ret_first = 0;
	switch (phase) {
	case PHASE_FEEDS:
		*ret_end = p->s->n_feeds;
		break;
	case PHASE_WORKERS:
		*ret_end = p->s->n_workers;
		break;
	case PHASE_SLOTS:
		*ret_end = n_slots < SLOTS_NAMED ? n_slots : SLOTS_NAMED;
		break;
	case PHASE_WORKS:
		*ret_end = p->trace->n_works;
		*ret_first = *ret_end > TRACE_WORKS ? *ret_end - TRACE_WORKS : 0;
		break;
	case PHASE_BATCHES:
		*ret_end = p->trace->n_leases + 1;
		*ret_first = *ret_end > TRACE_BATCHES ? *ret_end - TRACE_BATCHES : 1;
		break;
	case PHASE_END:
		*ret_end = 0;
		break;
	}
}

size_t trace_text(const struct trace *t, const struct snapshot *s, uint64_t cursor, char *text, size_t room,
		  uint64_t *ret_next)
{
	static void (*const adds[])(struct piece *, uint64_t) = {add_feed, add_worker, add_slot, add_batch, add_work};
	struct piece p = {.trace = t, .s = s, .text = text, .room = room};
	uint64_t phase = cursor >> PHASE_SHIFT, number = cursor & ((UINT64_C(1) << PHASE_SHIFT) - 1);

	if (cursor == 0)
		add_head(&p);
	for (; phase < PHASE_END; phase++, number = 0) {
		uint64_t first, end;

		bounds(&p, (enum phase)phase, &first, &end);
		for (number = number < first ? first : number; number < end; number++) {
			if (p.n + ITEM_MAX > room) {
				*ret_next = phase << PHASE_SHIFT | number;
				return p.n;
			}
			adds[phase](&p, number);
		}
	}
	*ret_next = 0;
	if (p.n + ITEM_MAX > room)
		*ret_next = (uint64_t)PHASE_END << PHASE_SHIFT;
	else
		add_tail(&p);
	return p.n;
}
