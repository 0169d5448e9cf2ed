/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The clock, the queue of events, the command line: sim [--seeds A..B] [--steps N] [--jobs N] [--partial] [--verbose]. */
#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- chance ---- */

uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->random += 0x9E3779B97F4A7C15;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

/* As many bytes of the tape as can say n. */
static uint64_t read_tape(struct sim *s, uint64_t n)
{
	uint64_t value = 0;

	for (uint64_t rest = n - 1; rest && s->n_tape > 0; rest >>= 8, s->n_tape--)
		value = value << 8 | *s->tape++;
	return value % n;
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
	if (n && s->n_tape > 0)
		return read_tape(s, n);
	return n ? sim_random(s) % n : 0;
}

uint64_t sim_between(struct sim *s, uint64_t a, uint64_t b)
{
	return a + sim_below(s, b - a + 1);
}

bool sim_odds(struct sim *s, unsigned of_10000)
{
	return of_10000 && sim_below(s, 10000) < of_10000;
}

uint64_t sim_tells(struct sim *s)
{
	return s->told_ns = s->now;
}

void sim_fault(struct sim *s, enum fault fault)
{
	s->n_faults[fault]++;
}

/* ---- failure ---- */

static char replay[200]; /* what the handler of SIGABRT says: the core asserts */

static void say_replay(int signal_number)
{
	ssize_t n = write(STDERR_FILENO, replay, strlen(replay));

	(void)n;
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

void sim_fail(const struct sim *s, const char *what, const char *format, ...)
{
	va_list args;

	if (s->is_verbose)
		sim_show(s);
	fflush(stdout);
	fprintf(stderr, "seed %" PRIu64 ", event %" PRIu64 ", %.6f s: ", s->seed, s->n_events,
		(double)s->now / 1e9);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n(%s)\n%s", what, replay);
	exit(1);
}

/* ---- the queue of events ---- */

static bool is_before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_later(struct sim *s, uint64_t in_ns, enum event_kind kind, uint32_t who, uint64_t tag)
{
	struct events *q = &s->events;
	unsigned i = q->n++;
	struct event e = {s->now + in_ns, q->n_made++, kind, who, tag};

	SIM_CHECK(s, q->n < SIM_EVENTS_MAX, "the simulator's queue is full");
	for (; i > 0 && is_before(&e, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
		q->heap[i] = q->heap[(i - 1) / 2];
	q->heap[i] = e;
}

static struct event take_event(struct sim *s)
{
	struct events *q = &s->events;
	struct event first = q->heap[0], last = q->heap[--q->n];
	unsigned i = 0;

	for (unsigned child; (child = 2 * i + 1) < q->n; i = child) {
		if (child + 1 < q->n && is_before(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!is_before(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
	}
	q->heap[i] = last;
	return first;
}

static void happen(struct sim *s, const struct event *e)
{
	static const char *const names[] = {"read", "answer", "dead", "up", "trainer", "hangup", "exit",
					     "unseen", "cpu"};

	if (s->is_verbose)
		printf("%12" PRIu64 " %s %u\n", s->now, names[e->kind], e->who);
	switch (e->kind) {
	case EVENT_READ:
		disk_done(s, e->who, e->tag);
		break;
	case EVENT_ANSWER:
		crew_answer(s, e->who, e->tag);
		break;
	case EVENT_DEAD:
		crew_dead(s, e->who, e->tag);
		break;
	case EVENT_UP:
		crew_up(s, e->who);
		break;
	case EVENT_TRAINER:
		trainer_tick(s, e->who, e->tag);
		break;
	case EVENT_HANGUP:
		trainer_hangup(s, e->who, e->tag);
		break;
	case EVENT_EXIT:
		trainer_exit(s, e->who, e->tag);
		break;
	case EVENT_UNSEEN:
		trainer_unseen(s, e->who, e->tag);
		break;
	case EVENT_CPU:
		clock_told(s, e->who, e->tag);
		break;
	}
}

static void print_action(const struct sim *s, const struct core_action *a)
{
	static const char *const names[] = {"read", "task", "kill", "lend", "epoch-end", "fail", "bad", "gone",
					     "peer-gone", "mended"};

	printf("%12" PRIu64 "     -> %s", s->now, names[a->kind]);
	if (a->kind == CORE_READ)
		printf(" %u: %u bytes of shard %u at %" PRIu64 "\n", a->read.request, a->read.n_bytes,
		       a->read.shard, a->read.offset);
	else if (a->kind == CORE_TASK || a->kind == CORE_KILL_WORKER)
		printf(" %" PRIu64 " of worker %u\n", a->task.id, a->task.worker);
	else if (a->kind == CORE_FAIL || a->kind == CORE_BAD)
		printf(" %u: %d %s sample %" PRIu64 " position %" PRIu64 "\n", a->stream, a->bad.failure,
		       cause_name(a->bad.cause), a->bad.sample, a->bad.position);
	else if (a->kind == CORE_LEND)
		printf(" %u: epoch %" PRIu64 " step %" PRIu64 " slot %u\n", a->stream, a->lend.epoch,
		       a->lend.step, a->lend.slot);
	else
		printf(" %u\n", a->stream);
}

void sim_settle(struct sim *s)
{
	struct core_action a;

	s->is_late_lending = false;
	while (core_next(s->core, &a)) {
		SIM_CHECK(s, s->told_ns == s->now, "it could have done so before");
		if (s->is_verbose)
			print_action(s, &a);
		judge_action(s, &a);
	}
	s->coming = NOBODY;
	judge_state(s);
}

/* One event, or the deadline the core has asked for, whichever comes first. */
static bool step(struct sim *s)
{
	uint64_t deadline = core_deadline(s->core);
	struct event e;

	if (s->events.n == 0 && deadline == UINT64_MAX)
		return false;
	s->n_events++;
	if (s->events.n == 0 || deadline < s->events.heap[0].at) {
		deadline += sim_odds(s, 5000) ? 0 : sim_below(s, 1 * MS);
		s->now = deadline > s->now ? deadline : s->now;
		core_on_time(s->core, sim_tells(s));
		sim_settle(s);
		SIM_CHECK(s, core_deadline(s->core) > s->now, "the core asks for a time that has passed");
		return true;
	}
	e = take_event(s);
	s->now = e.at > s->now ? e.at : s->now;
	happen(s, &e);
	sim_settle(s);
	return true;
}

/* ---- one seed ---- */

enum { CALM_STEPS_MAX = 20000, ORDERS_KEPT = 8 }; /* kept: of epochs, as in the core */

static void start(struct sim *s)
{
	const struct core_spec *spec = &s->world.spec;
	uint64_t n_read, n_inflated;

	world_make(s);
	core_area(spec, &n_read, &n_inflated);
	s->n_read_pages = (uint32_t)(n_read / CORE_PAGE);
	s->n_pages = s->n_read_pages + (uint32_t)(n_inflated / CORE_PAGE);
	s->pages = calloc(s->n_pages, sizeof(*s->pages));
	s->coming = NOBODY;
	for (uint32_t f = 0; f < SIM_FEEDS_MAX; f++)
		for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++)
			s->slots[f][i].course = NOBODY;
	SIM_CHECK(s, core_new(spec, &s->core) == 0, "no core");
	for (uint32_t i = 0; i < spec->n_workers; i++)
		sim_later(s, sim_below(s, 5 * MS), EVENT_UP, i, 0);
	trainers_make(s);
}

/* Faults stop: whoever is there goes on. A read that never comes has not stopped. */
static void calm_down(struct sim *s)
{
	const bool may_wait = s->world.odds.read_never > 0;
	const uint64_t patience = 4 * (s->world.spec.read_timeout_ns + s->world.spec.task_timeout_ns), until = s->now + patience;

	trainers_calm(s);
	for (unsigned i = 0; !may_wait && !judge_calm(s); i++)
		SIM_CHECK(s, (i < CALM_STEPS_MAX || s->now < until) && step(s), "faults have stopped, and somebody gets no batch");
}

static void end(struct sim *s, uint64_t n_steps)
{
	s->is_ending = true;
	trainers_end(s);
	for (uint64_t i = 0; step(s); i++)
		SIM_CHECK(s, i < 20 * n_steps + 100000, "it does not come to an end");
	judge_end(s);
}

/* The memory plan says to the byte what a core takes: its tables at once, and the orders that it keeps on the way. */
static void judge_plan(const struct sim *s)
{
	const struct core_spec *spec = &s->world.spec;
	const uint64_t n_before = memory_asked();
	struct core *core;
	uint64_t planned;

	SIM_CHECK(s, core_new(spec, &core) == 0, "no core");
	planned = memory_asked() - n_before;
	core_free(core);
	for (uint32_t i = 0; i < spec->n_feeds; i++) {
		const struct order_shards shards = samples_shards(spec->feeds[i].samples);

		planned += ORDERS_KEPT * order_bytes(&spec->feeds[i].order, &shards);
	}
	SIM_CHECK(s, core_bytes(spec) == planned, "%zu bytes are planned for, not %" PRIu64, core_bytes(spec), planned);
}

static struct sim *run(uint64_t seed, uint64_t n_steps, bool is_verbose)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->seed = seed;
	s->random = seed * 0xD1342543DE82EF95;
	s->is_verbose = is_verbose;
	snprintf(replay, sizeof(replay), "replay with: sim --seeds %" PRIu64 "..%" PRIu64
		 " --steps %" PRIu64 " --verbose\n", seed, seed, n_steps);
	start(s);
	judge_plan(s);
	for (uint64_t i = 0; i < n_steps && step(s); i++)
		;
	calm_down(s);
	end(s, n_steps);
	return s;
}

static void stop(struct sim *s)
{
	core_free(s->core);
	for (unsigned i = 0; i < SIM_STREAMS_MAX; i++)
		free(s->courses[i].blemishes.all);
	for (unsigned i = 0; i < SIM_FEEDS_MAX; i++)
		free(s->teams[i].blemishes.all);
	free(s->pages);
	world_free(s);
	free(s);
}

/* ---- many seeds ---- */

struct sums {
	uint64_t n_events, n_lent, n_rows, n_bads, n_fails, n_refused, n_gone, n_units, n_shared, n_evicted, n_peers, n_riders;
	uint64_t n_faults[FAULTS];
	uint64_t worst_seed;
	double worst_wait; /* of the time allowed, in healthy worlds */
};

static void add(struct sums *to, const struct sim *s)
{
	struct core_totals totals;

	core_view_totals(s->core, &totals);
	to->n_units += totals.n_units;
	to->n_events += s->n_events;
	to->n_lent += s->n_lent;
	to->n_rows += s->n_rows;
	to->n_bads += s->n_bads;
	to->n_fails += s->n_fails;
	to->n_refused += s->n_refused;
	to->n_gone += s->n_gone;
	to->n_shared += s->n_shared;
	to->n_evicted += s->n_evicted;
	to->n_peers += s->n_peers;
	to->n_riders += s->n_riders;
	for (unsigned i = 0; i < FAULTS; i++)
		to->n_faults[i] += s->n_faults[i];
	if (s->world.is_healthy && (double)s->worst_wait_ns / (double)s->world.wait_ns_max > to->worst_wait) {
		to->worst_wait = (double)s->worst_wait_ns / (double)s->world.wait_ns_max;
		to->worst_seed = s->seed;
	}
}

static void merge(struct sums *to, const struct sums *from)
{
	uint64_t *a = &to->n_events;
	const uint64_t *b = &from->n_events;

	for (unsigned i = 0; i < offsetof(struct sums, worst_seed) / sizeof(*a); i++)
		a[i] += b[i];
	if (from->worst_wait > to->worst_wait) {
		to->worst_wait = from->worst_wait;
		to->worst_seed = from->worst_seed;
	}
}

struct order_of_runs {
	uint64_t first, last, n_steps;
	unsigned n_jobs;
	bool is_verbose, is_partial;
};

static void run_share(const struct order_of_runs *o, unsigned job, struct sums *ret)
{
	signal(SIGABRT, say_replay);
	for (uint64_t seed = o->first + job; seed <= o->last; seed += o->n_jobs) {
		const uint64_t n_live = memory_live();
		struct sim *s = run(seed, o->n_steps, o->is_verbose);

		add(ret, s);
		stop(s);
		if (memory_live() != n_live) {
			fprintf(stderr, "seed %" PRIu64 ": %" PRIu64 " allocations are never freed\n%s", seed,
				memory_live() - n_live, replay);
			exit(1);
		}
	}
}

/* Each process takes its share of the seeds. false: one has found something. */
static bool run_all(const struct order_of_runs *o, struct sums *ret)
{
	struct sums *sums = mmap(NULL, o->n_jobs * sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool is_well = true;
	int status;

	if (sums == MAP_FAILED)
		abort();
	for (unsigned i = 0; i + 1 < o->n_jobs; i++) {
		pid_t pid = fork();

		if (pid < 0)
			abort();
		if (pid == 0) {
			run_share(o, i, &sums[i]);
			_exit(0);
		}
	}
	run_share(o, o->n_jobs - 1, &sums[o->n_jobs - 1]);
	while (wait(&status) > 0)
		is_well = is_well && status == 0;
	for (unsigned i = 0; i < o->n_jobs; i++)
		merge(ret, &sums[i]);
	munmap(sums, o->n_jobs * sizeof(*sums));
	return is_well;
}

/* Each fault with how often it was done; false: one never was, and what is said of the others proves less. */
static bool print_faults(const struct sums *sums)
{
	static const struct {
		const char *name, *what;
	} faults[] = {
#define FAULT(name, what) {#name, what},
#include "faults.def"
#undef FAULT
	};
	bool is_complete = true;

	for (unsigned i = 0; i < FAULTS; i++) {
		printf("%10" PRIu64 " %-24s %s\n", sums->n_faults[i], faults[i].name, faults[i].what);
		if (sums->n_faults[i] == 0) {
			fprintf(stderr, "never drawn: %s: %s\n", faults[i].name, faults[i].what);
			is_complete = false;
		}
	}
	return is_complete;
}

static int usage(void)
{
	fprintf(stderr, "sim [--seeds A..B] [--steps N] [--jobs N] [--partial] [--verbose]\n"
		"--partial: so few seeds that not every fault may come\n");
	return 2;
}

static bool read_arguments(int argc, char **argv, struct order_of_runs *ret)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			ret->is_verbose = true;
		else if (!strcmp(argv[i], "--partial"))
			ret->is_partial = true;
		else if (i + 1 == argc)
			return false;
		else if (!strcmp(argv[i], "--seeds") &&
			 sscanf(argv[++i], "%" SCNu64 "..%" SCNu64, &ret->first, &ret->last) == 2)
			continue;
		else if (!strcmp(argv[i], "--steps") && sscanf(argv[++i], "%" SCNu64, &ret->n_steps) == 1)
			continue;
		else if (!strcmp(argv[i], "--jobs") && sscanf(argv[++i], "%u", &ret->n_jobs) == 1 && ret->n_jobs)
			continue;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct order_of_runs o = {.first = 1, .last = 1000, .n_steps = 2000, .n_jobs = 1};
	struct sums sums = {0};
	bool is_well, is_complete;

	if (!read_arguments(argc, argv, &o))
		return usage();
	is_well = run_all(&o, &sums);
	if (!is_well) {
		fprintf(stderr, "sim: a seed has found something: it stands above, or before what the other jobs said\n");
		return 1;
	}
	is_complete = print_faults(&sums) || o.is_partial;
	printf("seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " events, %" PRIu64 " batches of %" PRIu64
	       " rows, %" PRIu64 " bad samples, %" PRIu64 " failures, %" PRIu64 " attaches refused, %" PRIu64
	       " trainers gone, %" PRIu64 " joined others, %" PRIu64 " evicted, %" PRIu64 " deaths told, %" PRIu64 " rows made along with others, %" PRIu64
	       " units inflated; longest wait in a healthy world %.2f of what is allowed (seed %" PRIu64 ")\n",
	       o.first, o.last, sums.n_events, sums.n_lent, sums.n_rows, sums.n_bads, sums.n_fails,
	       sums.n_refused, sums.n_gone, sums.n_shared, sums.n_evicted, sums.n_peers, sums.n_riders, sums.n_units,
	       sums.worst_wait, sums.worst_seed);
	return is_complete ? 0 : 1;
}
