/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* All memory is touched here: what cannot be had fails the start, never a batch later. */
#include "batch/slots.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"

int slots_init(uint32_t n, uint64_t slot_bytes, struct slots *ret)
{
	struct slots s = {.slot_bytes = slot_bytes};
	int r = 0;

	*ret = (struct slots){0};
	s.list = calloc(n, sizeof(s.list[0]));
	if (!s.list && n > 0)
		return fail(-ENOMEM);
	for (; s.n < n; s.n++) {
		r = memory_new("ringfeed-slot", slot_bytes, &s.list[s.n]);
		if (r < 0) {
			slots_deinit(&s);
			return pass(r);
		}
	}
	*ret = s;
	return 0;
}

void slots_deinit(struct slots *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		memory_deinit(&s->list[i]);
	free(s->list);
	*s = (struct slots){0};
}

uint64_t slots_resident(const struct slots *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->n; i++)
		n += memory_resident(s->list[i].fd);
	return n;
}

uint32_t slots_huge(const struct slots *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n; i++)
		n += s->list[i].is_huge;
	return n;
}
