/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * proto/order.md, "Mixing sources by weight". A position costs one perm for its place in the block, a search among
 * the sources, and what its source's own order costs. Of a source that goes round more than once in an epoch a
 * few passes stand ready, and the next takes the place of one that is behind: laying it out (block: one perm a
 * shard) comes once for all the samples of a pass.
 *
 * Nothing overflows: order_check_mix saw to it that N = P * M * E fits; E * m_x and what k_x epochs take of a
 * pass are below it.
 */
#include "order/mix.h"

#include "base/draw.h"
#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* What an epoch takes of one source: e_x, k_x and the passes in it. */
struct lane {
	uint64_t share, n_elements; /* m_x, e_x */
	uint64_t n_epochs, n_passes; /* k_x, ceil(e_x / n_x) */
	uint64_t first_pass, first_element; /* of the epoch */
	struct order *passes; /* pass first_pass + i is in passes[i % n_kept], if anywhere */
	unsigned n_kept;
};

struct order_mixed {
	uint64_t *starts; /* C_x, n_sources + 1 */
	struct lane *lanes;
	size_t n_lanes;
};

/* Where a position leads: an element of one pass over one source. */
struct place {
	struct order *pass;
	uint64_t p, n_elements, element; /* the part, how many it has, which one */
};

struct order_shards mix_shards(const struct order_spec *spec, const struct order_shards *shards, size_t source)
{
	const size_t *first = spec->mix->first_shards;

	return (struct order_shards){shards->starts + first[source], first[source + 1] - first[source]};
}

static uint64_t count_samples(const struct order_spec *spec, const struct order_shards *shards, size_t source)
{
	const struct order_shards s = mix_shards(spec, shards, source);

	return s.starts[s.n_shards] - s.starts[0];
}

/* n_x, the elements of the smallest part; of the largest part, which is the first. */
static uint64_t fewest(const struct order_spec *spec, const struct order_shards *shards, size_t source)
{
	return count_samples(spec, shards, source) / spec->parts;
}

static uint64_t most(const struct order_spec *spec, const struct order_shards *shards, size_t source)
{
	return order_part_of(count_samples(spec, shards, source), spec->parts, 0).n_samples;
}

static uint64_t ceiling(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* E; *ret_source: whose it is. */
static uint64_t count_blocks(const struct order_spec *spec, const struct order_shards *shards, size_t *ret_source)
{
	const struct order_mix *mix = spec->mix;
	uint64_t blocks = 0;

	*ret_source = 0;
	for (size_t x = 0; x < mix->n_sources; x++) {
		const uint64_t here = mix->until == UNTIL_FIRST ? fewest(spec, shards, x) / mix->shares[x]
								: ceiling(most(spec, shards, x), mix->shares[x]);

		if (x > 0 && (mix->until == UNTIL_FIRST ? here >= blocks : here <= blocks))
			continue;
		blocks = here;
		*ret_source = x;
	}
	return blocks;
}

int order_check_mix(const struct order_spec *spec, const struct order_shards *shards, struct reason *why)
{
	uint64_t blocks, n;
	size_t x;

	if (!spec->mix || spec->parts == 0)
		return 0; /* order_check refuses the latter */
	for (x = 0; x < spec->mix->n_sources; x++) {
		if (spec->mix->shares[x] == 0) {
			reason_set(why, "source.%zu has so little weight that none of %d samples would be its own; accepted: "
				   "more weight, or a feed without it", x, SHARES_ALL);
			return ORDER_E_REFUSED;
		}
		if (fewest(spec, shards, x) == 0) {
			reason_set(why, "source.%zu has %" PRIu64 " samples, fewer than the %" PRIu64 " parts of the order; "
				   "accepted: at least one for each part, or fewer order.parts", x,
				   count_samples(spec, shards, x), spec->parts);
			return ORDER_E_REFUSED;
		}
	}
	blocks = count_blocks(spec, shards, &x);
	if (blocks == 0) {
		reason_set(why, "source.%zu has %" PRIu64 " samples in the smallest part of the order, and its weight takes %"
			   PRIu32 " of every %d there: it ends before one block is full; accepted: less weight, more "
			   "samples, fewer order.parts, or until: all", x, fewest(spec, shards, x),
			   spec->mix->shares[x], SHARES_ALL);
		return ORDER_E_REFUSED;
	}
	if (__builtin_mul_overflow(blocks, SHARES_ALL, &n) || __builtin_mul_overflow(n, spec->parts, &n)) {
		reason_set(why, "the epoch of this mix would have 2^64 positions or more, %" PRIu64 " blocks of %d in %"
			   PRIu64 " parts; accepted: more weight for source.%zu", blocks, SHARES_ALL, spec->parts, x);
		return ORDER_E_REFUSED;
	}
	return 0;
}

uint64_t order_length(const struct order_spec *spec, const struct order_shards *shards)
{
	size_t x;

	if (!spec->mix)
		return shards->starts[shards->n_shards];
	return spec->parts * SHARES_ALL * count_blocks(spec, shards, &x);
}

/* blocks: E. Without passes. */
static struct lane make_lane(const struct order_spec *spec, const struct order_shards *shards, size_t x,
			     uint64_t blocks, uint64_t epoch)
{
	const uint64_t n = fewest(spec, shards, x);
	struct lane l = {.share = spec->mix->shares[x]};

	l.n_elements = blocks * l.share;
	l.n_epochs = n < l.n_elements ? 1 : n / l.n_elements;
	l.n_passes = ceiling(l.n_elements, n);
	l.first_pass = epoch / l.n_epochs * l.n_passes;
	l.first_element = epoch % l.n_epochs * l.n_elements;
	l.n_kept = l.n_passes < ORDER_PASSES_KEPT ? (unsigned)l.n_passes : ORDER_PASSES_KEPT;
	return l;
}

void order_source(const struct order_spec *spec, const struct order_shards *shards, size_t source,
		  struct order_source *ret)
{
	size_t x;
	const uint64_t blocks = count_blocks(spec, shards, &x), n = count_samples(spec, shards, source);
	const struct lane l = make_lane(spec, shards, source, blocks, 0);
	const uint64_t n_large = n % spec->parts, n_least = n / spec->parts, e = l.n_epochs * l.n_elements;

	*ret = (struct order_source){.n_samples = n, .share = l.share, .n_taken = spec->parts * l.n_elements,
				     .n_epochs = l.n_epochs, .n_passes = l.n_passes};
	ret->n_skipped = n_large * (ceiling(e, n_least + 1) * (n_least + 1) - e) +
			 (spec->parts - n_large) * (ceiling(e, n_least) * n_least - e);
}

void order_progress(const struct order_spec *spec, const struct order_shards *shards, size_t source,
		    uint64_t epoch, uint64_t t, struct order_progress *ret)
{
	size_t x;
	const struct lane l = make_lane(spec, shards, source, count_blocks(spec, shards, &x), epoch);
	const uint64_t n = fewest(spec, shards, source), j = l.first_element + t / spec->parts / SHARES_ALL * l.share;

	*ret = (struct order_progress){.pass = l.first_pass + j / n, .n_behind = j % n, .n_all = n};
}

/* ---- an epoch ---- */

static int keep_passes(const struct order *o, size_t x, struct lane *l)
{
	int r = 0;

	l->passes = calloc(l->n_kept, sizeof(*l->passes));
	if (!l->passes)
		return fail(-ENOMEM);
	for (unsigned i = 0; r == 0 && i < l->n_kept; i++)
		r = order_init_source(&l->passes[i], &o->spec, &o->shards, x, l->first_pass + i);
	return r < 0 ? pass(r) : 0;
}

int mixed_new(const struct order *o, struct order_mixed **ret)
{
	const size_t n = o->spec.mix->n_sources;
	struct order_mixed *m = calloc(1, sizeof(*m));
	size_t source;
	const uint64_t blocks = count_blocks(&o->spec, &o->shards, &source);
	int r = 0;

	if (m) {
		m->n_lanes = n;
		m->starts = calloc(n + 1, sizeof(*m->starts));
		m->lanes = calloc(n, sizeof(*m->lanes));
	}
	if (!m || !m->starts || !m->lanes) {
		mixed_free(m);
		return fail(-ENOMEM);
	}
	for (size_t x = 0; r == 0 && x < n; x++) {
		m->lanes[x] = make_lane(&o->spec, &o->shards, x, blocks, o->epoch);
		m->starts[x + 1] = m->starts[x] + m->lanes[x].share;
		r = keep_passes(o, x, &m->lanes[x]);
	}
	if (r < 0) {
		mixed_free(m);
		return pass(r);
	}
	*ret = m;
	return 0;
}

struct order_mixed *mixed_free(struct order_mixed *m)
{
	if (!m)
		return NULL;
	for (size_t x = 0; m->lanes && x < m->n_lanes; x++) {
		for (unsigned i = 0; m->lanes[x].passes && i < m->lanes[x].n_kept; i++)
			order_deinit(&m->lanes[x].passes[i]);
		free(m->lanes[x].passes);
	}
	free(m->lanes);
	free(m->starts);
	free(m);
	return NULL;
}

size_t mixed_bytes(const struct order_spec *spec, const struct order_shards *shards)
{
	const size_t n_sources = spec->mix->n_sources;
	size_t x, n = sizeof(struct order_mixed) + (n_sources + 1) * sizeof(uint64_t) + n_sources * sizeof(struct lane);
	const uint64_t blocks = count_blocks(spec, shards, &x);
	struct order_spec alone = *spec;

	alone.mix = NULL;
	for (x = 0; x < n_sources; x++) {
		const struct order_shards here = mix_shards(spec, shards, x);

		n += make_lane(spec, shards, x, blocks, 0).n_kept * (sizeof(struct order) + order_bytes(&alone, &here));
	}
	return n;
}

static struct order *find_pass(struct lane *l, uint64_t i)
{
	struct order *o = &l->passes[i % l->n_kept];

	if (o->epoch != l->first_pass + i)
		order_turn(o, l->first_pass + i);
	return o;
}

static struct place find_place(const struct order *o, uint64_t t)
{
	const struct order_mixed *m = o->mixed;
	const uint64_t u = t / o->spec.parts, rest[2] = {t % o->spec.parts, u / SHARES_ALL};
	const uint64_t key = draw_key(o->spec.seed, o->epoch, DRAW_MIX, rest, 2);
	const uint64_t s = order_perm(SHARES_ALL, key, u % SHARES_ALL);
	const size_t x = order_run_of(m->starts, m->n_lanes, s);
	struct lane *l = &m->lanes[x];
	const uint64_t j = l->first_element + rest[1] * l->share + (s - m->starts[x]);
	struct place at = {.p = rest[0]};

	at.n_elements = order_part_of(l->passes[0].n_samples, o->spec.parts, at.p).n_samples;
	at.pass = find_pass(l, j / at.n_elements);
	at.element = j % at.n_elements;
	return at;
}

uint64_t mixed_sample(const struct order *o, uint64_t t)
{
	const struct place at = find_place(o, t);

	return order_sample(at.pass, at.element * o->spec.parts + at.p);
}

uint64_t mixed_substitute(const struct order *o, uint64_t t, uint64_t key)
{
	const struct place at = find_place(o, t);

	return order_sample(at.pass, key % at.n_elements * o->spec.parts + at.p);
}
