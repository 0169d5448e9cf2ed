/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Samples of other tars, members and all, to be cut into shards anew. Keys may stand in several tars,
 * as WebDataset allows; only neighbours must differ.
 */
#include "pack/catalog.h"

#include "base/fault.h"
#include "pack/ustar.h"
#include "serve/indexing.h"
#include "shard/list.h"
#include "shard/tar.h"

#include <stdio.h>
#include <string.h>

/* NULL, or why the sample cannot be written again. */
static const char *find_fault(const struct shard_index *index, const struct index_sample *s)
{
	char name[TAR_NAME_MAX];

	if (s->flags & INDEX_REPEATED)
		return "two members of the sample have the same extension";
	for (uint32_t i = 0; i < s->n_members; i++) {
		const struct index_member *m = &index->members[s->first_member + i];

		if (snprintf(name, sizeof(name), "%s.%s", index->text + s->key, index->text + m->extension) >=
			    TAR_NAME_MAX ||
		    !ustar_fits(name))
			return "its name is too long for a ustar header (100 bytes behind a slash, 155 in front)";
		if (m->size >= UINT32_MAX)
			return "a member is larger than 4 GiB";
	}
	return NULL;
}

static int add_samples(void *context, size_t i, const char *path, const struct io_file *file,
		       const struct shard_index *index, enum index_source source, struct reason *why)
{
	struct catalog *c = context;
	int r;

	if (index->packing != PACKING_NONE) {
		catalog_leave_out(c, path, true, "compressed with %s: pack reads plain tars; unpack it first (`%s`)",
				  packing_name(index->packing),
				  index->packing == PACKING_ZSTD ? "zstd -d" : "gunzip -k");
		return 0;
	}
	r = catalog_add_file(c, path, &file->st);

	for (uint64_t k = 0; r == 0 && k < index->n_samples; k++) {
		const struct index_sample *s = &index->samples[k];
		const char *key = index->text + s->key, *fault = find_fault(index, s);

		if (c->is_stopped(c->context))
			return PACK_E_STOPPED;
		if (fault) {
			catalog_leave_out(c, path, true, "sample %s: %s", key, fault);
			continue;
		}
		r = catalog_add_sample(c, key, strlen(key));
		for (uint32_t m = 0; r == 0 && m < s->n_members; m++) {
			const struct index_member *member = &index->members[s->first_member + m];

			r = catalog_add_part(c, index->text + member->extension, member->payload_offset,
					     member->size);
		}
	}
	return r < 0 ? pass(r) : 0;
}

static void tell_refused(void *context, size_t i, const char *path, const struct reason *why)
{
	catalog_leave_out(context, path, true, "%s", why->text);
}

int catalog_add_tars(struct catalog *c, const char *pattern, struct reason *why)
{
	const struct indexing how = {.io = IO_AUTO, .is_direct = true, .has_progress = true, .context = c,
				     .on_index = add_samples, .on_refused = tell_refused};
	struct shard_list list = {NULL, 0};
	int r;

	c->has_any_keys = true;
	r = shard_list_expand(&pattern, 1, &list, why);
	if (r > 0)
		return PACK_E_REFUSED;
	if (r == 0)
		r = index_shards(&how, list.paths, list.n_paths, why);
	shard_list_deinit(&list);
	if (r < 0)
		return pass(r);
	/* what was refused has been told */
	return r == INDEX_E_REFUSED ? 0 : r;
}
