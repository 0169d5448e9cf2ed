/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * DALI's wds2idx writes "v1.2 N", then a line a sample: EXTENSION OFFSET SIZE NAME, repeated. It says
 * nothing of headers, directories, links or of members without an extension, so it is taken only
 * where the offsets leave no room for any: then each header is the one block in front of a payload,
 * and grouping the names by our rule must give the same samples. The first and the last header are
 * read to see that the file belongs to the shard. Anything else is a reason to scan.
 */
#include "base/fault.h"
#include "base/file.h"
#include "shard/header.h"
#include "shard/index.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	NAME_MAX_PLAIN = 100,	/* a longer one needs a prefix or an extension header */
	BEHIND_MAX = 1 << 20,
};

struct dali {
	const char *path; /* of the .idx */
	const char *at, *end;
	unsigned line;
	uint64_t payload_end; /* of the member before, in whole blocks */
	struct index_builder *builder;
	int shard;		      /* fd */
	const struct stat *st;	      /* of the shard */
	struct tar_member first, last; /* names: copies below */
	char first_name[TAR_NAME_MAX], last_name[TAR_NAME_MAX];
	struct reason *why;
};

static int stale(const struct dali *d, const char *text)
{
	reason_set(d->why, "%.300s:%u: %s; the shard is scanned", d->path, d->line, text);
	return INDEX_E_STALE;
}

static int name_index(const char *path, char *ret)
{
	size_t n = strlen(path);

	if (n < 4 || n >= PATH_MAX || strcmp(path + n - 4, ".tar") != 0)
		return INDEX_E_ABSENT;
	snprintf(ret, PATH_MAX, "%.*s.idx", (int)(n - 4), path);
	return 0;
}

static int read_file(const char *name, const struct stat *shard, char **ret, size_t *ret_n,
		     struct reason *why)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int64_t n;
	char *bytes;

	if (fd < 0)
		return INDEX_E_ABSENT;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_mtim.tv_sec < shard->st_mtim.tv_sec ||
	    (st.st_mtim.tv_sec == shard->st_mtim.tv_sec &&
	     st.st_mtim.tv_nsec < shard->st_mtim.tv_nsec)) {
		close(fd);
		reason_set(why, "%.300s is older than the shard; the shard is scanned", name);
		return INDEX_E_STALE;
	}
	bytes = malloc((size_t)st.st_size + 1);
	n = bytes ? file_read(fd, bytes, (size_t)st.st_size) : 0;
	close(fd);
	if (!bytes)
		return fail(-ENOMEM);
	if (n < 0)
		n = 0; /* an empty one fits no shard */
	bytes[n] = '\0';
	*ret = bytes;
	*ret_n = (size_t)n;
	return 0;
}

/* The next word of the line; false at its end. */
static bool take_word(struct dali *d, const char **ret, size_t *ret_n)
{
	const char *word = d->at;

	while (d->at < d->end && *d->at != ' ' && *d->at != '\n')
		d->at++;
	*ret = word;
	*ret_n = (size_t)(d->at - word);
	if (d->at < d->end && *d->at == ' ')
		d->at++;
	return *ret_n > 0;
}

static bool take_number(struct dali *d, uint64_t *ret)
{
	const char *word;
	size_t n;
	uint64_t value = 0;

	if (!take_word(d, &word, &n) || n > 18)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(word[i] - '0');
	}
	*ret = value;
	return true;
}

/* The name splits, by our rule, into the extension that the line gives. */
static bool is_split_right(const char *name, const char *extension, size_t n_extension)
{
	char ours[TAR_NAME_MAX];
	size_t n_key;

	return tar_split_name(name, &n_key, ours, sizeof(ours)) && strlen(ours) == n_extension &&
	       strncasecmp(ours, extension, n_extension) == 0;
}

static int take_member(struct dali *d)
{
	const char *extension, *word;
	size_t n_extension, n_name;
	struct tar_member m = {.name = d->last_name};

	if (!take_word(d, &extension, &n_extension) || !take_number(d, &m.payload_offset) ||
	    !take_number(d, &m.size) || !take_word(d, &word, &n_name))
		return stale(d, "not EXTENSION OFFSET SIZE NAME");
	if (n_name > NAME_MAX_PLAIN)
		return stale(d, "a name of more than 100 bytes");
	memcpy(d->last_name, word, n_name);
	d->last_name[n_name] = '\0';
	if (strchr(d->last_name, '\\') || strlen(d->last_name) != n_name ||
	    !is_split_right(d->last_name, extension, n_extension))
		return stale(d, "a name that splits otherwise");
	if (m.payload_offset != d->payload_end + TAR_BLOCK)
		return stale(d, "more than one header block in front of a payload");
	if (m.payload_offset > (uint64_t)d->st->st_size ||
	    m.size > (uint64_t)d->st->st_size - m.payload_offset ||
	    tar_round_up(m.size) > (uint64_t)d->st->st_size - m.payload_offset)
		return stale(d, "a member that ends behind the shard's end");
	m.header_offset = d->payload_end;
	if (d->payload_end == 0) {
		strcpy(d->first_name, d->last_name);
		d->first = m;
		d->first.name = d->first_name;
	}
	d->last = m;
	d->payload_end = m.payload_offset + tar_round_up(m.size);
	return index_builder_add(d->builder, &m);
}

static int take_lines(struct dali *d, uint64_t *ret_n_lines)
{
	uint64_t n = 0;
	int r;

	while (d->at < d->end) {
		d->line++;
		while (d->at < d->end && *d->at != '\n') {
			r = take_member(d);
			if (r != 0)
				return r;
		}
		d->at++;
		n++;
	}
	*ret_n_lines = n;
	return 0;
}

static bool is_header_right(const struct dali *d, const struct tar_member *m)
{
	uint8_t block[TAR_BLOCK];
	struct tar_header header;
	struct reason unused;

	return pread(d->shard, block, sizeof(block), (off_t)m->header_offset) == sizeof(block) &&
	       tar_header_read(block, sizeof(block), &header, &unused) == 0 &&
	       strcmp(header.name, m->name) == 0 && header.size == m->size;
}

/* Only zeros lie behind the last member. */
static int check_end(struct dali *d)
{
	uint64_t at = d->payload_end, n = (uint64_t)d->st->st_size - at;
	char bytes[4096];

	if (n > BEHIND_MAX)
		return stale(d, "much lies behind its last member");
	while (n > 0) {
		ssize_t k = pread(d->shard, bytes, n < sizeof(bytes) ? n : sizeof(bytes), (off_t)at);

		if (k <= 0)
			return stale(d, "the shard's end cannot be read");
		for (ssize_t i = 0; i < k; i++) {
			if (bytes[i])
				return stale(d, "something lies behind its last member");
		}
		at += (uint64_t)k;
		n -= (uint64_t)k;
	}
	return 0;
}

static int take_index(struct dali *d, struct shard_index *ret)
{
	const char *word;
	size_t n_word;
	uint64_t n_samples, n_lines;
	int r;

	d->line = 1;
	if (!take_word(d, &word, &n_word) || n_word != 4 || memcmp(word, "v1.2", 4) != 0)
		return stale(d, "not wds2idx v1.2 (older ones have no names)");
	if (!take_number(d, &n_samples) || d->at == d->end || *d->at != '\n')
		return stale(d, "not \"v1.2 NUMBER\"");
	d->at++;
	r = take_lines(d, &n_lines);
	if (r != 0)
		return r;
	if (n_lines == 0 || n_lines != n_samples)
		return stale(d, "another number of samples than it says");
	if (!is_header_right(d, &d->first) || !is_header_right(d, &d->last))
		return stale(d, "its first or last member is not in the shard");
	r = check_end(d);
	if (r != 0)
		return r;
	r = index_builder_finish(d->builder, d->st, ret);
	if (r == 0 && ret->n_samples != n_samples) {
		shard_index_deinit(ret);
		return stale(d, "its samples are not grouped by our rule");
	}
	ret->trailing_offset = ret->file_size;
	ret->is_unterminated = d->payload_end == ret->file_size;
	return r;
}

int shard_index_load_dali(const char *path, const struct stat *st, struct shard_index *ret,
			  struct reason *why)
{
	char name[PATH_MAX], *bytes = NULL;
	struct dali *d;
	size_t n = 0;
	int r = name_index(path, name);

	if (r == 0)
		r = read_file(name, st, &bytes, &n, why);
	if (r != 0)
		return r;
	d = calloc(1, sizeof(*d));
	if (!d) {
		free(bytes);
		return fail(-ENOMEM);
	}
	d->path = name;
	d->at = bytes;
	d->end = bytes + n;
	d->st = st;
	d->why = why;
	d->shard = open(path, O_RDONLY | O_CLOEXEC);
	r = d->shard < 0 ? stale(d, "the shard cannot be opened") : index_builder_new(&d->builder);
	if (r == 0)
		r = take_index(d, ret);
	if (d->shard >= 0)
		close(d->shard);
	index_builder_free(d->builder);
	free(d);
	free(bytes);
	return r;
}
