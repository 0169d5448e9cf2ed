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
#include "pack/output.h"
#include "pack/ustar.h"
#include "shard/tar.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
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
	struct pack_result *result;
	struct reason *why;
	struct io_engine *engine;
	uint8_t *memory;
	struct opened opened[FILL_WINDOW + 1];
	struct piece ring[FILL_WINDOW];
	uint64_t n_asked, n_taken;
	/* the cursor: the next piece to be asked for */
	size_t shard, sample;
	uint32_t part;
	uint64_t at;
	/* the writer */
	struct output output;
	char fault[200]; /* why the sample in hand is left out; "" if it is not */
	size_t n_left_out, n_written; /* of the shard in hand */
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

static void find_fault(struct fill *f, const struct piece *p)
{
	const char *why = NULL;

	if (p->result < 0)
		why = strerror((int)-p->result);
	else if (p->from->is_changed || p->result < p->n)
		why = "it changed while it was packed";
	else if (p->at == 0 && f->job->catalog->is_checked && !is_image(p->bytes, p->n))
		why = "not an image: its first bytes are no JPEG's, PNG's or WebP's";
	if (why)
		snprintf(f->fault, sizeof(f->fault), "%s", why);
}

static int put_piece(struct fill *f, const struct piece *p)
{
	static uint8_t zeros[USTAR_BLOCK];
	const struct catalog *c = f->job->catalog;
	const struct catalog_sample *s = &c->samples[p->sample];
	const struct catalog_part *part = part_of(f, p->sample, p->part);
	uint8_t header[USTAR_BLOCK], label_header[USTAR_BLOCK], label[USTAR_BLOCK] = {0};
	char name[TAR_NAME_MAX];
	struct iovec pieces[5];
	int n = 0;

	if (p->at == 0) {
		snprintf(name, sizeof(name), "%s.%s", catalog_at(c, s->key), catalog_at(c, part->extension));
		ustar_header(name, part->size, header);
		pieces[n++] = (struct iovec){header, USTAR_BLOCK};
	}
	pieces[n++] = (struct iovec){p->bytes, p->n};
	if (p->is_part_end && part->size % USTAR_BLOCK)
		pieces[n++] = (struct iovec){zeros, USTAR_BLOCK - part->size % USTAR_BLOCK};
	if (p->is_sample_end && s->has_label) {
		snprintf(name, sizeof(name), "%s.cls", catalog_at(c, s->key));
		ustar_header(name, (uint64_t)shard_label(s, (char *)label), label_header);
		pieces[n++] = (struct iovec){label_header, USTAR_BLOCK};
		pieces[n++] = (struct iovec){label, USTAR_BLOCK};
	}
	return output_put(&f->output, pieces, n);
}

static int finish_shard(struct fill *f, size_t shard)
{
	struct manifest_shard done = {.number = shard, .n_samples = f->n_written, .n_left_out = f->n_left_out,
				      .content = f->job->plans->list[shard].content};
	int r = output_finish(&f->output, &done.n_bytes, &done.bytes_hash);

	if (r == 0)
		r = manifest_add(f->job->manifest, &done);
	if (r < 0)
		return pass(r);
	f->result->n_samples += f->n_written;
	f->result->n_bytes += done.n_bytes;
	f->result->n_shards++;
	return 0;
}

static int end_sample(struct fill *f, const struct piece *p)
{
	const struct fill_job *job = f->job;
	const struct catalog *c = job->catalog;
	const struct catalog_sample *s = &c->samples[p->sample];
	const struct shard_plan *plan = &job->plans->list[p->shard];
	char why[400];
	int r;

	f->progress.n_samples++;
	if (*f->fault) {
		snprintf(why, sizeof(why), "%s%.150s%s%s", c->is_checked ? "" : "sample ",
			 c->is_checked ? "" : catalog_at(c, s->key), c->is_checked ? "" : ": ", f->fault);
		job->how->on_left_out(job->how->context, catalog_at(c, c->files[part_of(f, p->sample, 0)->file].path),
				      true, why);
		f->n_left_out++;
		r = output_drop_sample(&f->output);
	} else {
		f->n_written++;
		r = output_end_sample(&f->output, c, s);
	}
	if (r == 0 && p->sample + 1 == plan->first + plan->n_samples)
		r = finish_shard(f, p->shard);
	return r < 0 ? pass(r) : 0;
}

static int begin_shard(struct fill *f, size_t shard)
{
	const struct fill_job *job = f->job;
	const struct output_place place = {.folder = job->how->folder, .name = job->how->name, .number = shard,
					   .folder_fd = job->folder_fd, .is_squeezed = job->how->is_squeezed};

	f->n_left_out = f->n_written = 0;
	return output_begin(&f->output, &place);
}

static int begin_sample(struct fill *f, size_t sample)
{
	const struct catalog_sample *s = &f->job->catalog->samples[sample];
	uint64_t n = s->has_label ? 2 * USTAR_BLOCK : 0;

	for (uint32_t i = 0; i < s->n_parts; i++)
		n += ustar_member_bytes(part_of(f, sample, i)->size);
	f->fault[0] = '\0';
	return output_begin_sample(&f->output, n);
}

static int take(struct fill *f, struct piece *p)
{
	int r = 0;

	if (f->output.fd < 0)
		r = begin_shard(f, p->shard);
	if (r == 0 && p->at == 0 && p->part == 0)
		r = begin_sample(f, p->sample);
	if (!*f->fault)
		find_fault(f, p);
	if (r == 0 && !*f->fault)
		r = put_piece(f, p);
	f->progress.n_bytes += p->n;
	p->from->n_users--;
	f->n_taken++;
	if (r == 0 && p->is_sample_end)
		r = end_sample(f, p);
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
	if (r < 0 && f->output.fd >= 0) {
		reason_set(f->why, "%s/%s: %s", how->folder, f->output.part_name, strerror(-r));
		return PACK_E_REFUSED;
	}
	return r;
}

static void count(struct fill *f)
{
	for (size_t i = 0; i < f->job->plans->n; i++) {
		const struct shard_plan *p = &f->job->plans->list[i];

		if (p->is_there) {
			f->result->n_shards_there++;
			f->result->n_samples_there += p->n_samples;
		} else {
			f->progress.n_samples_all += p->n_samples;
			f->progress.n_bytes_all += p->n_payload;
		}
	}
}

int fill_shards(const struct fill_job *job, struct pack_result *ret, struct reason *why)
{
	struct fill f = {.job = job, .result = ret, .why = why, .output = {.fd = -1}};
	struct reason refusal;
	int r;

	for (int i = 0; i <= FILL_WINDOW; i++)
		f.opened[i].file.fd = -1;
	count(&f);
	f.memory = mmap(NULL, (size_t)FILL_WINDOW * FILL_PIECE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.memory == MAP_FAILED)
		return fail(-errno);
	r = io_engine_new(IO_AUTO, FILL_WINDOW, NULL, &f.engine, &refusal);
	if (r == 0)
		r = run(&f);
	io_engine_free(f.engine); /* waits for reads in flight: the memory is theirs until then */
	output_abandon(&f.output);
	for (int i = 0; i <= FILL_WINDOW; i++)
		io_file_close(&f.opened[i].file);
	munmap(f.memory, (size_t)FILL_WINDOW * FILL_PIECE);
	return r;
}
