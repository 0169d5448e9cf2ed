/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * proto/order.md, "Batches, ranks, epochs": a pass cut into global batches of G = batch x world
 * positions from `start` on, and each of these dealt to the ranks by t mod R. G is a multiple of R,
 * so a rank has exactly `batch` positions of every whole global batch, wherever the pass starts.
 *
 * order_check sees to it that start + batches x G fits 64 bits; the rest relies on that.
 */
#include "order/order.h"

#include <assert.h>
#include <inttypes.h>

/* G; 0 when it does not fit. */
static uint64_t group_size(const struct pass *p)
{
	uint64_t size;

	return __builtin_mul_overflow(p->batch, p->world, &size) ? 0 : size;
}

static int check_spec(const struct order_spec *spec, struct reason *why)
{
	if (spec->shuffle == SHUFFLE_BLOCK && spec->window == 0) {
		reason_set(
			why,
			"order.window is 0; a block shuffle needs a window of at least 1 sample");
		return ORDER_E_REFUSED;
	}
	if (spec->parts == 0) {
		reason_set(why, "order.parts is 0; at least 1 part is needed");
		return ORDER_E_REFUSED;
	}
	if (spec->shuffle != SHUFFLE_BLOCK && (spec->window != 0 || spec->parts != 1)) {
		reason_set(why, "order.window and order.parts belong to shuffle: block alone");
		return ORDER_E_REFUSED;
	}
	return 0;
}

int order_check(const struct order_spec *spec, const struct pass *p, struct reason *why)
{
	uint64_t size = group_size(p), end;

	if (p->n_samples == 0) {
		reason_set(why, "the feed has no samples (N = 0)");
		return ORDER_E_REFUSED;
	}
	if (check_spec(spec, why))
		return ORDER_E_REFUSED;
	if (p->batch == 0 || p->world == 0) {
		reason_set(why, "%s is 0; at least 1 is needed",
			   p->batch == 0 ? "the batch size" : "the number of ranks");
		return ORDER_E_REFUSED;
	}
	if (p->start >= p->n_samples) {
		reason_set(why,
			   "position %" PRIu64
			   " is past the end: an epoch of this feed has %" PRIu64 " positions",
			   p->start, p->n_samples);
		return ORDER_E_REFUSED;
	}
	if (p->last == LAST_DROP && (size == 0 || p->n_samples < size)) {
		reason_set(why,
			   "the feed has no batch: %" PRIu64 " samples are fewer than %" PRIu64
			   " ranks x %" PRIu64 " and last: drop leaves them out; take a smaller "
			   "batch, or last: pad or short",
			   p->n_samples, p->world, p->batch);
		return ORDER_E_REFUSED;
	}
	if (size == 0 || __builtin_mul_overflow(pass_n_batches(p), size, &end) ||
	    __builtin_add_overflow(end, p->start, &end)) {
		reason_set(why,
			   "batches of %" PRIu64 " ranks x %" PRIu64
			   " end past position 2^64 - 1; take a smaller batch",
			   p->world, p->batch);
		return ORDER_E_REFUSED;
	}
	return 0;
}

uint64_t pass_n_batches(const struct pass *p)
{
	uint64_t size = group_size(p), rest;

	assert(size > 0 && p->start < p->n_samples);
	rest = p->n_samples - p->start;
	return rest / size + (p->last != LAST_DROP && rest % size != 0 ? 1 : 0);
}

/* How far the rank's first position lies behind `from`. */
static uint64_t rank_offset(const struct pass *p, uint64_t from, uint64_t rank)
{
	uint64_t at = from % p->world;

	assert(rank < p->world);
	return rank >= at ? rank - at : p->world - (at - rank);
}

uint64_t pass_batch_length(const struct pass *p, uint64_t j, uint64_t rank)
{
	uint64_t size = group_size(p), n_batches = pass_n_batches(p), from, offset;

	if (j >= n_batches)
		return 0;
	from = p->start + j * size;
	if (p->last != LAST_SHORT || p->n_samples - from >= size)
		return p->batch;
	offset = rank_offset(p, from, rank);
	if (p->n_samples - from <= offset)
		return 0;
	return (p->n_samples - from - offset - 1) / p->world + 1;
}

uint64_t pass_position(const struct pass *p, uint64_t j, uint64_t rank, uint64_t i)
{
	uint64_t from = p->start + j * group_size(p);

	return from + rank_offset(p, from, rank) + i * p->world;
}

void pass_after(const struct pass *p, uint64_t epoch, uint64_t j, uint64_t *ret_epoch,
		uint64_t *ret_position)
{
	uint64_t n_batches = pass_n_batches(p);

	if (j + 1 >= n_batches) {
		*ret_epoch = epoch + 1;
		*ret_position = 0;
	} else {
		*ret_epoch = epoch;
		*ret_position = p->start + (j + 1) * group_size(p);
	}
}
