/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Frames are joined while an extent lies across their edge and the unit stays below UNIT_BYTES. Where it would grow
 * beyond, a cut is made there, and a bridge, a unit of its own, holds whatever lies across the cut. What no extent
 * needs is dropped at the end, so that behind a place only a few units have to be looked at.
 *
 * Of the extents that lie across frames only the first and the last frame matter. For each edge, the first frame of
 * those across it comes from a queue in which both first and last frames ascend: one that begins later and
 * reaches no further than another says nothing new.
 */
#include "shard/units.h"

#include "base/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define N_MOST ((uint64_t)UINT32_MAX - 2)

/* The shard in hand. */
struct joining {
	struct samples *s;
	struct sample_shard *shard;
	const struct shard_frame *frames;
	uint64_t n_frames;
	uint32_t *reach; /* of frame a: the last frame of the extents that begin in a; a itself where none goes on */
	uint32_t *queue; /* of frames, as said above */
	uint64_t n_queue, head;
	bool *is_used; /* of its units */
};

static bool extent_of(const struct samples *s, const struct sample_shard *shard, uint64_t sample, unsigned field,
		      uint64_t *ret_start, uint64_t *ret_end)
{
	const struct sample_place *place = samples_place(s, sample, field);

	if (place->header_block >= SAMPLE_REPEATED)
		return false;
	*ret_start = (uint64_t)place->header_block * 512;
	*ret_end = *ret_start + shard->header_bytes + place->size;
	if (*ret_end > shard->raw_size)
		*ret_end = shard->raw_size;
	return true;
}

/* The frame that holds the raw byte. */
static uint32_t frame_at(const struct joining *j, uint64_t raw)
{
	uint64_t low = 0, high = j->n_frames;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (j->frames[middle].raw_offset <= raw)
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

static void find_reach(struct joining *j)
{
	uint64_t start, end;

	for (uint64_t a = 0; a < j->n_frames; a++)
		j->reach[a] = (uint32_t)a;
	for (uint64_t i = 0; i < j->shard->n_samples; i++) {
		for (unsigned f = 0; f < j->s->n_fields; f++) {
			uint32_t first, last;

			if (!extent_of(j->s, j->shard, j->s->n_samples + i, f, &start, &end))
				continue;
			first = frame_at(j, start);
			last = frame_at(j, end - 1);
			if (j->reach[first] < last)
				j->reach[first] = last;
		}
	}
}

/* Are there extents across the edge in front of frame k? Then the bridge over it is [*ret_first, *ret_last].
 * Edges are asked for in order. */
static bool is_bridged(struct joining *j, uint64_t k, uint64_t *ret_first, uint64_t *ret_last)
{
	uint32_t newest = (uint32_t)(k - 1);

	if (j->reach[newest] > newest &&
	    (j->n_queue == j->head || j->reach[j->queue[j->n_queue - 1]] < j->reach[newest]))
		j->queue[j->n_queue++] = newest;
	while (j->head < j->n_queue && j->reach[j->queue[j->head]] < k)
		j->head++;
	if (j->head == j->n_queue)
		return false;
	*ret_first = j->queue[j->head];
	*ret_last = j->reach[j->queue[j->n_queue - 1]];
	return true;
}

static int add_unit(struct joining *j, uint64_t first, uint64_t last)
{
	const struct shard_frame *a = &j->frames[first], *b = &j->frames[last];
	struct samples *s = j->s;

	if (s->n_units == s->units_allocated) {
		uint64_t n = s->n_units + s->n_units / 2 + 64;
		struct sample_unit *grown = reallocarray(s->units, n, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		s->units = grown;
		s->units_allocated = n;
	}
	s->units[s->n_units++] = (struct sample_unit){
		.offset = a->offset, .n_bytes = b->offset + b->n_bytes - a->offset,
		.raw_offset = a->raw_offset, .n_raw = b->raw_offset + b->n_raw - a->raw_offset,
		.first_frame = (uint32_t)(s->n_frames + first), .n_frames = (uint32_t)(last - first + 1)};
	return 0;
}

static int join(struct joining *j)
{
	uint64_t begin = 0, n_raw = j->frames[0].n_raw;
	int r = 0;

	for (uint64_t k = 1; r == 0 && k < j->n_frames; k++) {
		uint64_t first, last;
		bool has_bridge = is_bridged(j, k, &first, &last);

		if (has_bridge && n_raw + j->frames[k].n_raw <= UNIT_BYTES) {
			n_raw += j->frames[k].n_raw;
			continue;
		}
		r = add_unit(j, begin, k - 1);
		if (r == 0 && has_bridge)
			r = add_unit(j, first, last);
		begin = k;
		n_raw = j->frames[k].n_raw;
	}
	return r == 0 ? add_unit(j, begin, j->n_frames - 1) : r;
}

static int compare(const void *a, const void *b)
{
	const struct sample_unit *x = a, *y = b;

	if (x->raw_offset != y->raw_offset)
		return x->raw_offset < y->raw_offset ? -1 : 1;
	return (x->n_raw > y->n_raw) - (x->n_raw < y->n_raw);
}

/* Sorts the shard's units, each once. */
static void put_in_order(struct joining *j)
{
	struct sample_unit *units = &j->s->units[j->shard->first_unit];
	uint64_t n = j->s->n_units - j->shard->first_unit, n_kept = 0;

	qsort(units, n, sizeof(*units), compare);
	for (uint64_t i = 0; i < n; i++)
		if (n_kept == 0 || compare(&units[n_kept - 1], &units[i]) != 0)
			units[n_kept++] = units[i];
	j->shard->n_units = (uint32_t)n_kept;
	j->s->n_units = j->shard->first_unit + n_kept;
}

/* Marks the units of one sample; how many different ones there are. */
static uint32_t use_sample(struct joining *j, uint32_t shard, uint64_t sample)
{
	uint32_t units[FIELDS_MAX], n = 0;
	uint64_t start, end;

	for (unsigned f = 0; f < j->s->n_fields; f++) {
		uint32_t k = 0;

		if (!extent_of(j->s, j->shard, sample, f, &start, &end))
			continue;
		units[n] = samples_unit(j->s, shard, start, end);
		j->is_used[units[n] - j->shard->first_unit] = true;
		while (units[k] != units[n])
			k++;
		n += k == n;
	}
	return n;
}

static int drop_unused(struct joining *j)
{
	struct samples *s = j->s;
	struct sample_unit *units = &s->units[j->shard->first_unit];
	uint32_t n_kept = 0;

	j->is_used = calloc(j->shard->n_units, sizeof(*j->is_used));
	if (!j->is_used)
		return fail(-ENOMEM);
	for (uint64_t i = 0; i < j->shard->n_samples; i++) {
		uint32_t n = use_sample(j, (uint32_t)(j->shard - s->shards), s->n_samples + i);

		if (s->most_units < n)
			s->most_units = n;
	}
	for (uint32_t i = 0; i < j->shard->n_units; i++)
		if (j->is_used[i])
			units[n_kept++] = units[i];
	j->shard->n_units = n_kept;
	s->n_units = j->shard->first_unit + n_kept;
	for (uint32_t i = 0; i < n_kept; i++)
		if (s->largest_unit < units[i].n_raw)
			s->largest_unit = units[i].n_raw;
	return 0;
}

static int take_frames(struct joining *j, const struct shard_index *index, struct reason *why)
{
	struct samples *s = j->s;
	uint64_t n = s->n_frames + index->n_frames;

	if (n > N_MOST / 2) { /* units are at most twice as many */
		reason_set(why, "%.250s: %" PRIu64 " frames (with those of the shards before it); at most %" PRIu64
			   " are possible", j->shard->path, n, N_MOST / 2);
		return INDEX_E_REFUSED;
	}
	if (n > s->frames_allocated) {
		uint64_t room = n + n / 2;
		struct shard_frame *grown = reallocarray(s->frames, room, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		s->frames = grown;
		s->frames_allocated = room;
	}
	memcpy(&s->frames[s->n_frames], index->frames, index->n_frames * sizeof(*index->frames));
	return 0;
}

int units_add(struct samples *s, const struct shard_index *index, struct reason *why)
{
	struct joining j = {.s = s, .shard = &s->shards[s->n_shards], .frames = index->frames,
			    .n_frames = index->n_frames};
	const uint64_t n_units = s->n_units;
	int r;

	j.shard->first_unit = (uint32_t)n_units;
	if (index->packing == PACKING_NONE)
		return 0;
	r = take_frames(&j, index, why);
	if (r)
		return r;
	j.reach = calloc(j.n_frames, sizeof(*j.reach));
	j.queue = calloc(j.n_frames, sizeof(*j.queue));
	r = j.reach && j.queue ? 0 : fail(-ENOMEM);
	if (r == 0) {
		find_reach(&j);
		r = join(&j);
	}
	if (r == 0) {
		put_in_order(&j);
		r = drop_unused(&j);
	}
	if (r == 0)
		s->n_frames += j.n_frames;
	else
		s->n_units = n_units;
	free(j.reach);
	free(j.queue);
	free(j.is_used);
	return r;
}

void units_finish(struct samples *s)
{
	void *cut = s->n_frames ? realloc(s->frames, s->n_frames * sizeof(*s->frames)) : NULL;

	if (cut) {
		s->frames = cut;
		s->frames_allocated = s->n_frames;
	}
	cut = s->n_units ? realloc(s->units, s->n_units * sizeof(*s->units)) : NULL;
	if (cut) {
		s->units = cut;
		s->units_allocated = s->n_units;
	}
}

uint32_t samples_unit(const struct samples *s, uint32_t shard, uint64_t start, uint64_t end)
{
	const struct sample_shard *x = &s->shards[shard];
	uint32_t low = x->first_unit, high = x->first_unit + x->n_units, best = UINT32_MAX;

	while (low < high) { /* the first that begins behind start */
		uint32_t middle = low + (high - low) / 2;

		if (s->units[middle].raw_offset <= start)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- > x->first_unit) {
		const struct sample_unit *u = &s->units[low];

		if (best != UINT32_MAX && u->raw_offset + s->units[best].n_raw <= start)
			break; /* from here on none is shorter */
		if (u->raw_offset + u->n_raw >= end && (best == UINT32_MAX || u->n_raw < s->units[best].n_raw))
			best = low;
	}
	return best;
}
