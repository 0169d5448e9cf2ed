/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "watch/snapshot.h"

#include "base/fault.h"

#include <errno.h>
#include <stdlib.h>

int snapshot_init(struct snapshot *s, unsigned n_feeds, unsigned n_workers, size_t n_lines, size_t n_sources)
{
	*s = (struct snapshot){.n_feeds = n_feeds, .n_workers = n_workers, .memory.n_lines = n_lines,
				.n_sources = n_sources};
	s->feeds = calloc(n_feeds, sizeof(*s->feeds));
	s->workers = calloc(n_workers, sizeof(*s->workers));
	s->memory.lines = calloc(n_lines, sizeof(*s->memory.lines));
	s->passes = calloc(SNAPSHOT_RANKS_MAX * n_sources + 1, sizeof(*s->passes));
	if (s->feeds && s->workers && s->memory.lines && s->passes)
		return 0;
	snapshot_deinit(s);
	return fail(-ENOMEM);
}

void snapshot_deinit(struct snapshot *s)
{
	free(s->feeds);
	free(s->workers);
	free(s->memory.lines);
	free(s->passes);
	*s = (struct snapshot){0};
}

const char *snapshot_wait_name(enum snapshot_wait wait)
{
	static const char *const names[] = {
		[SNAPSHOT_WAIT_READ] = "read", [SNAPSHOT_WAIT_DECODE] = "decode",
		[SNAPSHOT_WAIT_SLOTS] = "slots", [SNAPSHOT_WAIT_TRAINER] = "trainer"};

	return names[wait];
}

unsigned snapshot_workers_up(const struct snapshot *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_workers; i++)
		n += s->workers[i].is_up;
	return n;
}
