/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* index: builds the sample index of each shard, beside it or in the cache folder. */
#include "main/command.h"

#include "base/fault.h"
#include "serve/indexing.h"
#include "shard/list.h"

#include <string.h>

struct tally {
	uint64_t n_samples, n_members, n_shards, n_refused;
	bool is_json;
};

static const char *const sources[] = {
	[INDEX_SAVED] = "saved", [INDEX_DALI] = "dali", [INDEX_SCANNED] = "scanned"};

static int tell(void *context, size_t i, const char *path, const struct io_file *file,
		const struct shard_index *index, enum index_source source, struct reason *why)
{
	struct tally *t = context;

	t->n_shards++;
	t->n_samples += index->n_samples;
	t->n_members += index->n_members;
	printf("%s\t%llu samples\t%llu members\t%s", path, (unsigned long long)index->n_samples,
	       (unsigned long long)index->n_members, sources[source]);
	if (index->n_skipped)
		printf("\t%llu members belong to no sample", (unsigned long long)index->n_skipped);
	if (index->is_unterminated)
		printf("\tno end marker");
	if (index->trailing_bytes)
		printf("\t%llu bytes behind the end marker at offset %llu are not read",
		       (unsigned long long)index->trailing_bytes,
		       (unsigned long long)index->trailing_offset);
	putchar('\n');
	return 0;
}

static void tell_refused(void *context, size_t i, const char *path, const struct reason *why)
{
	struct tally *t = context;

	t->n_refused++;
	fprintf(stderr, "ringfeed: %s\n", why->text);
}

int cmd_index(int argc, char **argv)
{
	struct tally t = {0};
	const struct indexing how = {.io = IO_AUTO, .is_direct = true, .has_progress = true, .context = &t,
				     .on_index = tell, .on_refused = tell_refused};
	struct reason why = {{0}};
	struct shard_list list;
	struct options options;
	int r, status;

	if (!options_parse(argc, argv, &options, &status) || !options_shards(&options, &list, &status))
		return status;
	r = index_shards(&how, list.paths, list.n_paths, &why);
	if (r < 0)
		fprintf(stderr, "ringfeed index: %s (%s)\n", strerror(-r), fault_trail());
	else if (r > 0 && t.n_refused == 0)
		fprintf(stderr, "ringfeed: %s\n", why.text);
	if (t.n_shards)
		fprintf(stderr, "%llu shards, %llu samples, %llu members; %llu refused\n",
			(unsigned long long)t.n_shards, (unsigned long long)t.n_samples,
			(unsigned long long)t.n_members, (unsigned long long)t.n_refused);
	shard_list_deinit(&list);
	return r ? STATUS_FAILED : STATUS_DONE;
}
