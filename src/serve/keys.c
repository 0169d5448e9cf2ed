/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* An engine of one thread, since the daemon's own may not be reaped in the middle of the core's actions. */
#include "serve/keys.h"

#include "base/clock.h"
#include "base/fault.h"

#include <poll.h>
#include <string.h>

int keys_init(struct keys *k, const struct dataset *datasets, unsigned n_datasets, const char *cache_folder,
	      struct reason *why)
{
	bool has_remote = false;
	int r;

	for (unsigned i = 0; i < n_datasets; i++)
		for (size_t j = 0; j < datasets[i].samples.n_shards; j++)
			has_remote |= datasets[i].samples.shards[j].is_remote;
	k->cache_folder = cache_folder;
	if (!has_remote)
		return 0;
	r = io_engine_new(IO_THREADS, 1, NULL, &k->engine, why);
	return r < 0 ? pass(r) : 0;
}

void keys_deinit(struct keys *k)
{
	k->engine = io_engine_free(k->engine);
}

static int find(void *data)
{
	struct keys *k = data;

	return dataset_key(k->wanted.dataset, k->cache_folder, k->wanted.shard, k->wanted.in_shard,
			   k->wanted.key, sizeof(k->wanted.key), &k->wanted.offset);
}

/* true: the thread has nothing to do, and its last call returned *ret. */
static bool is_idle(struct keys *k, int64_t *ret)
{
	struct io_done done;

	if (io_engine_reap(k->engine, &done, 1) == 1)
		*ret = done.n_bytes;
	return io_engine_busy(k->engine) == 0;
}

static bool ask(struct keys *k, int64_t *ret)
{
	const uint64_t until_ns = clock_ns() + KEYS_PATIENCE_MS * UINT64_C(1000000);
	struct pollfd p = {.fd = io_engine_fd(k->engine), .events = POLLIN};

	io_engine_call(k->engine, 0, find, k);
	io_engine_flush(k->engine);
	while (!is_idle(k, ret) && clock_ns() < until_ns)
		poll(&p, 1, KEYS_PATIENCE_MS / 10);
	return io_engine_busy(k->engine) == 0;
}

bool keys_find(struct keys *k, const struct dataset *dataset, uint32_t shard, uint64_t in_shard, char *ret_key,
	       size_t n_key, uint64_t *ret_offset)
{
	int64_t result = 0;

	if (!dataset->samples.shards[shard].is_remote)
		return dataset_key(dataset, k->cache_folder, shard, in_shard, ret_key, n_key, ret_offset) == 0;
	if (!is_idle(k, &result))
		return false;
	k->wanted.dataset = dataset;
	k->wanted.shard = shard;
	k->wanted.in_shard = in_shard;
	if (!ask(k, &result) || result != 0 || strlen(k->wanted.key) >= n_key)
		return false;
	memcpy(ret_key, k->wanted.key, strlen(k->wanted.key) + 1);
	*ret_offset = k->wanted.offset;
	return true;
}
