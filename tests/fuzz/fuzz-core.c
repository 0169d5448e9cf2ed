/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a schedule of the simulator (tests/sim): the first two are the seed of a world, and the rest decides all
 * that happens in it instead of chance, until they are used up; then the world comes to its end. The simulator's
 * oracle judges every event and action, the core its own invariants. So a fuzzer that sees which lines of the
 * core run looks for schedules that no seed comes upon. A core that cannot have its memory says so.
 */
#define main simulate /* of the simulator's own program, which is not called */
int simulate(int argc, char **argv);
#include "../sim/sim.c"
#undef main

#include "fuzz.h"

enum { EVENTS_MOST = 3000 };

/* Of the simulator's own program, too: here the fuzzer counts what is allocated. */
uint64_t memory_live(void)
{
	return 0;
}

uint64_t memory_asked(void)
{
	return 0;
}

static void starve_core(const struct sim *s)
{
	struct core *core = NULL;
	int r = core_new(&s->world.spec, &core);

	CHECK((r == 0) == (core != NULL) && (r == 0 || starve_explains(r)));
	core_free(core);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	struct sim *s;

	if (n < 2)
		return;
	starve_pause();
	s = calloc(1, sizeof(*s));
	CHECK(s);
	s->seed = bytes[0] | (uint64_t)bytes[1] << 8;
	s->random = s->seed * 0xD1342543DE82EF95;
	start(s);
	s->tape = bytes + 2;
	s->n_tape = n - 2;
	for (unsigned i = 0; i < EVENTS_MOST && s->n_tape > 0 && step(s); i++)
		;
	s->n_tape = 0;
	end(s, EVENTS_MOST);
	starve_resume();
	starve_core(s);
	stop(s);
}
