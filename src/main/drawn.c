/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Members are read as the index has them; the size of an image in its header is all that draws depend on. */
#include "main/drawn.h"

#include "order/order.h"
#include "worker/maker.h"

#include <stdio.h>
#include <string.h>

void drawn_init(struct drawn *d, const struct config_feed *feed, const struct samples *samples)
{
	*d = (struct drawn){.feed = feed};
	members_init(&d->members, samples);
}

void drawn_deinit(struct drawn *d)
{
	members_deinit(&d->members);
}

void drawn_text(struct drawn *d, uint64_t epoch, uint64_t position, uint64_t sample, char text[DRAWN_MAX])
{
	const struct order_shards shards = samples_shards(d->members.samples);
	const struct pipeline *p = &d->feed->pipeline;
	uint64_t in_shard;
	const uint32_t shard = order_shard_of(&shards, sample, &in_shard);
	size_t used = 0;

	*text = 0;
	for (unsigned f = 0; f < p->n_fields; f++) {
		uint32_t width, height;
		const char *payload;
		struct reason why;
		size_t n;
		int more, r;

		if (p->fields[f].decode != DECODE_IMAGE)
			continue;
		r = members_read(&d->members, shard, sample, f, &payload, &n, &why);
		if (r == MEMBER_E_UNREADABLE)
			fprintf(stderr, "ringfeed: %s\n", why.text);
		/* a bad sample draws nothing */
		if (r || maker_image_size(&p->fields[f], payload, n, &width, &height) != CAUSE_none)
			continue;
		if (used && used < DRAWN_MAX - 1)
			text[used++] = '\t';
		more = maker_draws(p, f, d->feed->seed, epoch, position, width, height, text + used,
				   DRAWN_MAX - used);
		used += more > 0 ? (size_t)more : 0;
		if (more == 0 && used)
			text[--used] = 0;
		if (used >= DRAWN_MAX)
			return;
	}
}

json_t *drawn_json(const char *text)
{
	json_t *draws = json_array();
	const char *next;

	for (; *text; text = next) {
		next = strchr(text, '\t');
		next = next ? next : text + strlen(text);
		json_array_append_new(draws, json_stringn(text, (size_t)(next - text)));
		next += *next == '\t';
	}
	return draws;
}
