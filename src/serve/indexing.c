/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A window of shards slides over the list: each has one read in flight, and results are handed on in
 * listed order, so memory holds a few indexes at a time however many shards there are. A compressed shard is
 * inflated from front to back when its turn comes, never two at once: one may want a window of 128 MiB.
 */
#include "serve/indexing.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "io/file.h"
#include "shard/packed.h"
#include "shard/tar.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 16, BUFFER = 1 << 20, EDGE = 4096 };

enum scan_state { SCAN_IDLE, SCAN_READING, SCAN_WAITING, SCAN_DONE, SCAN_REFUSED };

struct scan {
	enum scan_state state;
	enum index_source source;
	const char *path;
	struct io_file file;
	enum packing packing;
	struct tar_scan *tar;	    /* of a plain one */
	struct packed_scan *packed; /* of a compressed one */
	struct index_builder *builder;
	char *buffer;	     /* BUFFER bytes at a page boundary */
	uint64_t wanted, at; /* what the scan asked for, and where the read began */
	struct shard_index index;
	struct reason why;
};

struct run {
	const struct indexing *how;
	char *const *paths;
	size_t n_paths, n_begun, n_done;
	struct io_engine *engine; /* made when the first shard must be scanned */
	struct scan scans[WINDOW];
	uint64_t n_bytes;
	double began, told;
	int result; /* of the first refused shard */
	struct reason *why;
};

/* Once a second: what is indexed sooner says nothing. */
static void tell_progress(struct run *run)
{
	double now = clock_s();

	if (!run->how->has_progress || now - run->told < 1)
		return;
	run->told = now;
	log_info("index", "%zu of %zu shards indexed, %llu MiB read, %.0fs", run->n_done, run->n_paths,
		 (unsigned long long)(run->n_bytes >> 20), now - run->began);
}

/* ---- one shard ---- */

static void scan_end(struct scan *s, enum scan_state state)
{
	s->tar = tar_scan_free(s->tar);
	s->packed = packed_scan_free(s->packed);
	s->builder = index_builder_free(s->builder);
	io_file_close(&s->file);
	s->state = state;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void ask(struct run *run, struct scan *s)
{
	uint64_t edge = s->file.is_direct ? s->file.alignment : 1, end;
	struct io_request request = {.id = (uint64_t)(s - run->scans), .fd = s->file.fd,
				     .is_remote = s->file.is_remote};
	size_t n;

	if (s->packed) /* all of it, in its order */
		n = (size_t)least(BUFFER, (uint64_t)s->file.st.st_size - s->wanted);
	else
		tar_scan_want(s->tar, &s->wanted, &n);
	s->at = s->wanted / edge * edge;
	end = s->wanted + n;
	if (end - s->at > BUFFER)
		end = s->at + BUFFER;
	request.offset = s->at;
	request.n_bytes = (uint32_t)((end - s->at + edge - 1) / edge * edge);
	request.into = s->buffer;
	s->state = SCAN_READING;
	io_engine_submit(run->engine, &request);
}

static int finish(struct run *run, struct scan *s)
{
	struct stat st;
	int r;

	if (s->tar)
		index_builder_take_scan(s->builder, s->tar);
	r = index_builder_finish(s->builder, &s->file.st, &s->index);
	if (r < 0)
		return pass(r);
	if (fstat(s->file.fd, &st) < 0 || st.st_size != s->file.st.st_size ||
	    st.st_mtim.tv_sec != s->file.st.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != s->file.st.st_mtim.tv_nsec) {
		reason_set(&s->why, "%s changed while it was indexed", s->path);
		shard_index_deinit(&s->index);
		scan_end(s, SCAN_REFUSED);
		return 0;
	}
	r = shard_index_save(&s->index, s->path, run->how->cache_folder);
	if (r < 0)
		log_warn("index", "%s: its index cannot be saved (%s), the next start scans it again",
			 s->path, strerror(-r));
	s->source = INDEX_SCANNED;
	scan_end(s, SCAN_DONE);
	return 0;
}

/* 0 = more is wanted, TAR_E_DONE, TAR_E_REFUSED with the reason, or -errno. */
static int feed_packed(struct scan *s, const char *bytes, size_t n)
{
	int r = packed_scan_feed(s->packed, bytes, n, index_builder_on_member, s->builder, &s->why);

	s->wanted += n;
	if (r != 0 || s->wanted < (uint64_t)s->file.st.st_size)
		return r;
	r = packed_scan_end(s->packed, index_builder_on_member, s->builder, s->builder, &s->why);
	return r == 0 ? TAR_E_DONE : r;
}

static int feed(struct scan *s, const char *bytes, size_t n)
{
	return s->packed ? feed_packed(s, bytes, n) :
			   tar_scan_feed(s->tar, bytes, n, index_builder_on_member, s->builder, &s->why);
}

static int on_bytes(struct run *run, struct scan *s, int64_t n_bytes)
{
	uint64_t skip = s->wanted - s->at;
	bool is_empty = n_bytes == 0 && s->file.st.st_size == 0;
	int r;

	if (is_empty) {
		s->state = SCAN_READING; /* the scan itself says what an empty file is */
	} else if (n_bytes < 0 || (uint64_t)n_bytes <= skip) {
		reason_set(&s->why, "%s: reading at offset %llu failed: %s", s->path,
			   (unsigned long long)s->wanted,
			   n_bytes < 0 ? strerror((int)-n_bytes) : "the file ends there");
		scan_end(s, SCAN_REFUSED);
		return 0;
	}
	run->n_bytes += (uint64_t)n_bytes;
	if (s->tar && s->wanted == 0)
		s->packing = packing_of(s->buffer, (size_t)n_bytes);
	if (s->tar && s->packing != PACKING_NONE) {
		s->tar = tar_scan_free(s->tar);
		s->state = SCAN_WAITING;
		return 0;
	}
	r = feed(s, s->buffer + skip, (size_t)n_bytes - skip);
	if (r < 0)
		return pass(r);
	if (r == TAR_E_DONE)
		return finish(run, s);
	if (r == TAR_E_REFUSED)
		scan_end(s, SCAN_REFUSED);
	else
		ask(run, s);
	return 0;
}

static int start_scan(struct run *run, struct scan *s)
{
	struct reason why = {{0}};
	int r;

	if (!run->engine) {
		r = io_engine_new(run->how->io, WINDOW, NULL, &run->engine, &why);
		if (r < 0 && *why.text) {
			reason_set(run->why, "daemon.io is uring, but %s", why.text);
			return INDEX_E_REFUSED;
		}
		if (r < 0)
			return pass(r);
	}
	if (!s->buffer && posix_memalign((void **)&s->buffer, EDGE, BUFFER + EDGE))
		return fail(-ENOMEM);
	r = tar_scan_new(s->path, (uint64_t)s->file.st.st_size, &s->tar);
	if (r == 0)
		r = index_builder_new(&s->builder);
	if (r < 0)
		return pass(r);
	ask(run, s);
	return 0;
}

/* Its turn has come. */
static int start_packed(struct run *run, struct scan *s)
{
	int r = packed_scan_new(s->path, s->packing, (uint64_t)s->file.st.st_size, &s->packed);

	if (r < 0)
		return pass(r);
	s->wanted = 0;
	ask(run, s);
	return 0;
}

/* A saved index, else DALI's, else a scan. */
static int begin(struct run *run, struct scan *s, const char *path)
{
	struct reason dali = {{0}};
	int r;

	s->path = path;
	r = io_file_open(path, run->how->is_direct, &s->file);
	if (r < 0) {
		reason_set(&s->why, "%s: %s", path, strerror(-r));
		s->state = SCAN_REFUSED;
		return 0;
	}
	if (!S_ISREG(s->file.st.st_mode)) {
		reason_set(&s->why, "%s is not a regular file", path);
		scan_end(s, SCAN_REFUSED);
		return 0;
	}
	s->source = INDEX_SAVED;
	r = run->how->is_forced ? INDEX_E_ABSENT
				: shard_index_load(path, run->how->cache_folder, &s->file.st, &s->index);
	if (r > 0 && !run->how->is_forced) {
		s->source = INDEX_DALI;
		r = shard_index_load_dali(path, &s->file.st, &s->index, &dali);
		if (r == INDEX_E_STALE)
			log_info("index", "%s: its DALI index is not used: %s", path, dali.text);
		if (r == 0)
			shard_index_save(&s->index, path, run->how->cache_folder);
	}
	if (r < 0)
		return pass(r);
	if (r > 0)
		return start_scan(run, s);
	scan_end(s, SCAN_DONE);
	return 0;
}

/* ---- the window ---- */

static int hand_on(struct run *run)
{
	struct scan *s = &run->scans[run->n_done % WINDOW];
	size_t i = run->n_done++;
	int r = 0;

	if (s->state == SCAN_REFUSED) {
		if (run->result == 0)
			*run->why = s->why;
		run->result = INDEX_E_REFUSED;
		if (run->how->on_refused)
			run->how->on_refused(run->how->context, i, s->path, &s->why);
		else
			r = INDEX_E_REFUSED;
	} else {
		r = run->how->on_index(run->how->context, i, s->path, &s->file, &s->index, s->source,
				       run->why);
		shard_index_deinit(&s->index);
	}
	s->state = SCAN_IDLE;
	return r;
}

static int wait_for_reads(struct run *run)
{
	struct pollfd p = {.fd = io_engine_fd(run->engine), .events = POLLIN};
	struct io_done done[WINDOW];
	unsigned n;
	int r = 0;

	io_engine_flush(run->engine);
	if (poll(&p, 1, 1000) < 0 && errno != EINTR)
		return fail(-errno);
	n = io_engine_reap(run->engine, done, WINDOW);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = on_bytes(run, &run->scans[done[i].id], done[i].n_bytes);
	tell_progress(run);
	return r;
}

static int slide(struct run *run)
{
	while (run->n_done < run->n_paths) {
		struct scan *head = &run->scans[run->n_done % WINDOW];
		int r;

		if (run->n_begun < run->n_paths && run->n_begun < run->n_done + WINDOW) {
			r = begin(run, &run->scans[run->n_begun % WINDOW], run->paths[run->n_begun]);
			run->n_begun++;
		} else if (head->state == SCAN_WAITING) {
			r = start_packed(run, head);
		} else if (head->state == SCAN_READING) {
			r = wait_for_reads(run);
		} else {
			r = hand_on(run);
			tell_progress(run);
		}
		if (r)
			return r;
	}
	return run->result;
}

int index_shards(const struct indexing *how, char *const *paths, size_t n_paths, struct reason *why)
{
	struct run run = {.how = how, .paths = paths, .n_paths = n_paths, .why = why};
	int r;

	run.began = run.told = clock_s();
	for (unsigned i = 0; i < WINDOW; i++)
		run.scans[i].file.fd = -1;
	r = slide(&run);
	io_engine_free(run.engine); /* waits for reads in flight: the buffers are theirs until then */
	for (unsigned i = 0; i < WINDOW; i++) {
		struct scan *s = &run.scans[i];

		if (s->state == SCAN_READING || s->state == SCAN_WAITING)
			scan_end(s, SCAN_IDLE);
		if (s->state == SCAN_DONE)
			shard_index_deinit(&s->index);
		free(s->buffer);
	}
	return r;
}
