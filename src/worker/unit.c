/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "worker/unit.h"

#include <stdio.h>
#include <string.h>

/* The shard that the unit is of: the last whose units do not begin behind it. */
static const struct sample_shard *shard_of(const struct samples *s, uint32_t unit)
{
	size_t low = 0, high = s->n_shards;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (s->shards[middle].first_unit <= unit)
			low = middle;
		else
			high = middle;
	}
	return &s->shards[low];
}

void unit_run(struct inflate *x, const struct worker_setup *setup, const struct task *t, struct answer_sample *ret)
{
	const struct task_inflate *piece = (const struct task_inflate *)(t + 1);
	const struct samples *s = setup->feeds[t->feed].samples;
	const struct sample_unit *unit = &s->units[piece->unit];
	char *area = setup->area.base;
	struct reason why = {{0}};
	int r;

	memset(ret, 0, sizeof(*ret));
	if (piece->flags & TASK_INFLATE_FIRST)
		inflate_begin(x, shard_of(s, piece->unit)->packing, unit, &s->frames[unit->first_frame],
			      area + piece->into);
	r = inflate_feed(x, area + piece->from, piece->n_bytes, &why);
	if (r == 0 && (piece->flags & TASK_INFLATE_LAST))
		r = inflate_end(x, &why);
	if (r == 0)
		return;
	ret->code = ANSWER_BAD;
	ret->cause = CAUSE_damaged_unit;
	snprintf(ret->detail, sizeof(ret->detail), "%.*s", TASK_DETAIL_MAX - 1, why.text);
}
