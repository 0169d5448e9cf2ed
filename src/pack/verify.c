/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The parent reads all headers, then forks the processes, which have the contents from it and take blocks
 * of samples by a shared counter. Each says in shared memory which sample it is on: if it dies there, that
 * sample is at fault, and the next process goes on behind it. Faults come back over a pipe, whole, as each
 * is one write of less than PIPE_BUF.
 */
#include "pack/verify.h"

#include "base/fault.h"
#include "pack/contents.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 16, PROCESSES_MAX = 256 };

static_assert(sizeof(struct verify_fault) <= PIPE_BUF, "a fault is one write");

/* Samples [first, end) of a shard, or none. */
struct block {
	uint64_t shard, first, end;
	enum { BLOCK_SAMPLES, BLOCK_HASH, BLOCK_STREAM } kind;
};

/* What a process is on; blocks end with n_blocks. */
struct post {
	_Atomic uint64_t block, sample;
};

struct shared {
	_Atomic uint64_t next, n_samples, n_bytes;
	_Atomic uint64_t n_stream_samples, n_stream_members, n_stream_bytes; /* known only afterwards */
	struct post posts[PROCESSES_MAX];
};

struct crew {
	const struct verify_options *how;
	struct verify_result *result;
	struct contents *contents;
	struct block *blocks;
	size_t n_blocks, blocks_room, faults_room;
	struct shared *shared;
	pid_t pids[PROCESSES_MAX];
	unsigned n_running;
	int pipe[2];
	int error; /* of keep_fault */
};

/* ---- faults ---- */

static void keep_fault(void *context, const struct verify_fault *fault)
{
	struct crew *crew = context;
	struct verify_result *result = crew->result;

	if (result->n_faults == crew->faults_room) {
		size_t room = crew->faults_room * 2 + 64;
		struct verify_fault *grown = reallocarray(result->faults, room, sizeof(*grown));

		if (!grown) {
			crew->error = fail(-ENOMEM);
			return;
		}
		result->faults = grown;
		crew->faults_room = room;
	}
	result->faults[result->n_faults++] = *fault;
}

static void send_fault(void *context, const struct verify_fault *fault)
{
	const struct crew *crew = context;

	while (write(crew->pipe[1], fault, sizeof(*fault)) < 0 && errno == EINTR)
		;
}

static int compare_faults(const void *a, const void *b)
{
	const struct verify_fault *x = a, *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	if (x->sample != y->sample)
		return x->sample < y->sample ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static void count_faults(struct verify_result *r)
{
	const struct verify_fault *sample = NULL, *shard = NULL;

	if (r->n_faults)
		qsort(r->faults, r->n_faults, sizeof(*r->faults), compare_faults);
	for (size_t i = 0; i < r->n_faults; i++) {
		const struct verify_fault *f = &r->faults[i];

		if (f->is_warning) {
			r->n_warned++;
			continue;
		}
		if (!shard || shard->shard != f->shard)
			r->n_bad_shards++;
		shard = f;
		if (f->sample != VERIFY_SHARD &&
		    (!sample || sample->shard != f->shard || sample->sample != f->sample)) {
			r->n_bad_samples++;
			sample = f;
		}
	}
}

/* ---- a process ---- */

static int run_stream(struct crew *crew, struct inspector *in, uint64_t shard, const struct fault_sink *sink)
{
	struct stream_counts counts = {0};
	int r = inspect_stream(in, crew->how->paths[shard], &crew->contents[shard], shard, sink, &counts);

	atomic_fetch_add(&crew->shared->n_stream_samples, counts.n_samples);
	atomic_fetch_add(&crew->shared->n_stream_members, counts.n_members);
	atomic_fetch_add(&crew->shared->n_stream_bytes, counts.n_bytes);
	return r;
}

static int run_block(struct crew *crew, struct inspector *in, struct post *post, uint64_t at, uint64_t first)
{
	const struct fault_sink sink = {.context = crew, .put = send_fault};
	const struct block *b = &crew->blocks[at];
	const struct contents *c = &crew->contents[b->shard];
	const char *path = crew->how->paths[b->shard];
	int r = 0;

	if (b->kind == BLOCK_HASH)
		r = inspect_hash(in, path, c, b->shard, &sink);
	if (b->kind == BLOCK_STREAM)
		r = run_stream(crew, in, b->shard, &sink);
	if (b->kind != BLOCK_SAMPLES)
		atomic_fetch_add(&crew->shared->n_bytes, c->n_bytes);
	for (uint64_t i = first; r == 0 && i < b->end && !crew->how->is_stopped(crew->how->context); i++) {
		const struct index_sample *s = &c->index.samples[i];
		uint64_t n = 0;

		atomic_store(&post->sample, i);
		r = inspect_sample(in, path, c, b->shard, i, &sink);
		for (uint32_t k = 0; k < s->n_members; k++)
			n += c->index.members[s->first_member + k].size;
		atomic_fetch_add(&crew->shared->n_samples, 1);
		atomic_fetch_add(&crew->shared->n_bytes, n);
	}
	return r;
}

/* begin: a block that another process died on, from that sample on; n_blocks: none. */
static void work(struct crew *crew, unsigned number, uint64_t begin, uint64_t first)
{
	struct post *post = &crew->shared->posts[number];
	struct inspector in;
	uint64_t at = begin;

	if (inspector_init(&in, &crew->how->limits) < 0)
		_exit(1);
	for (;;) {
		if (at >= crew->n_blocks) {
			at = atomic_fetch_add(&crew->shared->next, 1);
			if (at >= crew->n_blocks || crew->how->is_stopped(crew->how->context))
				break;
			first = crew->blocks[at].first;
		}
		atomic_store(&post->sample, first);
		atomic_store(&post->block, at);
		if (run_block(crew, &in, post, at, first) < 0)
			_exit(1);
		at = crew->n_blocks;
		atomic_store(&post->block, at);
	}
	inspector_deinit(&in);
	_exit(0);
}

static int start(struct crew *crew, unsigned number, uint64_t begin, uint64_t first)
{
	pid_t self = getpid(), pid;

	atomic_store(&crew->shared->posts[number].block, crew->n_blocks);
	pid = fork();
	if (pid < 0)
		return fail(-errno);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(1);
		close(crew->pipe[0]);
		work(crew, number, begin, first);
	}
	crew->pids[number] = pid;
	crew->n_running++;
	return 0;
}

/* ---- the crew ---- */

static void blame(struct crew *crew, const struct block *b, uint64_t sample, int status)
{
	const struct contents *c = &crew->contents[b->shard];
	struct verify_fault f = {.shard = b->shard, .sample = VERIFY_SHARD, .cause = "worker_died"};

	if (b->end > b->first) {
		const struct index_sample *s = &c->index.samples[sample];
		struct reason key;

		reason_set(&key, "%s", c->index.text + s->key);
		snprintf(f.key, sizeof(f.key), "%.*s", (int)sizeof(f.key) - 1, key.text);
		f.sample = sample;
		f.offset = c->index.members[s->first_member].header_offset;
	}
	if (WIFSIGNALED(status))
		snprintf(f.detail, sizeof(f.detail), "the process that looked at it was killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(f.detail, sizeof(f.detail), "the process that looked at it gave up, out of memory perhaps");
	keep_fault(crew, &f);
}

/* A process has ended: where it died on a block, another goes on behind the sample. */
static int take_end(struct crew *crew, unsigned number, int status)
{
	const struct post *post = &crew->shared->posts[number];
	uint64_t at = atomic_load(&post->block), sample = atomic_load(&post->sample);
	const struct block *b;

	crew->pids[number] = 0;
	crew->n_running--;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (at >= crew->n_blocks)
		return fail(-ECHILD); /* it could not even begin */
	b = &crew->blocks[at];
	if (b->end > b->first && (sample < b->first || sample >= b->end))
		return fail(-EPROTO);
	blame(crew, b, sample, status);
	return b->end > sample + 1 ? start(crew, number, at, sample + 1) : start(crew, number, crew->n_blocks, 0);
}

static int reap(struct crew *crew)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < crew->how->n_processes; i++) {
		int status;

		if (crew->pids[i] && waitpid(crew->pids[i], &status, WNOHANG) == crew->pids[i])
			r = take_end(crew, i, status);
	}
	return r;
}

/* Until the pipe is empty. */
static int take_faults(struct crew *crew)
{
	struct verify_fault fault;
	ssize_t got;

	while ((got = read(crew->pipe[0], &fault, sizeof(fault))) > 0)
		if (got == sizeof(fault))
			keep_fault(crew, &fault);
	return got < 0 && errno != EAGAIN && errno != EINTR ? fail(-errno) : crew->error;
}

static int run_crew(struct crew *crew)
{
	const struct verify_options *how = crew->how;
	struct verify_progress now = {.n_samples_all = crew->result->n_samples};
	int r = 0;

	for (size_t i = 0; i < crew->n_blocks; i++)
		if (crew->blocks[i].kind != BLOCK_SAMPLES)
			now.n_bytes_all += crew->contents[crew->blocks[i].shard].n_bytes;
	now.n_bytes_all += crew->result->n_bytes;
	for (unsigned i = 0; r == 0 && i < how->n_processes; i++)
		r = start(crew, i, crew->n_blocks, 0);
	while (r == 0 && crew->n_running) {
		struct pollfd p = {.fd = crew->pipe[0], .events = POLLIN};

		if (poll(&p, 1, 20) < 0 && errno != EINTR)
			r = fail(-errno);
		if (r == 0)
			r = take_faults(crew);
		if (r == 0)
			r = reap(crew);
		now.n_samples = atomic_load(&crew->shared->n_samples);
		now.n_bytes = atomic_load(&crew->shared->n_bytes);
		how->on_progress(how->context, &now);
		if (r == 0 && how->is_stopped(how->context))
			r = PACK_E_STOPPED;
	}
	for (unsigned i = 0; i < how->n_processes; i++)
		if (crew->pids[i]) {
			kill(crew->pids[i], SIGKILL);
			waitpid(crew->pids[i], NULL, 0);
		}
	if (r >= 0) {
		int error = take_faults(crew);

		r = error < 0 ? error : r;
	}
	return r;
}

static int add_block(struct crew *crew, const struct block *block)
{
	if (crew->n_blocks == crew->blocks_room) {
		size_t room = crew->blocks_room * 2 + 64;
		struct block *grown = reallocarray(crew->blocks, room, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		crew->blocks = grown;
		crew->blocks_room = room;
	}
	crew->blocks[crew->n_blocks++] = *block;
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int look(struct crew *crew)
{
	const struct fault_sink sink = {.context = crew, .put = keep_fault};
	const struct verify_options *how = crew->how;
	struct verify_result *result = crew->result;
	int r = 0;

	for (size_t i = 0; r == 0 && i < how->n_paths; i++) {
		struct contents *c = &crew->contents[i];

		if (how->is_stopped(how->context))
			return PACK_E_STOPPED;
		r = contents_scan(how->paths[i], i, &sink, c);
		result->n_shards++;
		result->n_samples += c->index.n_samples;
		result->n_members += c->index.n_members;
		for (uint64_t k = 0; k < c->index.n_members; k++)
			result->n_bytes += c->index.members[k].size;
		if (r == 0 && c->has_hash) {
			result->n_hashed++;
			r = add_block(crew, &(struct block){.shard = i, .kind = BLOCK_HASH});
		}
		if (r == 0 && c->packing != PACKING_NONE)
			r = add_block(crew, &(struct block){.shard = i, .kind = BLOCK_STREAM});
		for (uint64_t k = 0; r == 0 && k < c->index.n_samples; k += BLOCK)
			r = add_block(crew, &(struct block){.shard = i, .first = k, .kind = BLOCK_SAMPLES,
							    .end = least(k + BLOCK, c->index.n_samples)});
	}
	return r ? r : crew->error;
}

static int run(struct crew *crew)
{
	int r = look(crew);

	if (r != 0 || crew->n_blocks == 0)
		return r;
	crew->shared = mmap(NULL, sizeof(*crew->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crew->shared == MAP_FAILED)
		return fail(-errno);
	if (pipe2(crew->pipe, O_CLOEXEC) < 0) {
		r = fail(-errno);
	} else {
		fcntl(crew->pipe[0], F_SETFL, O_NONBLOCK);
		r = run_crew(crew);
		close(crew->pipe[0]);
		close(crew->pipe[1]);
	}
	crew->result->n_samples += atomic_load(&crew->shared->n_stream_samples);
	crew->result->n_members += atomic_load(&crew->shared->n_stream_members);
	crew->result->n_bytes += atomic_load(&crew->shared->n_stream_bytes);
	munmap(crew->shared, sizeof(*crew->shared));
	return r;
}

int verify_run(const struct verify_options *options, struct verify_result *ret)
{
	struct verify_options how = *options;
	struct crew crew = {.how = &how, .result = ret};
	int r;

	if (how.n_processes > PROCESSES_MAX)
		how.n_processes = PROCESSES_MAX;
	*ret = (struct verify_result){0};
	crew.contents = calloc(how.n_paths + 1, sizeof(*crew.contents));
	r = crew.contents ? run(&crew) : fail(-ENOMEM);
	for (size_t i = 0; crew.contents && i < how.n_paths; i++)
		contents_deinit(&crew.contents[i]);
	free(crew.contents);
	free(crew.blocks);
	count_faults(ret);
	return r;
}

void verify_result_deinit(struct verify_result *r)
{
	free(r->faults);
	*r = (struct verify_result){0};
}
