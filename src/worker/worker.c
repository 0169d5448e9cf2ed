/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The task loop. Every member is checked against its own tar header before its payload is used: the
 * size of the index, an extension of the field, one key for all fields of the sample. Anything else
 * means that the shard is not the one that was indexed.
 *
 * A sample may go into rows of several batches, of its feed or of views of it: each field is found and decoded
 * once for all of them.
 */
#include "worker/worker.h"

#include "base/log.h"
#include "base/sanitizer.h"
#include "core/task.h"
#include "shard/tar.h"
#include "worker/maker.h"
#include "worker/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FEEDS_MAX = 256 };

struct worker {
	const struct worker_setup *setup;
	struct maker *makers[FEEDS_MAX]; /* of feeds that are no views */
	unsigned views[FEEDS_MAX];	 /* which of its maker's views a feed is */
	struct inflate *inflate; /* NULL: no feed has compressed shards */
	int channel;
	struct tar_header header;      /* of the member at hand */
	char key[TAR_NAME_MAX];	       /* of the sample at hand */
	struct task_target rows[1 + TASK_TARGETS_MAX]; /* that it goes into */
	unsigned n_rows;
	struct maker_target targets[1 + TASK_TARGETS_MAX]; /* the same, of the field at hand */
	union {
		struct task task;
		char bytes[WORKER_PACKET_MAX];
	} in;
	struct {
		struct answer head;
		struct answer_sample samples[TASK_SAMPLES_MAX];
	} out;
};

static uint64_t cpu_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void changed(struct answer_sample *a, const char *what)
{
	a->code = ANSWER_CHANGED;
	snprintf(a->detail, sizeof(a->detail), "%.*s", TASK_DETAIL_MAX - 1, what);
}

static bool is_extension_of(const struct field *f, const char *extension)
{
	for (unsigned i = 0; i < f->n_extensions; i++)
		if (strcmp(f->extensions[i], extension) == 0)
			return true;
	return false;
}

/* The payload in these bytes of the area, or NULL with the answer set. */
static const void *find_payload(struct worker *w, const struct field *f, const struct task_extent *x,
				bool is_first, struct answer_sample *a)
{
	const char *bytes = (const char *)w->setup->area.base + x->at;
	struct reason why;
	char extension[EXTENSION_MAX];
	size_t n_key;

	if (tar_header_read(bytes, x->n_bytes, &w->header, &why) != 0) {
		changed(a, why.text);
		return NULL;
	}
	if (f->source == SOURCE_MEMBER &&
	    (w->header.size != x->size || w->header.payload_at + x->size > x->n_bytes)) {
		changed(a, "the member there has another size");
		return NULL;
	}
	if (!tar_split_name(w->header.name, &n_key, extension, sizeof(extension)) ||
	    (f->source == SOURCE_MEMBER && !is_extension_of(f, extension))) {
		changed(a, "the member there has another extension");
		return NULL;
	}
	if (is_first) {
		memcpy(w->key, w->header.name, n_key);
		w->key[n_key] = 0;
	} else if (strncmp(w->key, w->header.name, n_key) != 0 || w->key[n_key] != 0) {
		changed(a, "the members there belong to different samples");
		return NULL;
	}
	return bytes + w->header.payload_at;
}

/* The path of the shard that the sample lies in. */
static const char *shard_path(const struct samples *s, uint64_t sample)
{
	size_t low = 0, high = s->n_shards;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (s->starts[middle] <= sample)
			low = middle;
		else
			high = middle;
	}
	return s->shards[low].path;
}

/* The part of a row that holds the field. */
static void *field_of_row(const struct worker *w, const struct task_target *row, unsigned field)
{
	const struct worker_feed *feed = &w->setup->feeds[row->feed];
	const struct slot_layout *l = &feed->layout;

	return (char *)feed->slots[row->slot].base + l->field_at[field] + row->row * l->row_bytes[field];
}

/* NULL: the field is not ragged. */
static int64_t *length_of_row(const struct worker *w, const struct task_target *row, unsigned field)
{
	const struct worker_feed *feed = &w->setup->feeds[row->feed];
	const uint64_t at = feed->layout.lengths_at[field];

	return at ? (int64_t *)((char *)feed->slots[row->slot].base + at) + row->row : NULL;
}

static void make_field(struct worker *w, const struct task_sample *s, unsigned field,
		       const struct task_extent *x, struct answer_sample *a)
{
	const struct worker_feed *feed = &w->setup->feeds[w->in.task.feed];
	const struct field *f = &feed->pipeline->fields[field];
	struct maker_job job = {
		.field = field,
		.seed = w->in.task.seed,
		.epoch = w->in.task.epoch,
		.position = s->position,
		.n_payload = x->size,
		.has_large = w->in.task.has_large,
		.more = w->targets + 1,
		.n_more = w->n_rows - 1,
	};

	for (unsigned i = 0; i < w->n_rows; i++)
		w->targets[i] = (struct maker_target){.view = w->views[w->rows[i].feed],
						      .row = field_of_row(w, &w->rows[i], field),
						      .length = length_of_row(w, &w->rows[i], field)};
	job.first = w->targets[0];
	job.payload = find_payload(w, f, x, field == 0, a);
	if (!job.payload)
		return;
	if (f->source != SOURCE_MEMBER) {
		job.payload = f->source == SOURCE_KEY ? w->key : shard_path(feed->samples, s->sample);
		job.n_payload = strlen(job.payload);
	}
	maker_run(w->makers[feed->base], &job, a);
}

/* The rows that the sample goes into; `more` are its targets. */
static void take_rows(struct worker *w, const struct task_sample *s, const struct task_target *more)
{
	const struct worker_setup *setup = w->setup;
	const uint32_t feed = w->in.task.feed;

	assert(s->n_more <= TASK_TARGETS_MAX);
	w->rows[0] = (struct task_target){.feed = feed, .slot = w->in.task.slot, .row = s->row};
	memcpy(w->rows + 1, more, s->n_more * sizeof(*more));
	w->n_rows = 1 + s->n_more;
	for (unsigned i = 0; i < w->n_rows; i++) {
		const struct task_target *r = &w->rows[i];

		assert(r->feed < setup->n_feeds && setup->feeds[r->feed].base == setup->feeds[feed].base);
		assert(r->slot < setup->feeds[r->feed].n_slots && r->row < setup->feeds[r->feed].layout.n_rows);
	}
}

/* What every batch has, whatever its fields. */
static void begin_row(const struct worker *w, const struct task_target *row, const struct task_sample *s)
{
	const struct worker_feed *feed = &w->setup->feeds[row->feed];
	const struct slot_layout *l = &feed->layout;
	char *slot = feed->slots[row->slot].base;

	((int64_t *)(slot + l->index_at))[row->row] = (int64_t)s->sample;
	((int64_t *)(slot + l->position_at))[row->row] = (int64_t)s->position;
	slot[l->valid_at + row->row] = (s->flags & TASK_SAMPLE_VALID) != 0;
}

static void mask_field(const struct worker *w, const struct task_target *row, unsigned field)
{
	int64_t *length = length_of_row(w, row, field);

	memset(field_of_row(w, row, field), 0, w->setup->feeds[row->feed].layout.row_bytes[field]);
	if (length)
		*length = 0;
}

static void make_sample(struct worker *w, const struct task_sample *s, const struct task_extent *x,
			struct answer_sample *a)
{
	const unsigned n_fields = w->setup->feeds[w->in.task.feed].layout.n_fields;

	memset(a, 0, sizeof(*a));
	for (unsigned i = 0; i < w->n_rows; i++)
		begin_row(w, &w->rows[i], s);
	for (unsigned f = 0; f < n_fields; f++) {
		struct answer_sample part = {0};

		if (s->flags & TASK_SAMPLE_MASK) {
			for (unsigned i = 0; i < w->n_rows; i++)
				mask_field(w, &w->rows[i], f);
			continue;
		}
		make_field(w, s, f, &x[f], &part);
		part.n_warnings += a->n_warnings;
		*a = part;
		if (a->code != ANSWER_DONE)
			return;
	}
}

/* n: bytes of the task. */
static void make_samples(struct worker *w, size_t n)
{
	const struct task *t = &w->in.task;
	const unsigned n_fields = w->setup->feeds[t->feed].layout.n_fields;
	const struct task_sample *samples = (const struct task_sample *)(t + 1);
	const struct task_extent *extents = (const struct task_extent *)(samples + t->n_samples);
	const struct task_target *more = (const struct task_target *)(extents + (size_t)t->n_samples * n_fields);

	assert(t->n_samples <= TASK_SAMPLES_MAX && (const char *)more <= w->in.bytes + n);
	for (uint32_t i = 0; i < t->n_samples; i++) {
		const struct task_sample *s = &samples[i];

		assert(s->n_more <= (size_t)(w->in.bytes + n - (const char *)more) / sizeof(*more));
		take_rows(w, s, more);
		make_sample(w, s, &extents[i * n_fields], &w->out.samples[i]);
		more += s->n_more;
	}
}

/* n: its bytes. */
static void run_task(struct worker *w, size_t n)
{
	const struct task *t = &w->in.task;
	uint64_t began = cpu_now_ns();

	assert(n >= sizeof(*t) && t->feed < w->setup->n_feeds);
	if (t->kind == TASK_INFLATE)
		unit_run(w->inflate, w->setup, t, &w->out.samples[0]);
	else
		make_samples(w, n);
	w->out.head = (struct answer){.id = t->id, .n_samples = t->n_samples,
				      .cpu_ns = cpu_now_ns() - began};
}

static void say(struct worker *w)
{
	size_t n = sizeof(w->out.head) + w->out.head.n_samples * sizeof(w->out.samples[0]);

	while (send(w->channel, &w->out, n, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0); /* the core is gone */
}

/* Private memory that the limit counts and that was there before this process: the daemon's index above all. -1: /proc
 * is not there. */
static int64_t inherited_bytes(void)
{
	char text[256] = "";
	unsigned long pages;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0 || sscanf(text, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
		return -1;
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* Nothing of a hostile file may eat the machine: no core dumps, a bounded heap. Each feed's decoders reserve an
 * arena of decode_memory; what a library allocates beside it may come to as much once more. */
static void limit_memory(const struct worker_setup *setup)
{
	const struct rlimit none = {0, 0};
	const int64_t inherited = inherited_bytes();
	uint64_t most = setup->scratch_bytes, arenas = 0;
	struct rlimit data;

	for (unsigned i = 0; i < setup->n_feeds; i++) {
		uint64_t n = setup->feeds[i].pipeline->limits.decode_memory;

		arenas += setup->feeds[i].base == i ? n : 0;
		most = n > most ? n : most;
	}
	data.rlim_cur = data.rlim_max = (uint64_t)inherited + arenas + most + setup->scratch_bytes * setup->n_feeds + (256 << 20);
	setrlimit(RLIMIT_CORE, &none);
	if (inherited >= 0 && !HAS_SANITIZER) /* the sanitizer's own memory counts, terabytes of it */
		setrlimit(RLIMIT_DATA, &data);
}

/* Nor write a file (stderr may be one, so only when there is nothing more to say), nor open one, nor start a
 * process: where there is no filter, these still hold. */
static void limit_files(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_FSIZE, &none);
	if (HAS_SANITIZER) /* a sanitizer reads files for its report */
		return;
	setrlimit(RLIMIT_NOFILE, &none);
	setrlimit(RLIMIT_NPROC, &none);
}

/* All that a task does not need. A worker never runs with less of it than the self-test found to hold. */
static void give_up(const struct worker *w, unsigned number)
{
	const struct sandbox_own own = {.channel = w->channel};
	int r = sandbox_files(&w->setup->sandbox, SANDBOX_WORKER, &own);

	if (r == 0) {
		limit_files();
		r = sandbox_calls(&w->setup->sandbox, SANDBOX_WORKER, &own);
	}
	if (r == 0)
		return;
	log_error("workers", "worker %u cannot enter its sandbox: %s", number, strerror(-r));
	_exit(1);
}

/* One maker for the feed and its views. */
static int make_maker(struct worker *w, unsigned feed)
{
	const struct worker_setup *setup = w->setup;
	struct maker_view views[MAKER_VIEWS_MAX];
	unsigned n = 0;

	for (unsigned i = feed; i < setup->n_feeds; i++) {
		const struct worker_feed *f = &setup->feeds[i];

		if (f->base != feed)
			continue;
		w->views[i] = n;
		views[n++] = (struct maker_view){f->pipeline, i == feed ? NULL : f->name};
	}
	return maker_new_views(views, n, setup->scratch_bytes, &w->makers[feed]);
}

static int make_decoders(struct worker *w)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < w->setup->n_feeds; i++) {
		const struct worker_feed *f = &w->setup->feeds[i];

		if (f->base == i)
			r = make_maker(w, i);
		if (r == 0 && f->samples->n_units && !w->inflate)
			r = inflate_new(&w->inflate);
	}
	return r;
}

void worker_main(const struct worker_setup *setup, unsigned number, int channel)
{
	struct worker *w = calloc(1, sizeof(*w));
	char name[16];

	snprintf(name, sizeof(name), "ringfeed-w%u", number);
	prctl(PR_SET_NAME, name);
	if (!w || setup->n_feeds > FEEDS_MAX)
		_exit(1);
	w->setup = setup;
	w->channel = channel;
	mprotect(setup->area.base, setup->read_bytes, PROT_READ);
	setpriority(PRIO_PROCESS, 0, setup->nice);
	limit_memory(setup);
	if (make_decoders(w) < 0) {
		log_error("workers", "worker %u cannot set up its decoders: out of memory", number);
		_exit(1);
	}
	give_up(w, number);
	say(w); /* up: an answer to nothing */
	for (;;) {
		ssize_t n = recv(channel, &w->in, sizeof(w->in), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		run_task(w, (size_t)n);
		say(w);
	}
}
