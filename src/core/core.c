/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Life of the core, its lists, its action queue, and the loop that starts work: lend what is full, open
 * batches, hand out tasks, plan reads, in that order, as long as the action queue has room.
 */
#include "core/state.h"

#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t count_slots(const struct core_spec *spec, uint64_t *ret_rows)
{
	uint32_t n = 0;

	*ret_rows = 0;
	for (unsigned i = 0; i < spec->n_feeds; i++) {
		n += spec->feeds[i].n_slots;
		*ret_rows += (uint64_t)spec->feeds[i].n_slots * spec->feeds[i].n_rows;
	}
	return n;
}

static unsigned most_fields(const struct core_spec *spec)
{
	unsigned most = 1;

	for (unsigned i = 0; i < spec->n_feeds; i++)
		if (spec->feeds[i].samples->n_fields > most)
			most = spec->feeds[i].samples->n_fields;
	return most;
}

static uint64_t page_up(uint64_t n)
{
	return (n + CORE_PAGE - 1) / CORE_PAGE * CORE_PAGE;
}

uint64_t core_staging_least(const struct core_feed *feeds, unsigned n_feeds)
{
	uint64_t largest = 0;

	for (unsigned i = 0; i < n_feeds; i++) {
		/* All fields of a sample are in staging together, each with ragged page ends. */
		uint64_t n = feeds[i].samples->n_fields *
			     (page_up(feeds[i].samples->largest_extent) + 2 * CORE_PAGE);

		if (n > largest)
			largest = n;
	}
	return 4 * largest;
}

struct sizes {
	uint64_t rows;
	uint32_t slots, jobs, chains, requests, words, fills;
	uint64_t units;
	unsigned fields;
};

static bool has_units(const struct core_spec *spec)
{
	for (unsigned i = 0; i < spec->n_feeds; i++)
		if (spec->feeds[i].inflated_bytes)
			return true;
	return false;
}

static uint32_t count_fills(const struct core_spec *spec)
{
	if (!has_units(spec))
		return 0;
	return spec->n_workers < FILLS_MAX ? spec->n_workers : FILLS_MAX;
}

static uint32_t count_piece_pages(const struct core_spec *spec)
{
	uint32_t fills = count_fills(spec);

	return fills ? (fills * FILL_PIECES + PIECES_SPARE) * PIECE_PAGES : 0;
}

void core_area(const struct core_spec *spec, uint64_t *ret_read, uint64_t *ret_inflated)
{
	*ret_read = spec->staging_bytes / CORE_PAGE * CORE_PAGE + (uint64_t)count_piece_pages(spec) * CORE_PAGE;
	*ret_inflated = 0;
	for (unsigned i = 0; i < spec->n_feeds; i++)
		*ret_inflated += spec->feeds[i].inflated_bytes / CORE_PAGE * CORE_PAGE;
}

static struct sizes size_up(const struct core_spec *spec)
{
	struct sizes z = {.fields = most_fields(spec), .fills = count_fills(spec)};
	uint64_t read, inflated;

	z.slots = count_slots(spec, &z.rows);
	z.jobs = (uint32_t)z.rows + spec->n_ahead;
	for (z.chains = 1; z.chains < z.jobs;)
		z.chains *= 2;
	z.requests = spec->n_requests ? spec->n_requests : CORE_REQUESTS_MAX;
	core_area(spec, &read, &inflated);
	z.words = (uint32_t)((read + inflated) / CORE_PAGE / 64 + 1);
	for (unsigned i = 0; i < spec->n_feeds; i++)
		z.units += spec->feeds[i].base == i ? spec->feeds[i].samples->n_units : 0;
	return z;
}

size_t core_bytes(const struct core_spec *spec)
{
	struct sizes z = size_up(spec);
	size_t n = sizeof(struct core);

	n += spec->n_feeds * sizeof(struct feed_state);
	n += spec->n_streams * (sizeof(struct stream) + sizeof(struct track) + sizeof(struct group));
	n += z.slots * sizeof(struct slot) + spec->n_workers * sizeof(struct worker);
	n += z.jobs * (sizeof(struct job) + z.fields * sizeof(struct extent));
	n += z.requests * sizeof(struct request) + z.words * 8 + z.chains * sizeof(uint32_t);
	n += (z.fills + 1) * sizeof(struct fill) + (z.units + 1) * sizeof(uint32_t);
	n += CANDIDATES_MAX * sizeof(struct candidate) + ACTIONS_ROOM * sizeof(struct core_action);
	for (unsigned i = 0; i < spec->n_feeds; i++) {
		const struct order_shards shards = samples_shards(spec->feeds[i].samples);

		n += EPOCHS_KEPT * order_bytes(&spec->feeds[i].order, &shards);
	}
	return n;
}

static bool allocate(struct core *c, const struct sizes *z)
{
	const struct core_spec *spec = &c->spec;

	c->feeds = calloc(spec->n_feeds, sizeof(*c->feeds));
	c->streams = calloc(spec->n_streams, sizeof(*c->streams));
	c->tracks = calloc(spec->n_streams, sizeof(*c->tracks));
	c->groups = calloc(spec->n_streams, sizeof(*c->groups));
	c->slots = calloc(z->slots, sizeof(*c->slots));
	c->jobs = calloc(z->jobs, sizeof(*c->jobs));
	c->extents = calloc((size_t)z->jobs * z->fields, sizeof(*c->extents));
	c->requests = calloc(z->requests, sizeof(*c->requests));
	c->workers = calloc(spec->n_workers, sizeof(*c->workers));
	c->page_words = calloc(z->words, sizeof(*c->page_words));
	c->candidates = calloc(CANDIDATES_MAX, sizeof(*c->candidates));
	c->actions = calloc(ACTIONS_ROOM, sizeof(*c->actions));
	c->fills = calloc(z->fills + 1, sizeof(*c->fills));
	c->unit_requests = calloc(z->units + 1, sizeof(*c->unit_requests));
	c->chains = calloc(z->chains, sizeof(*c->chains));
	return c->fills && c->unit_requests && c->chains && c->feeds && c->streams && c->tracks && c->groups && c->slots && c->jobs && c->extents &&
	       c->requests && c->workers && c->page_words && c->candidates && c->actions;
}

uint32_t must_pages(const struct core_spec *spec)
{
	const uint32_t n_pages = (uint32_t)(spec->staging_bytes / CORE_PAGE);
	const uint32_t least = (uint32_t)(core_staging_least(spec->feeds, spec->n_feeds) / 2 / CORE_PAGE);

	return least < n_pages / 4 ? n_pages / 4 : least;
}

/* Behind staging: the pieces, then a zone for each feed's units. */
static void init_units(struct core *c)
{
	uint32_t page = (uint32_t)(c->spec.staging_bytes / CORE_PAGE), n = count_piece_pages(&c->spec);
	uint64_t first_unit = 0;

	pages_init(&c->pieces, c->page_words, page, n);
	page += n;
	for (uint32_t i = 0; i < c->n_fills; i++)
		c->fills[i].request = NONE;
	c->wanted = list_empty();
	for (unsigned i = 0; i < c->spec.n_feeds; i++) {
		struct feed_state *f = &c->feeds[i];

		n = (uint32_t)(f->feed.inflated_bytes / CORE_PAGE);
		pages_init(&f->inflated, c->page_words, page, n);
		page += n;
		f->unit_requests = c->unit_requests + first_unit;
		f->newest = f->oldest = f->unit_starved = NONE;
		if (f->feed.base != i)
			continue; /* a view: its base's */
		for (uint64_t k = 0; k < f->feed.samples->n_units; k++)
			f->unit_requests[k] = NONE;
		first_unit += f->feed.samples->n_units;
	}
}

static void init_tables(struct core *c)
{
	const uint32_t n_pages = (uint32_t)(c->spec.staging_bytes / CORE_PAGE), n_must = must_pages(&c->spec);
	uint32_t first = 0;

	pages_init(&c->must, c->page_words, 0, n_must);
	pages_init(&c->ahead, c->page_words, n_must, n_pages - n_must);
	c->ahead_again = c->ahead.n_pages / AHEAD_ROUNDS;
	for (uint32_t i = 0; i < c->n_jobs; i++)
		c->jobs[i].next = i + 1 < c->n_jobs ? i + 1 : NONE;
	for (uint32_t i = 0; i < c->n_chains; i++)
		c->chains[i] = NONE;
	for (uint32_t i = 0; i < c->n_requests; i++)
		c->requests[i].next = i + 1 < c->n_requests ? i + 1 : NONE;
	for (uint32_t i = 0; i < c->n_jobs * c->n_fields; i++)
		c->extents[i].request = NONE;
	for (unsigned f = 0; f < c->spec.n_feeds; f++) {
		struct feed_state *feed = &c->feeds[f];

		feed->feed = c->spec.feeds[f];
		feed->shards = samples_shards(feed->feed.samples);
		feed->first_slot = first;
		for (uint32_t i = 0; i < feed->feed.n_slots; i++)
			c->slots[first + i] = (struct slot){.feed = f, .track = NONE, .next = NONE,
							    .staged = list_empty()};
		first += feed->feed.n_slots;
	}
	init_units(c);
	for (uint32_t i = 0; i < c->spec.n_workers; i++)
		c->workers[i].fill = NONE;
	c->free_job = c->free_request = 0;
	c->queue = c->settling = c->alone = c->large = list_empty();
	c->large_worker = c->starved = NONE;
	c->next_lease = c->next_task = 1;
}

int core_new(const struct core_spec *spec, struct core **ret)
{
	struct core *c = calloc(1, sizeof(*c));
	struct sizes z = size_up(spec);

	assert(spec->n_feeds && spec->n_workers && spec->n_streams);
	assert(spec->staging_bytes >= core_staging_least(spec->feeds, spec->n_feeds));
	assert(!spec->n_requests || spec->n_requests >= CORE_REQUESTS_LEAST);
	for (unsigned i = 0; i < spec->n_feeds; i++)
		assert(spec->feeds[i].base != i ||
		       spec->feeds[i].inflated_bytes >= core_inflated_least(spec->feeds[i].samples));
	if (!c)
		return fail(-ENOMEM);
	c->spec = *spec;
	c->n_working = spec->n_workers;
	c->n_fields = z.fields;
	c->n_slots = z.slots;
	c->n_jobs = z.jobs;
	c->n_requests = c->n_free_requests = z.requests;
	c->n_fills = z.fills;
	c->n_chains = z.chains;
	if (!allocate(c, &z)) {
		core_free(c);
		return fail(-ENOMEM);
	}
	init_tables(c);
	c->spec.feeds = NULL; /* copied */
	*ret = c;
	return 0;
}

struct core *core_free(struct core *c)
{
	if (!c)
		return NULL;
	for (unsigned f = 0; c->feeds && f < c->spec.n_feeds; f++)
		for (unsigned i = 0; i < EPOCHS_KEPT; i++)
			if (c->feeds[f].has_order[i])
				order_deinit(&c->feeds[f].orders[i]);
	free(c->feeds);
	free(c->fills);
	free(c->unit_requests);
	free(c->chains);
	free(c->streams);
	free(c->tracks);
	free(c->groups);
	free(c->slots);
	free(c->jobs);
	free(c->extents);
	free(c->requests);
	free(c->workers);
	free(c->page_words);
	free(c->candidates);
	free(c->actions);
	free(c);
	return NULL;
}

void core_set_workers(struct core *c, uint64_t now_ns, unsigned n)
{
	assert(n > 0 && n <= c->spec.n_workers);
	core_begin(c, now_ns);
	c->n_working = n;
}

void core_set_read_timeout(struct core *c, uint64_t timeout_ns)
{
	c->spec.read_timeout_ns = timeout_ns;
}

void core_set_bad(struct core *c, unsigned feed, double limit, bool is_transient_bad)
{
	c->feeds[feed].feed.bad_limit = limit;
	c->feeds[feed].feed.is_transient_bad = is_transient_bad;
}

/* ---- lists of jobs ---- */

void job_push(struct core *c, struct list *l, uint32_t job)
{
	c->jobs[job].next = NONE;
	c->jobs[job].prev = l->tail;
	if (l->tail == NONE)
		l->head = job;
	else
		c->jobs[l->tail].next = job;
	l->tail = job;
}

void job_push_front(struct core *c, struct list *l, uint32_t job)
{
	c->jobs[job].next = l->head;
	c->jobs[job].prev = NONE;
	if (l->head == NONE)
		l->tail = job;
	else
		c->jobs[l->head].prev = job;
	l->head = job;
}

uint32_t job_pop(struct core *c, struct list *l)
{
	uint32_t job = l->head;

	if (job != NONE)
		job_remove(c, l, job);
	return job;
}

void job_remove(struct core *c, struct list *l, uint32_t job)
{
	struct job *j = &c->jobs[job];

	if (j->prev == NONE)
		l->head = j->next;
	else
		c->jobs[j->prev].next = j->next;
	if (j->next == NONE)
		l->tail = j->prev;
	else
		c->jobs[j->next].prev = j->prev;
	j->next = j->prev = NONE;
}

/* ---- the order of an epoch ---- */

const struct order *feed_order(struct core *c, uint32_t feed, uint64_t epoch)
{
	struct feed_state *f = &c->feeds[feed];
	unsigned oldest = 0;

	for (unsigned i = 0; i < EPOCHS_KEPT; i++) {
		if (f->has_order[i] && f->orders[i].epoch == epoch) {
			f->used_at[i] = ++c->clock;
			return &f->orders[i];
		}
		if (f->used_at[i] < f->used_at[oldest])
			oldest = i;
	}
	if (f->has_order[oldest])
		order_deinit(&f->orders[oldest]);
	if (order_init(&f->orders[oldest], &f->feed.order, &f->shards, epoch) < 0)
		abort(); /* planned for at the start: out of memory here is a broken promise, not a state */
	f->has_order[oldest] = true;
	f->used_at[oldest] = ++c->clock;
	return &f->orders[oldest];
}

/* ---- actions ---- */

struct core_action *action_add(struct core *c, enum core_action_kind kind, uint32_t stream)
{
	struct core_action *a;

	assert(c->n_actions < ACTIONS_ROOM);
	a = &c->actions[(c->first_action + c->n_actions++) % ACTIONS_ROOM];
	*a = (struct core_action){.kind = kind, .stream = stream};
	return a;
}

static void account(struct core *c, uint64_t now_ns);

/* Starts what can be started. Every step stops early when the action queue runs short; is_dirty then
 * brings it back once the caller has emptied the queue. */
static void work(struct core *c)
{
	c->is_dirty = false;
	reads_settle(c);
	lend_all(c);
	if (c->n_actions > 0) {
		c->is_dirty = true; /* a trainer may wait for what was lent: it goes out before the rest is planned */
		return;
	}
	for (uint32_t i = 0; i < c->n_tracks; i++) {
		uint32_t t = (c->turn + i) % c->n_tracks;

		if (c->tracks[t].is_used)
			batches_open(c, t);
	}
	lend_all(c); /* a batch without rows is ready at once */
	tasks_dispatch(c);
	reads_plan(c);
	tasks_dispatch(c); /* rows that need no read */
	c->turn++;
	account(c, c->now_ns);
}

bool core_next(struct core *c, struct core_action *ret)
{
	while (c->n_actions == 0 && c->is_dirty)
		work(c);
	if (c->n_actions == 0)
		return false;
	*ret = c->actions[c->first_action];
	c->first_action = (c->first_action + 1) % ACTIONS_ROOM;
	c->n_actions--;
	return true;
}

/* ---- waits ---- */

static bool is_inflating(const struct core *c, uint32_t feed)
{
	for (uint32_t i = 0; i < c->n_fills; i++)
		if (c->fills[i].request != NONE && c->fills[i].n_in_hand > 0 &&
		    c->requests[c->fills[i].request].feed == feed)
			return true;
	return false;
}

static int wait_now(const struct core *c, const struct stream *s)
{
	const struct track *t;
	const struct slot *head;
	uint32_t slot;

	if (!is_live(s))
		return -1;
	t = &c->tracks[s->track];
	slot = track_find(c, t, s->next);
	head = slot == NONE ? NULL : &c->slots[slot];
	if (s->n_lent > 1 || s->n_lent >= s->credit || (head && head->state == SLOT_READY && may_lend(c, t, slot)))
		return CORE_WAIT_TRAINER;
	if (!head || head->state == SLOT_READY)
		return CORE_WAIT_SLOTS; /* its own are all taken, or those whom it shares them with hold it back */
	if (head->n_tasked > 0 || head->staged.head != NONE || is_inflating(c, c->feeds[s->feed].feed.base))
		return CORE_WAIT_DECODE;
	return head->n_waiting ? CORE_WAIT_SLOTS : CORE_WAIT_READ;
}

/* Books the time since the last event to what each stream was waiting for, then looks what that is now. */
static void account(struct core *c, uint64_t now_ns)
{
	uint64_t passed = now_ns > c->now_ns ? now_ns - c->now_ns : 0;

	for (uint32_t i = 0; i < c->n_streams; i++) {
		struct stream *s = &c->streams[i];
		const int wait = wait_now(c, s);

		if (!s->is_used)
			continue;
		if (s->wait >= 0) {
			s->waits_ns[s->wait] += passed;
			c->feeds[s->feed].waits_ns[s->wait] += passed;
		}
		if (s->wait != wait)
			s->wait_ns = c->now_ns + passed;
		s->wait = wait;
	}
	if (now_ns > c->now_ns)
		c->now_ns = now_ns;
}

void core_begin(struct core *c, uint64_t now_ns)
{
	assert(c->n_actions == 0); /* the caller takes all actions of one event before the next */
	account(c, now_ns);
	c->is_dirty = true;
}

uint64_t core_deadline(const struct core *c)
{
	uint64_t least = slow_deadline(c);

	if (c->n_flying && c->read_deadline_ns < least)
		least = c->read_deadline_ns;

	for (unsigned i = 0; i < c->spec.n_workers; i++) {
		const struct worker *w = &c->workers[i];

		if (w->n_hands && !w->is_killed && w->hands[0].deadline_ns < least)
			least = w->hands[0].deadline_ns;
	}
	return least;
}
