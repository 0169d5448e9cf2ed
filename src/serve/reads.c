/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The core's reads through the engine, each on a file that is still the one of the index: its shard is opened where it is
 * not, then read, then looked at again. Behind a server each of these is a request of the engine's; no step of the loop
 * waits for one.
 */
#include "serve/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <poll.h>

enum { BATCH = 32, PATIENCE_MS = 1000, SLOW_MS = 100 /* worth a line of debug */ };

/* What of the engine's an id is: kind in the upper half, number in the lower. */
enum kind { KIND_READ, KIND_LOOK, KIND_FILE, KIND_LEAVING };

static uint64_t id_of(enum kind kind, uint32_t number)
{
	return (uint64_t)kind << 32 | number;
}

int reads_open(struct daemon *d)
{
	return files_new(OPEN_SHARDS_MAX, d->engine, id_of(KIND_FILE, 0), &d->files);
}

static void begin(struct daemon *d, uint32_t request)
{
	const struct flying_read *r = &d->reads[request];

	io_engine_submit(d->engine, &(struct io_request){
		.id = id_of(KIND_READ, request), .fd = r->file->file.fd, .is_remote = r->file->file.is_remote,
		.is_again = r->is_again,
		.offset = r->offset, .n_bytes = r->n_bytes, .into = (char *)d->staging.base + r->into,
	});
}

static void wait_for_file(struct daemon *d, uint32_t request)
{
	struct shard_file *s = d->reads[request].file;

	d->reads[request].next = FILES_NONE;
	if (s->first_waiting == FILES_NONE)
		s->first_waiting = request;
	else
		d->reads[s->last_waiting].next = request;
	s->last_waiting = request;
}

void reads_start(struct daemon *d, const struct core_action *a)
{
	const struct served_feed *f = &d->feeds[a->read.feed];
	const struct sample_shard *shard = &f->dataset->samples.shards[a->read.shard];
	struct shard_file *file;
	int r = files_get(d->files, shard, f->config->inputs[shard->source].is_direct, &file);

	assert(a->read.request < CORE_REQUESTS_MAX);
	if (r) {
		/* An event in the middle of the core's actions has to wait for their end. */
		d->failed_reads[d->n_failed_reads].request = a->read.request;
		d->failed_reads[d->n_failed_reads++].result = r;
		return;
	}
	d->reads[a->read.request] = (struct flying_read){
		.begun_ns = d->now_ns, .offset = a->read.offset, .into = a->read.into, .feed = a->read.feed,
		.shard = a->read.shard, .n_bytes = a->read.n_bytes, .is_again = a->read.is_again, .file = file};
	d->n_flying++;
	if (file->is_open)
		begin(d, a->read.request);
	else
		wait_for_file(d, a->read.request);
}

void reads_failed(struct daemon *d)
{
	struct failed_read f = d->failed_reads[--d->n_failed_reads];
	const bool is_changed = f.result == FILES_E_CHANGED;

	core_on_read(d->core, d->now_ns, f.request, is_changed ? 0 : f.result, is_changed);
}

static void note(struct daemon *d, const struct flying_read *r, bool has_failed)
{
	uint64_t ms = (d->now_ns - r->begun_ns) / 1000000;

	latency_add(&d->read_latency, d->now_ns - r->begun_ns);
	if (has_failed || ms >= SLOW_MS)
		log_debug("reads", "feed %s, shard %u: %u bytes at offset %llu %s after %llu ms", d->feeds[r->feed].config->name,
			  r->shard, r->n_bytes, (unsigned long long)r->offset, has_failed ? "failed" : "came",
			  (unsigned long long)ms);
	trace_work(&d->trace, &(struct trace_work){.kind = TRACE_READ, .begun_ns = r->begun_ns, .ended_ns = d->now_ns,
						   .feed = r->feed, .place = r->shard, .size = r->n_bytes,
						   .offset = r->offset, .has_failed = has_failed});
}

/* result: of a step that ended it, FILES_E_CHANGED or -errno, else 0. */
static void end(struct daemon *d, uint32_t request, int64_t result)
{
	const struct flying_read *r = &d->reads[request];
	const bool is_changed = result == FILES_E_CHANGED;

	d->n_flying--;
	note(d, r, result < 0);
	core_on_read(d->core, d->now_ns, request, result < 0 ? result : r->n_got, is_changed);
	daemon_act(d);
}

static void end_with_file(struct daemon *d, uint32_t request, int64_t result)
{
	files_put(d->files, d->reads[request].file);
	end(d, request, result);
}

static void take_read(struct daemon *d, uint32_t request, int64_t n_bytes)
{
	struct flying_read *r = &d->reads[request];

	r->n_got = n_bytes;
	if (n_bytes < 0)
		end_with_file(d, request, n_bytes);
	else if (r->file->file.is_remote)
		io_engine_call(d->engine, id_of(KIND_LOOK, request), files_look, r->file);
	else
		end_with_file(d, request, files_look(r->file));
}

static void take_file(struct daemon *d, uint64_t id, int64_t result)
{
	const struct shard_file *s = files_take(d->files, id, result);
	uint32_t request = s ? s->first_waiting : FILES_NONE, next;

	for (; request != FILES_NONE; request = next) {
		next = d->reads[request].next;
		if (result == 0)
			begin(d, request);
		else
			end(d, request, result);
	}
}

static void take(struct daemon *d, const struct io_done *done)
{
	switch ((enum kind)(done->id >> 32)) {
	case KIND_READ:
		take_read(d, (uint32_t)done->id, done->n_bytes);
		break;
	case KIND_LOOK:
		end_with_file(d, (uint32_t)done->id, done->n_bytes);
		break;
	case KIND_FILE:
		take_file(d, done->id, done->n_bytes);
		break;
	case KIND_LEAVING:
		break;
	}
}

void reads_reap(struct daemon *d)
{
	struct io_done list[BATCH];
	unsigned n;

	do {
		n = io_engine_reap(d->engine, list, BATCH);
		for (unsigned i = 0; i < n; i++)
			take(d, &list[i]);
	} while (n == BATCH);
}

static bool drain(struct io_engine *e, uint64_t until_ns)
{
	struct io_done list[BATCH];

	while (io_engine_busy(e) > 0 && clock_ns() < until_ns) {
		struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};

		io_engine_flush(e);
		poll(&p, 1, PATIENCE_MS / 10);
		io_engine_reap(e, list, BATCH);
	}
	return io_engine_busy(e) == 0;
}

bool reads_drain(struct daemon *d)
{
	const uint64_t until_ns = clock_ns() + PATIENCE_MS * UINT64_C(1000000);

	if (!d->files)
		return true;
	if (!drain(d->engine, until_ns) || (d->keys.engine && !drain(d->keys.engine, until_ns)))
		return false;
	io_engine_call(d->engine, id_of(KIND_LEAVING, 0), files_close, d->files);
	return drain(d->engine, until_ns);
}
