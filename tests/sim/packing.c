/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Compressed shards of the simulated world: how a seed cuts them into units, and workers that inflate them,
 * with every byte named: a piece must be the next of its unit, and nobody else may touch the unit's place.
 */
#include "sim.h"

#include <stdlib.h>

enum { CUTS_MAX = 40 };

/* ---- cutting ---- */

struct cuts {
	uint64_t raw[CUTS_MAX], file[CUTS_MAX]; /* where frames begin; the last is the end */
	unsigned n;
};

static int compare(const void *a, const void *b)
{
	const struct sample_unit *x = a, *y = b;

	if (x->raw_offset != y->raw_offset)
		return x->raw_offset < y->raw_offset ? -1 : 1;
	return x->n_raw < y->n_raw ? -1 : x->n_raw > y->n_raw;
}

static void add_unit(struct samples *samples, struct sample_shard *shard, const struct cuts *c, unsigned i, unsigned k)
{
	struct sample_unit u = {.offset = c->file[i], .n_bytes = c->file[k] - c->file[i],
				.raw_offset = c->raw[i], .n_raw = c->raw[k] - c->raw[i]};

	for (uint32_t n = 0; n < shard->n_units; n++)
		if (compare(&samples->units[shard->first_unit + n], &u) == 0)
			return;
	samples->units = realloc(samples->units, (samples->n_units + 1) * sizeof(u));
	if (!samples->units)
		abort();
	samples->units[samples->n_units++] = u;
	shard->n_units++;
	if (samples->largest_unit < u.n_raw)
		samples->largest_unit = u.n_raw;
}

static void choose_cuts(struct sim *s, uint64_t raw_size, struct cuts *c)
{
	unsigned n = sim_odds(s, 3000) ? 1 : (unsigned)sim_between(s, 1, CUTS_MAX - 1);
	uint64_t ratio = sim_between(s, 1, 100); /* compressed bytes for 100 raw ones */

	*c = (struct cuts){.file = {sim_below(s, 9000)}};
	for (c->n = 1; c->n < n && c->raw[c->n - 1] + 2 < raw_size; c->n++)
		c->raw[c->n] = c->raw[c->n - 1] + 1 + sim_below(s, (raw_size - c->raw[c->n - 1] - 1) * 2 / (n - c->n + 1));
	while (c->n > 1 && c->raw[c->n - 1] >= raw_size)
		c->n--;
	c->raw[c->n++] = raw_size;
	for (unsigned i = 1; i < c->n; i++)
		c->file[i] = c->file[i - 1] + 1 + (c->raw[i] - c->raw[i - 1]) * ratio / 100;
}

void packing_cut(struct sim *s, struct samples *samples, size_t number)
{
	struct sample_shard *shard = &samples->shards[number];
	struct cuts c;

	shard->packing = sim_odds(s, 5000) ? PACKING_ZSTD : PACKING_GZIP;
	shard->first_unit = (uint32_t)samples->n_units;
	choose_cuts(s, shard->raw_size, &c);
	for (unsigned i = 0; i + 1 < c.n; i++)
		add_unit(samples, shard, &c, i, i + 1);
	for (uint64_t k = samples->starts[number] * samples->n_fields;
	     k < samples->starts[number + 1] * samples->n_fields; k++) {
		const struct sample_place *p = &samples->places[k];
		uint64_t from = (uint64_t)p->header_block * 512, to = from + shard->header_bytes + p->size;
		unsigned i = 0, last;

		if (p->header_block >= SAMPLE_REPEATED)
			continue;
		to = to < shard->raw_size ? to : shard->raw_size;
		while (c.raw[i + 1] <= from)
			i++;
		for (last = i + 1; c.raw[last] < to;)
			last++;
		add_unit(samples, shard, &c, i, last);
	}
	qsort(samples->units + shard->first_unit, shard->n_units, sizeof(*samples->units), compare);
	shard->file_size = c.file[c.n - 1] + sim_below(s, 9000);
}

static uint32_t unit_of(const struct samples *samples, uint32_t shard, uint64_t sample, unsigned field)
{
	const struct sample_place *p = samples_place(samples, sample, field);
	uint64_t from = (uint64_t)p->header_block * 512;
	uint64_t to = from + samples->shards[shard].header_bytes + p->size;

	if (to > samples->shards[shard].raw_size)
		to = samples->shards[shard].raw_size;
	return samples_unit(samples, shard, from, to);
}

void packing_count(struct samples *samples)
{
	for (uint32_t shard = 0; shard < samples->n_shards; shard++)
		for (uint64_t i = samples->starts[shard]; i < samples->starts[shard + 1]; i++) {
			uint32_t first, n = 1;

			if (samples->shards[shard].packing == PACKING_NONE ||
			    samples_place(samples, i, 0)->header_block >= SAMPLE_REPEATED)
				continue;
			first = unit_of(samples, shard, i, 0);
			for (unsigned f = 1; f < samples->n_fields; f++)
				n += samples_place(samples, i, f)->header_block < SAMPLE_REPEATED &&
				     unit_of(samples, shard, i, f) != first;
			if (samples->most_units < n)
				samples->most_units = n;
		}
}

/* ---- faults by unit ---- */

bool packing_has(const struct sim *s, uint32_t feed, uint64_t sample, const uint32_t *by_unit, uint32_t least)
{
	const struct world_feed *w = &s->world.more[feed];
	uint64_t in_shard;
	uint32_t shard = order_shard_of(&w->order_shards, sample, &in_shard);

	if (w->shards[shard].packing == PACKING_NONE)
		return false;
	for (unsigned f = 0; f < w->samples.n_fields; f++)
		if (by_unit[unit_of(&w->samples, shard, sample, f)] >= least)
			return true;
	return false;
}

bool packing_is_plain(const struct sim *s, uint32_t feed, uint64_t sample)
{
	const struct world_feed *w = &s->world.more[feed];
	uint64_t in_shard;

	return w->shards[order_shard_of(&w->order_shards, sample, &in_shard)].packing == PACKING_NONE;
}

/* One of its units was damaged, and all its bytes were from past the page cache then. */
bool packing_is_certain(const struct sim *s, uint32_t feed, uint64_t sample)
{
	const struct world_feed *w = &s->world.more[feed];
	uint64_t in_shard;
	uint32_t shard = order_shard_of(&w->order_shards, sample, &in_shard);

	for (unsigned f = 0; f < w->samples.n_fields; f++)
		if (w->is_unit_certain[unit_of(&w->samples, shard, sample, f)])
			return true;
	return false;
}

void packing_charge(struct sim *s, const struct flight *f, bool is_late)
{
	struct world_feed *w = &s->world.more[f->feed];
	const struct sample_shard *shard = &w->shards[f->shard];

	for (uint32_t i = shard->first_unit; i < shard->first_unit + shard->n_units; i++) {
		const struct sample_unit *u = &w->samples.units[i];

		if (u->offset < f->offset + f->n_bytes && u->offset + u->n_bytes > f->offset)
			(is_late ? w->unit_late : w->unit_errors)[i]++;
	}
}

/* ---- inflating ---- */

static uint32_t shard_of_unit(const struct world_feed *w, uint32_t unit)
{
	uint32_t shard = 0;

	while (unit < w->shards[shard].first_unit || unit >= w->shards[shard].first_unit + w->shards[shard].n_units)
		shard++;
	return shard;
}

static void pin_piece(struct sim *s, const struct sim_task *t, struct sim_inflation *state, uint32_t shard, uint64_t place)
{
	const struct task_inflate *in = &t->inflate;

	SIM_CHECK(s, in->from + in->n_bytes <= s->n_read_pages * (uint64_t)CORE_PAGE && in->n_bytes > 0,
		  "a piece outside of what is read into");
	SIM_CHECK(s, in->from % CORE_PAGE == place % CORE_PAGE, "a piece at a wrong place");
	for (uint64_t at = in->from / CORE_PAGE; at * CORE_PAGE < in->from + in->n_bytes; at++) {
		struct page *p = &s->pages[at];
		uint64_t end = in->from + in->n_bytes - at * CORE_PAGE;

		SIM_CHECK(s, p->state == PAGE_HELD && p->unit == NOBODY && p->feed == t->head.feed &&
			  p->shard == shard && p->file_page == place / CORE_PAGE + at - in->from / CORE_PAGE,
			  "not the next bytes of the unit");
		state->has_damage = state->has_damage || p->is_damaged;
		state->is_again = state->is_again && p->is_again;
		SIM_CHECK(s, p->n_valid >= (end < CORE_PAGE ? end : CORE_PAGE), "a piece past what was read");
		p->n_readers++;
	}
}

static bool overlaps(const struct task_inflate *a, const struct task_inflate *b)
{
	return a->into < b->into + b->n_raw && b->into < a->into + a->n_raw;
}

static void check_target(struct sim *s, uint32_t worker, const struct task_inflate *in)
{
	uint64_t first = in->into / CORE_PAGE, n = (in->n_raw + CORE_PAGE - 1) / CORE_PAGE;

	SIM_CHECK(s, in->into % CORE_PAGE == 0 && first >= s->n_read_pages && first + n <= s->n_pages,
		  "a unit outside of what is inflated into");
	for (uint32_t i = 0; i < s->world.spec.n_workers; i++)
		for (unsigned k = 0; i != worker && k < s->workers[i].n_tasks; k++)
			SIM_CHECK(s, s->workers[i].tasks[k].head.kind != TASK_INFLATE ||
				  !overlaps(&s->workers[i].tasks[k].inflate, in), "two workers inflate into one place");
	for (uint64_t i = first; i < first + n; i++) {
		SIM_CHECK(s, s->pages[i].n_readers == 0, "a worker inflates into what another reads");
		s->pages[i].state = PAGE_EMPTY;
	}
}

void inflate_take(struct sim *s, uint32_t worker, const struct sim_task *t)
{
	const struct world_feed *w = &s->world.more[t->head.feed];
	const struct task_inflate *in = &t->inflate;
	struct sim_inflation *state = &s->workers[worker].inflation;
	const struct sample_unit *u;

	SIM_CHECK(s, in->unit < w->samples.n_units, "unit %u", in->unit);
	u = &w->samples.units[in->unit];
	SIM_CHECK(s, in->n_raw == u->n_raw, "a unit's length");
	if (in->flags & TASK_INFLATE_FIRST)
		*state = (struct sim_inflation){.is_active = true, .feed = t->head.feed, .unit = in->unit, .into = in->into,
						.is_again = true};
	SIM_CHECK(s, state->is_active && state->feed == t->head.feed && state->unit == in->unit && state->into == in->into,
		  "a piece of what this worker does not inflate");
	pin_piece(s, t, state, shard_of_unit(w, in->unit), u->offset + state->n_taken);
	check_target(s, worker, in);
	state->n_taken += in->n_bytes;
	SIM_CHECK(s, (state->n_taken == u->n_bytes) == ((in->flags & TASK_INFLATE_LAST) != 0), "the last piece or not?");
}

void inflate_over(struct sim *s, uint32_t worker, const struct sim_task *t, bool is_done)
{
	const struct task_inflate *in = &t->inflate;
	uint64_t n = (in->n_raw + CORE_PAGE - 1) / CORE_PAGE;

	for (uint64_t at = in->from / CORE_PAGE; at * CORE_PAGE < in->from + in->n_bytes; at++)
		s->pages[at].n_readers--;
	if (!is_done)
		s->workers[worker].inflation.is_active = false;
	s->n_inflated += is_done && (in->flags & TASK_INFLATE_LAST);
	s->inflated_bytes += is_done && (in->flags & TASK_INFLATE_LAST) ? in->n_raw : 0;
	for (uint64_t i = 0; is_done && (in->flags & TASK_INFLATE_LAST) && i < n; i++)
		s->pages[in->into / CORE_PAGE + i] = (struct page){
			.state = PAGE_HELD, .feed = t->head.feed, .unit = in->unit, .file_page = i,
			.shard = shard_of_unit(&s->world.more[t->head.feed], in->unit), .n_valid = CORE_PAGE,
			.landed_ns = s->now};
}

/* A damaged unit says so at its end, a good one by damaged bytes, or now and then amid it, by a fault that does not come
 * again. */
void inflate_answer(struct sim *s, const struct sim_task *t, const struct sim_inflation *state, struct answer_sample *ret)
{
	struct world_feed *w = &s->world.more[t->head.feed];
	bool is_last = t->inflate.flags & TASK_INFLATE_LAST, is_damaged = is_last && w->unit_damage[t->inflate.unit] >= DAMAGED;

	*ret = (struct answer_sample){.code = ANSWER_DONE};
	if (!is_damaged && !(is_last && state->has_damage) && (s->is_ending || !sim_odds(s, s->world.odds.flaky)))
		return;
	if (!is_damaged)
		w->unit_damage[t->inflate.unit]++;
	w->is_unit_certain[t->inflate.unit] = state->is_again;
	sim_fault(s, is_damaged ? FAULT_unit_damaged : FAULT_unit_flaky);
	*ret = (struct answer_sample){.code = ANSWER_BAD, .cause = CAUSE_damaged_unit, .detail = SIM_DETAIL};
}
