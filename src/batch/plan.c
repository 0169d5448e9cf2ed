/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Slots are dealt one at a time to the feed that has the fewest for its `slots`, after two for
 * each: so a feed's bytes are to another's as slots x slot bytes, but for the last slot, and a
 * budget that holds the other lines and two slots a feed always works. That makes the number in a
 * refusal true.
 */
#include "batch/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "batch/bytes.h"

enum { MIB = 1 << 20, FIXED_LINES = 9, LINES_PER_FEED = 4 };

static void add_line(struct plan *p, const char *name, const char *feed, uint64_t n_each,
		     uint64_t each, const char *text)
{
	struct plan_line *l = &p->lines[p->n_lines];

	if (n_each == 0 || each == 0)
		return;
	*l = (struct plan_line){.n_each = n_each, .each = each, .text = text};
	l->n_bytes = bytes_times(n_each, each);
	snprintf(l->name, sizeof(l->name), "%s%s%s", name, feed ? " " : "", feed ? feed : "");
	p->total = bytes_add(p->total, l->n_bytes);
	p->n_lines++;
}

static void add_fixed(struct plan *p, const struct plan_input *in)
{
	add_line(p, "core", NULL, 1, in->core_base, "program and libraries");
	add_line(p, "parent", NULL, 1, in->parent_base, "the clean process that starts workers");
	add_line(p, "workers", NULL, in->n_workers, in->worker_base, "programs, decoders, tables");
	add_line(p, "scratch", NULL, in->n_workers, in->scratch, "decoding one sample");
	add_line(p, "large scratch", NULL, 1, in->large_scratch,
		 "decode_memory, lent to one worker at a time");
	add_line(p, "tables", NULL, 1, in->core_tables, "slots, leases, tasks, sessions");
	add_line(p, "staging", NULL, 1, in->staging, "bytes read from shards");
	add_line(p, "metrics", NULL, 1, in->web, "daemon.metrics: the HTTP library, connections, pages");
	add_line(p, "trace", NULL, 1, in->trace, "the last batches, tasks and reads, for status --trace");
	for (size_t i = 0; i < in->n_feeds; i++) {
		const struct plan_feed *f = &in->feeds[i];

		add_line(p, "index", f->name, 1, f->index_bytes, "where each sample lies");
		add_line(p, "order", f->name, 1, f->order_bytes, "which sample comes where");
		add_line(p, "inflated", f->name, 1, f->inflated_bytes, "of compressed shards");
	}
}

static bool may_grow(const struct plan_feed *f, uint32_t n, uint64_t left)
{
	return f->slot_bytes <= left && n < (f->slots_max ? f->slots_max : UINT32_MAX);
}

/* Deals what is left; every feed has its first two. */
static void deal(const struct plan_input *in, uint32_t *n_slots, uint64_t left)
{
	for (;;) {
		size_t best = in->n_feeds;

		for (size_t i = 0; i < in->n_feeds; i++) {
			if (!may_grow(&in->feeds[i], n_slots[i], left))
				continue;
			/* n_i / slots_i < n_best / slots_best */
			if (best == in->n_feeds ||
			    (uint64_t)n_slots[i] * in->feeds[best].slots <
				    (uint64_t)n_slots[best] * in->feeds[i].slots)
				best = i;
		}
		if (best == in->n_feeds)
			return;
		n_slots[best]++;
		left -= in->feeds[best].slot_bytes;
	}
}

static void add_slots(struct plan *p, const struct plan_input *in)
{
	for (size_t i = 0; i < in->n_feeds; i++)
		add_line(p, "slots", in->feeds[i].name, p->n_slots[i], in->feeds[i].slot_bytes,
			 "batches, each a memory of its own");
}

static void refuse(const struct plan *p, struct reason *why)
{
	const struct plan_line *most = &p->lines[0];
	char memory[32], size[32];

	for (size_t i = 1; i < p->n_lines; i++)
		if (p->lines[i].n_bytes > most->n_bytes)
			most = &p->lines[i];
	plan_bytes_print(p->memory, memory, sizeof(memory));
	plan_bytes_print(most->n_bytes, size, sizeof(size));
	if (p->needed == UINT64_MAX)
		reason_set(why,
			   "daemon.memory: no memory is enough: the line \"%s\" alone takes %s",
			   most->name, size);
	else
		reason_set(why,
			   "daemon.memory: %s is too small, %lluMiB is needed (the largest line is "
			   "\"%s\" "
			   "with %s)",
			   memory, (unsigned long long)(p->needed / MIB), most->name, size);
}

static int set_up(const struct plan_input *in, struct plan *p)
{
	*p = (struct plan){.memory = in->memory, .n_feeds = in->n_feeds};
	p->lines = calloc(FIXED_LINES + LINES_PER_FEED * in->n_feeds, sizeof(p->lines[0]));
	p->n_slots = calloc(in->n_feeds + 1, sizeof(p->n_slots[0]));
	if (!p->lines || !p->n_slots) {
		plan_deinit(p);
		return fail(-ENOMEM);
	}
	return 0;
}

/* All lines but the slots, and two slots a feed. */
static uint64_t least(const struct plan_input *in)
{
	uint64_t n = bytes_add(bytes_add(in->core_base, in->parent_base),
			       bytes_times(in->n_workers, bytes_add(in->worker_base, in->scratch)));

	n = bytes_add(n, bytes_add(in->large_scratch, bytes_add(in->core_tables, bytes_add(in->staging, bytes_add(in->web, in->trace)))));
	for (size_t i = 0; i < in->n_feeds; i++) {
		const struct plan_feed *f = &in->feeds[i];

		n = bytes_add(n, bytes_add(f->index_bytes, f->order_bytes));
		n = bytes_add(n, f->inflated_bytes);
		n = bytes_add(n, bytes_times(PLAN_SLOTS_MIN, f->slot_bytes));
	}
	return n;
}

int plan_lay_out(const struct plan_input *in, struct plan *ret, struct reason *why)
{
	const uint64_t least_bytes = least(in);
	struct plan p;
	int r = set_up(in, &p);

	if (r < 0)
		return pass(r);
	p.needed = least_bytes > UINT64_MAX - MIB ? UINT64_MAX : bytes_round_up(least_bytes, MIB);
	for (size_t i = 0; i < in->n_feeds; i++) {
		assert(in->feeds[i].slot_bytes > 0 && in->feeds[i].slots > 0);
		assert(in->feeds[i].slots_max == 0 || in->feeds[i].slots_max >= PLAN_SLOTS_MIN);
		p.n_slots[i] = PLAN_SLOTS_MIN;
	}
	if (least_bytes <= in->memory)
		deal(in, p.n_slots, in->memory - least_bytes);
	add_fixed(&p, in);
	add_slots(&p, in);
	*ret = p;
	if (least_bytes <= in->memory && p.needed != UINT64_MAX)
		return 0;
	refuse(&p, why);
	return PLAN_E_TOO_SMALL;
}

void plan_deinit(struct plan *p)
{
	free(p->lines);
	free(p->n_slots);
	*p = (struct plan){0};
}

uint32_t plan_workers(const struct plan_input *in, uint32_t n_max)
{
	struct plan_input one = *in;

	assert(n_max > 0);
	for (one.n_workers = n_max; one.n_workers > 1; one.n_workers--)
		if (least(&one) <= one.memory)
			break;
	return one.n_workers;
}

int plan_bytes_print(uint64_t n_bytes, char *text, size_t n_text)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double n = (double)n_bytes;
	unsigned unit = 0;

	for (; n >= 1023.95 && unit < 6; unit++)
		n /= 1024;
	return snprintf(text, n_text, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

int plan_line_print(const struct plan_line *l, int name_width, char *text, size_t n_text)
{
	char each[32], all[32], times[32] = "";

	plan_bytes_print(l->each, each, sizeof(each));
	plan_bytes_print(l->n_bytes, all, sizeof(all));
	if (l->n_each > 1)
		snprintf(times, sizeof(times), "%llu x ", (unsigned long long)l->n_each);
	return snprintf(text, n_text, "%-*s  %6s%10s%s%10s  %s", name_width, l->name, times,
			l->n_each > 1 ? each : "", l->n_each > 1 ? " =" : "  ", all, l->text);
}

int plan_name_width(const struct plan *p)
{
	size_t width = 0;

	for (size_t i = 0; i < p->n_lines; i++)
		if (strlen(p->lines[i].name) > width)
			width = strlen(p->lines[i].name);
	return (int)width;
}
