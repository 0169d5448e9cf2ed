/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Members in, samples out. Extensions are few and stand in the text once: a hash table finds them,
 * and remembers the last sample that had each, which is how a repeated one is seen in O(1).
 */
#include "base/fault.h"
#include "base/hash.h"
#include "shard/index.h"
#include "shard/saved.h"
#include "shard/tar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct extension {
	uint32_t text; /* offset of it, + 1; 0 = a free slot */
	uint64_t last_sample;
};

struct index_builder {
	struct shard_index index;
	size_t samples_allocated, members_allocated, text_allocated;
	struct extension *extensions; /* open addressing, a power of two of slots */
	size_t n_extensions, n_slots;
};

int index_builder_new(struct index_builder **ret)
{
	struct index_builder *b = calloc(1, sizeof(*b));

	if (!b)
		return fail(-ENOMEM);
	*ret = b;
	return 0;
}

struct index_builder *index_builder_free(struct index_builder *b)
{
	if (b) {
		shard_index_deinit(&b->index);
		free(b->extensions);
		free(b);
	}
	return NULL;
}

/* Makes room for n more things of size bytes behind the first n_used. */
static int reserve(void *array, size_t *n_allocated, size_t n_used, size_t n, size_t size)
{
	void **at = array, *grown;
	size_t n_wanted;

	if (n_used + n <= *n_allocated)
		return 0;
	n_wanted = (n_used + n) * 3 / 2 + 64;
	grown = reallocarray(*at, n_wanted, size);
	if (!grown)
		return fail(-ENOMEM);
	*at = grown;
	*n_allocated = n_wanted;
	return 0;
}

static int add_text(struct index_builder *b, const char *text, size_t n, uint64_t *ret_offset)
{
	int r = reserve(&b->index.text, &b->text_allocated, b->index.n_text, n + 1, 1);

	if (r < 0)
		return pass(r);
	memcpy(b->index.text + b->index.n_text, text, n);
	b->index.text[b->index.n_text + n] = '\0';
	*ret_offset = b->index.n_text;
	b->index.n_text += n + 1;
	return 0;
}

static struct extension *find_extension(const struct index_builder *b, const char *text)
{
	size_t at = hash_text(text) & (b->n_slots - 1);

	while (b->extensions[at].text &&
	       strcmp(b->index.text + b->extensions[at].text - 1, text) != 0)
		at = (at + 1) & (b->n_slots - 1);
	return &b->extensions[at];
}

static int grow_extensions(struct index_builder *b)
{
	size_t n_old = b->n_slots, n_slots = n_old ? n_old * 2 : 64;
	struct extension *old = b->extensions, *grown = calloc(n_slots, sizeof(*grown));

	if (!grown)
		return fail(-ENOMEM);
	b->extensions = grown;
	b->n_slots = n_slots;
	for (size_t i = 0; i < n_old; i++) {
		if (old[i].text)
			*find_extension(b, b->index.text + old[i].text - 1) = old[i];
	}
	free(old);
	return 0;
}

static int intern(struct index_builder *b, const char *text, struct extension **ret)
{
	struct extension *e;
	uint64_t offset;
	int r;

	if (b->n_extensions * 2 >= b->n_slots) {
		r = grow_extensions(b);
		if (r < 0)
			return pass(r);
	}
	e = find_extension(b, text);
	if (!e->text) {
		r = add_text(b, text, strlen(text), &offset);
		if (r < 0)
			return pass(r);
		if (offset >= UINT32_MAX)
			return fail(-EOVERFLOW);
		e->text = (uint32_t)offset + 1;
		e->last_sample = UINT64_MAX;
		b->n_extensions++;
	}
	*ret = e;
	return 0;
}

/* The sample that the member belongs to: the last one, or a new one where the key changed. */
static int find_sample(struct index_builder *b, const char *key, size_t n_key,
		       struct index_sample **ret)
{
	struct shard_index *x = &b->index;
	struct index_sample *last = x->n_samples ? &x->samples[x->n_samples - 1] : NULL;
	uint64_t offset;
	int r;

	if (last && strncmp(x->text + last->key, key, n_key) == 0 &&
	    x->text[last->key + n_key] == '\0') {
		*ret = last;
		return 0;
	}
	r = reserve(&x->samples, &b->samples_allocated, x->n_samples, 1, sizeof(*x->samples));
	if (r == 0)
		r = add_text(b, key, n_key, &offset);
	if (r < 0)
		return pass(r);
	*ret = &x->samples[x->n_samples++];
	**ret = (struct index_sample){.key = offset, .first_member = (uint32_t)x->n_members};
	return 0;
}

static bool is_reserved(const char *extension)
{
	return strcmp(extension, "__key__") == 0 || strcmp(extension, "__url__") == 0;
}

int index_builder_add(struct index_builder *b, const struct tar_member *m)
{
	struct shard_index *x = &b->index;
	char text[TAR_NAME_MAX];
	struct extension *extension = NULL;
	struct index_sample *sample = NULL;
	size_t n_key;
	int r;

	if (!tar_split_name(m->name, &n_key, text, sizeof(text))) {
		x->n_skipped++;
		return 0;
	}
	if (x->n_members >= UINT32_MAX)
		return fail(-EOVERFLOW);
	r = reserve(&x->members, &b->members_allocated, x->n_members, 1, sizeof(*x->members));
	if (r == 0)
		r = find_sample(b, m->name, n_key, &sample);
	if (r == 0)
		r = intern(b, text, &extension);
	if (r < 0)
		return pass(r);
	if (extension->last_sample == x->n_samples - 1 || is_reserved(text))
		sample->flags |= INDEX_REPEATED;
	extension->last_sample = x->n_samples - 1;
	sample->n_members++;
	x->members[x->n_members++] = (struct index_member){
		.header_offset = m->header_offset,
		.payload_offset = m->payload_offset,
		.size = m->size,
		.extension = extension->text - 1,
		.sample = (uint32_t)(x->n_samples - 1),
	};
	return 0;
}

int index_builder_on_member(void *builder, const struct tar_member *m)
{
	return index_builder_add(builder, m);
}

void index_builder_take_scan(struct index_builder *b, const struct tar_scan *s)
{
	tar_scan_trailing(s, &b->index.trailing_offset, &b->index.trailing_bytes);
	b->index.is_unterminated = tar_scan_is_unterminated(s);
}

void index_builder_take_frames(struct index_builder *b, enum packing packing, struct shard_frame *frames,
			       uint64_t n_frames, uint64_t raw_size)
{
	free(b->index.frames);
	b->index.packing = packing;
	b->index.frames = frames;
	b->index.n_frames = n_frames;
	b->index.raw_size = raw_size;
}

int index_builder_finish(struct index_builder *b, const struct stat *st, struct shard_index *ret)
{
	*ret = b->index;
	ret->places_hash = index_places_hash(ret->members, ret->n_members);
	ret->file_size = (uint64_t)st->st_size;
	if (ret->packing == PACKING_NONE)
		ret->raw_size = ret->file_size;
	ret->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
	b->index = (struct shard_index){0};
	b->samples_allocated = b->members_allocated = b->text_allocated = 0;
	free(b->extensions);
	b->extensions = NULL;
	b->n_extensions = b->n_slots = 0;
	return 0;
}

void shard_index_deinit(struct shard_index *index)
{
	free(index->samples);
	free(index->members);
	free(index->text);
	free(index->frames);
	*index = (struct shard_index){0};
}
