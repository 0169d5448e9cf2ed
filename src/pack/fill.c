/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A cursor walks over samples, parts and pieces of at most 1 MiB; a ring of reads lies between it and the
 * writer, who takes them in the same order. A piece that cannot be had makes its sample fail: what was
 * written of it is taken back, and the others go on.
 */
#include "pack/fill.h"

#include "base/fault.h"
#include "io/engine.h"
#include "io/file.h"
#include "pack/writer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One file that pieces are read from. */
struct opened {
	struct io_file file;
	uint32_t number;
	unsigned n_users;
	int error; /* or why it could not be opened */
	bool is_changed;
};

struct piece {
	size_t shard, sample;
	uint32_t part; /* of the sample */
	uint64_t at;   /* in the part */
	uint32_t n;
	bool is_part_end, is_sample_end, is_read;
	int64_t result;
	struct opened *from;
	uint8_t *bytes;
};

struct fill {
	const struct fill_job *job;
	struct io_engine *engine;
	uint8_t *memory;
	struct opened opened[FILL_WINDOW + 1];
	struct piece ring[FILL_WINDOW];
	uint64_t n_asked, n_taken;
	/* the cursor: the next piece to be asked for */
	size_t shard, sample;
	uint32_t part;
	uint64_t at;
	struct writer writer;
	struct pack_progress progress;
};

static const struct catalog_part *part_of(const struct fill *f, size_t sample, uint32_t part)
{
	const struct catalog *c = f->job->catalog;

	return &c->parts[c->samples[sample].first_part + part];
}

/* ---- reading ---- */

static void open_file(struct fill *f, struct opened *o, uint32_t number)
{
	const struct catalog_file *wanted = &f->job->catalog->files[number];
	int r;

	io_file_close(&o->file);
	*o = (struct opened){.file = {.fd = -1}, .number = number};
	r = io_file_open(catalog_at(f->job->catalog, wanted->path), false, &o->file);
	if (r < 0) {
		o->error = r;
		return;
	}
	o->is_changed = (uint64_t)o->file.st.st_size != wanted->size ||
			(uint64_t)o->file.st.st_mtim.tv_sec * 1000000000 + (uint64_t)o->file.st.st_mtim.tv_nsec !=
				wanted->mtime_ns;
}

static bool is_usable(const struct opened *o)
{
	return o->error == 0 && !o->is_changed;
}

/* The open file of that number: one in use, else a free place; there is one more than pieces. */
static struct opened *find_file(struct fill *f, uint32_t number)
{
	struct opened *free_one = NULL;

	for (int i = 0; i <= FILL_WINDOW; i++) {
		struct opened *o = &f->opened[i];

		if (o->file.fd >= 0 && o->number == number && is_usable(o))
			return o;
		if (o->n_users == 0)
			free_one = o;
	}
	open_file(f, free_one, number);
	return free_one;
}

/* Moves the cursor to a shard that has to be made. */
static bool has_more(struct fill *f)
{
	const struct shard_plans *plans = f->job->plans;

	while (f->shard < plans->n && plans->list[f->shard].is_there) {
		f->shard++;
		if (f->shard < plans->n)
			f->sample = plans->list[f->shard].first;
	}
	return f->shard < plans->n;
}

static void advance(struct fill *f, struct piece *p)
{
	const struct catalog_sample *s = &f->job->catalog->samples[f->sample];
	const struct shard_plan *plan = &f->job->plans->list[f->shard];

	f->at += p->n;
	p->is_part_end = f->at == part_of(f, f->sample, f->part)->size;
	if (!p->is_part_end)
		return;
	f->at = 0;
	p->is_sample_end = ++f->part == s->n_parts;
	if (!p->is_sample_end)
		return;
	f->part = 0;
	f->sample++;
	f->shard += f->sample == plan->first + plan->n_samples;
}

static void ask(struct fill *f)
{
	struct piece *p = &f->ring[f->n_asked % FILL_WINDOW];
	const struct catalog_part *part = part_of(f, f->sample, f->part);
	uint64_t left = part->size - f->at;

	*p = (struct piece){.shard = f->shard, .sample = f->sample, .part = f->part, .at = f->at,
			    .n = left < FILL_PIECE ? (uint32_t)left : FILL_PIECE,
			    .bytes = f->memory + f->n_asked % FILL_WINDOW * FILL_PIECE};
	p->from = find_file(f, part->file);
	p->from->n_users++;
	p->result = p->from->error;
	p->is_read = !is_usable(p->from) || p->n == 0;
	if (!p->is_read)
		io_engine_submit(f->engine, &(struct io_request){.id = f->n_asked % FILL_WINDOW, .fd = p->from->file.fd,
								 .is_remote = p->from->file.is_remote,
								 .offset = part->offset + p->at, .n_bytes = p->n,
								 .into = p->bytes});
	f->n_asked++;
	advance(f, p);
}

/* ---- writing ---- */

static bool is_image(const uint8_t *b, uint32_t n)
{
	return (n >= 3 && memcmp(b, "\xff\xd8\xff", 3) == 0) || (n >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) ||
	       (n >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0);
}

/* NULL, or what is wrong with the piece. */
static const char *find_fault(const struct fill *f, const struct piece *p)
{
	if (p->result < 0)
		return strerror((int)-p->result);
	if (p->from->is_changed || p->result < p->n)
		return "it changed while it was packed";
	if (p->at == 0 && f->job->catalog->is_checked && !is_image(p->bytes, p->n))
		return "not an image: its first bytes are no JPEG's, PNG's or WebP's";
	return NULL;
}

static int take(struct fill *f, struct piece *p)
{
	const struct catalog_part *part = part_of(f, p->sample, p->part);
	const struct writer_piece piece = {.extension = catalog_at(f->job->catalog, part->extension),
					   .size = part->size, .at = p->at, .bytes = p->bytes, .n = p->n,
					   .is_sample_end = p->is_sample_end};
	int r = 0;

	if (p->at == 0 && p->part == 0)
		r = writer_begin_sample(&f->writer, p->shard, p->sample);
	if (r == 0)
		r = writer_put(&f->writer, &piece, find_fault(f, p));
	f->progress.n_bytes += p->n;
	f->progress.n_samples += p->is_sample_end;
	p->from->n_users--;
	f->n_taken++;
	return r < 0 ? pass(r) : 0;
}

/* ---- the ring ---- */

static int reap(struct fill *f)
{
	struct pollfd p = {.fd = io_engine_fd(f->engine), .events = POLLIN};
	struct io_done done[FILL_WINDOW];
	unsigned n;

	io_engine_flush(f->engine);
	if (!f->ring[f->n_taken % FILL_WINDOW].is_read && poll(&p, 1, 200) < 0 && errno != EINTR)
		return fail(-errno);
	n = io_engine_reap(f->engine, done, FILL_WINDOW);
	for (unsigned i = 0; i < n; i++) {
		f->ring[done[i].id].result = done[i].n_bytes;
		f->ring[done[i].id].is_read = true;
	}
	return 0;
}

static int run(struct fill *f)
{
	const struct pack_options *how = f->job->how;
	int r = 0;

	while (r == 0 && (has_more(f) || f->n_taken < f->n_asked)) {
		if (how->is_stopped(how->context))
			return PACK_E_STOPPED;
		while (f->n_asked - f->n_taken < FILL_WINDOW && has_more(f))
			ask(f);
		r = reap(f);
		while (r == 0 && f->n_taken < f->n_asked && f->ring[f->n_taken % FILL_WINDOW].is_read &&
		       !how->is_stopped(how->context))
			r = take(f, &f->ring[f->n_taken % FILL_WINDOW]);
		how->on_progress(how->context, &f->progress);
	}
	return r;
}

int fill_shards(const struct fill_job *job, struct pack_result *ret, struct reason *why)
{
	struct fill f = {.job = job};
	struct reason refusal;
	int r;

	for (int i = 0; i <= FILL_WINDOW; i++)
		f.opened[i].file.fd = -1;
	writer_init(&f.writer, job, ret, &f.progress);
	f.memory = mmap(NULL, (size_t)FILL_WINDOW * FILL_PIECE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.memory == MAP_FAILED)
		return fail(-errno);
	r = io_engine_new(IO_AUTO, FILL_WINDOW, NULL, &f.engine, &refusal);
	if (r == 0)
		r = run(&f);
	io_engine_free(f.engine); /* waits for reads in flight: the memory is theirs until then */
	r = writer_deinit(&f.writer, r, why);
	for (int i = 0; i <= FILL_WINDOW; i++)
		io_file_close(&f.opened[i].file);
	munmap(f.memory, (size_t)FILL_WINDOW * FILL_PIECE);
	return r;
}
