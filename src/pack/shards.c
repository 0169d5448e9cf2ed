/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The cut looks at sizes alone, so that a file that cannot be read later moves no other. */
#include "pack/shards.h"

#include "base/fault.h"
#include "base/hash.h"
#include "pack/ustar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int shard_label(const struct catalog_sample *s, char *ret)
{
	return snprintf(ret, 24, "%lld", (long long)s->label);
}

static uint64_t sample_bytes(const struct catalog *c, const struct catalog_sample *s)
{
	char label[24];
	uint64_t n = s->has_label ? ustar_member_bytes((uint64_t)shard_label(s, label)) : 0;

	for (uint32_t i = 0; i < s->n_parts; i++)
		n += ustar_member_bytes(c->parts[s->first_part + i].size);
	return n;
}

static uint64_t mix_text(uint64_t sum, const char *text)
{
	return XXH64(text, strlen(text) + 1, sum);
}

static uint64_t sample_content(const struct catalog *c, const struct catalog_sample *s, uint64_t sum)
{
	uint64_t own[3] = {s->has_label, (uint64_t)s->label, s->n_parts};

	sum = mix_text(sum, catalog_at(c, s->key));
	sum = XXH64(own, sizeof(own), sum);
	for (uint32_t i = 0; i < s->n_parts; i++) {
		const struct catalog_part *p = &c->parts[s->first_part + i];
		const struct catalog_file *f = &c->files[p->file];
		uint64_t numbers[4] = {p->offset, p->size, f->size, f->mtime_ns};

		sum = mix_text(sum, catalog_at(c, p->extension));
		sum = XXH64(numbers, sizeof(numbers), sum);
	}
	return sum;
}

int shard_plans_make(const struct catalog *c, uint64_t bytes_max, uint64_t samples_max, struct shard_plans *ret)
{
	struct shard_plans plans = {NULL, 0, 0};
	size_t room = 0;
	uint64_t n_bytes = 0;

	for (size_t i = 0; i < c->n_samples; i++) {
		const struct catalog_sample *s = &c->samples[i];
		struct shard_plan *now = plans.n ? &plans.list[plans.n - 1] : NULL;
		uint64_t n = sample_bytes(c, s);

		if (!now || (samples_max && now->n_samples == samples_max) ||
		    ustar_archive_bytes(n_bytes + n) > bytes_max) {
			if (plans.n == room) {
				room = room * 2 + 16;
				now = reallocarray(plans.list, room, sizeof(*plans.list));
				if (!now) {
					shard_plans_deinit(&plans);
					return fail(-ENOMEM);
				}
				plans.list = now;
			}
			now = &plans.list[plans.n++];
			*now = (struct shard_plan){.first = i};
			n_bytes = 0;
		}
		n_bytes += n;
		now->n_samples++;
		for (uint32_t k = 0; k < s->n_parts; k++)
			now->n_payload += c->parts[s->first_part + k].size;
		now->content = sample_content(c, s, now->content);
	}
	for (size_t i = 0; i < plans.n; i++)
		plans.content = XXH64(&plans.list[i].content, sizeof(plans.list[i].content), plans.content);
	*ret = plans;
	return 0;
}

void shard_plans_deinit(struct shard_plans *p)
{
	free(p->list);
	*p = (struct shard_plans){NULL, 0, 0};
}
