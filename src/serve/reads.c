/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The core's reads through the engine, each on a file that is still the one of the index. */
#include "serve/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <poll.h>

enum { BATCH = 32, PATIENCE_MS = 1000, SLOW_MS = 100 /* worth a line of debug */ };

static void done(struct daemon *d, uint32_t request, int64_t n_bytes, bool is_changed)
{
	core_on_read(d->core, d->now_ns, request, n_bytes, is_changed);
	daemon_act(d);
}

void reads_start(struct daemon *d, const struct core_action *a)
{
	struct served_feed *f = &d->feeds[a->read.feed];
	struct io_request request = {
		.id = a->read.request, .offset = a->read.offset, .n_bytes = a->read.n_bytes,
		.into = (char *)d->staging.base + a->read.into, .is_again = a->read.is_again,
	};
	int r;

	assert(a->read.request < CORE_REQUESTS_MAX);
	r = files_get(d->files, (unsigned)f->config->base, &f->dataset->samples, a->read.shard,
		      f->config->inputs[f->dataset->samples.shards[a->read.shard].source].is_direct, &request.fd,
		      &request.is_remote);
	if (r) {
		/* An event in the middle of the core's actions has to wait for their end. */
		d->failed_reads[d->n_failed_reads].request = a->read.request;
		d->failed_reads[d->n_failed_reads++].result = r;
		return;
	}
	d->reads[a->read.request].feed = a->read.feed;
	d->reads[a->read.request].shard = a->read.shard;
	d->reads[a->read.request].fd = request.fd;
	d->reads[a->read.request].begun_ns = d->now_ns;
	d->reads[a->read.request].offset = a->read.offset;
	d->reads[a->read.request].n_bytes = a->read.n_bytes;
	d->n_flying++;
	io_engine_submit(d->engine, &request);
}

void reads_failed(struct daemon *d)
{
	struct failed_read f = d->failed_reads[--d->n_failed_reads];
	bool is_changed = f.result == FILES_E_CHANGED;

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

void reads_reap(struct daemon *d)
{
	struct io_done list[BATCH];
	unsigned n;

	do {
		n = io_engine_reap(d->engine, list, BATCH);
		d->n_flying -= n;
		for (unsigned i = 0; i < n; i++) {
			uint32_t request = (uint32_t)list[i].id;
			const struct samples *samples =
				&d->feeds[d->reads[request].feed].dataset->samples;
			bool is_changed = files_put(d->files, d->reads[request].fd, samples,
						    d->reads[request].shard);

			note(d, &d->reads[request], list[i].n_bytes < 0);
			done(d, request, list[i].n_bytes, is_changed && list[i].n_bytes >= 0);
		}
	} while (n == BATCH);
}

bool reads_drain(struct daemon *d)
{
	uint64_t until = clock_ns() + PATIENCE_MS * UINT64_C(1000000);
	struct io_done list[BATCH];

	while (d->n_flying && clock_ns() < until) {
		struct pollfd p = {.fd = io_engine_fd(d->engine), .events = POLLIN};

		io_engine_flush(d->engine);
		poll(&p, 1, PATIENCE_MS / 10);
		d->n_flying -= io_engine_reap(d->engine, list, BATCH);
	}
	return d->n_flying == 0;
}
