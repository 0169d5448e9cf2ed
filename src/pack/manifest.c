/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A shard counts as finished if its last line says that it was made of the same and nothing was left out,
 * and the file has that size. One from which files were left out is made again: they may be readable now.
 */
#include "pack/manifest.h"

#include "base/fault.h"
#include "base/hash.h"
#include "pack/squeeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void manifest_shard_name(const char *name, size_t number, const char *end, char *ret)
{
	snprintf(ret, SHARD_NAME_BYTES, "%s-%06zu%s", name, number, end);
}

static json_t *hex(uint64_t n)
{
	return json_sprintf("%016" PRIx64, n);
}

/* What the pack is, as the manifest's first line tells it. */
static json_t *describe(const struct pack_options *how, const struct catalog *c,
			const struct shard_plans *plans)
{
	char *path = realpath(how->source, NULL); /* NULL for a pattern of tars */
	struct reason source;
	uint64_t classes = 0;

	reason_set(&source, "%s", path ? path : how->source); /* makes it UTF-8 */
	free(path);
	for (size_t i = 0; i < c->n_classes; i++)
		classes = XXH64(catalog_at(c, c->classes[i]), strlen(catalog_at(c, c->classes[i])) + 1, classes);
	return json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:o}",
			 "ringfeed_pack", 1,
			 "source", source.text,
			 "shard_size", (json_int_t)how->shard_bytes,
			 "samples_per_shard", (json_int_t)how->samples_per_shard,
			 "shuffle", (json_int_t)how->shuffle,
			 "long_side", (json_int_t)how->long_side,
			 "zstd", (json_int_t)(how->is_squeezed ? squeeze_version() : 0),
			 "classes", hex(classes),
			 "samples", (json_int_t)c->n_samples,
			 "shards", (json_int_t)plans->n,
			 "content", hex(plans->content));
}

/* Is it NAME-<digits>.tar or .tar.zst, or such a shard's .rfidx or .part? */
static bool is_ours(const char *entry, const char *name)
{
	size_t n = strlen(name), n_digits;

	if (strncmp(entry, name, n) != 0 || entry[n] != '-')
		return false;
	entry += n + 1;
	n_digits = strspn(entry, "0123456789");
	entry += n_digits;
	if (n_digits < 6 || strncmp(entry, ".tar", 4) != 0)
		return false;
	entry += strncmp(entry + 4, ".zst", 4) == 0 ? 8 : 4;
	return !*entry || strcmp(entry, ".rfidx") == 0 || strcmp(entry, ".part") == 0;
}

/* Removes what stands under this name, or, without force, says what does. */
static int clear(const struct manifest *m, const struct pack_options *how, struct reason *why)
{
	DIR *dir = opendir(how->folder);
	const struct dirent *e;
	int r = 0;

	if (!dir)
		return fail(-errno);
	while (r == 0 && (e = readdir(dir))) {
		if (!is_ours(e->d_name, m->name))
			continue;
		if (!how->is_forced) {
			reason_set(why, "%s/%s is there already, and not by this pack; --force replaces all shards of "
				   "that name, --name gives another one", how->folder, e->d_name);
			r = PACK_E_REFUSED;
		} else if (unlinkat(m->folder_fd, e->d_name, 0) < 0) {
			r = fail(-errno);
		}
	}
	closedir(dir);
	return r;
}

static int write_line(int fd, json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	size_t n = text ? strlen(text) : 0;
	ssize_t got;
	int r = 0;

	json_decref(line);
	if (!text)
		return fail(-ENOMEM);
	text[n] = '\n'; /* in the place of its closing zero */
	got = write(fd, text, n + 1);
	if (got < 0)
		r = fail(-errno);
	else if ((size_t)got <= n)
		r = fail(-ENOSPC);
	free(text);
	if (r == 0 && fdatasync(fd) < 0)
		r = fail(-errno);
	return r;
}

static int begin(struct manifest *m, const struct pack_options *how, json_t *description, struct reason *why)
{
	int r = clear(m, how, why);

	if (r == 0 && (ftruncate(m->fd, 0) < 0 || lseek(m->fd, 0, SEEK_SET) < 0))
		r = fail(-errno);
	if (r == 0)
		r = write_line(m->fd, json_incref(description));
	if (r == 0 && fsync(m->folder_fd) < 0)
		r = fail(-errno);
	return r;
}

/* Tells in what the pack that was here differs. */
static int refuse(const struct pack_options *how, const json_t *ours, const json_t *theirs, struct reason *why)
{
	static const char *const options[] = {"shard_size", "samples_per_shard", "shuffle", "long_side", "zstd"};
	const json_t *source = json_object_get(theirs, "source");
	const char *what = "the source has changed since (files, sizes, times, labels or classes)";

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!json_equal(json_object_get(ours, options[i]), json_object_get(theirs, options[i])))
			what = "with other options (shard size, samples per shard, shuffle, long side, zstd or its version)";
	if (!json_equal(json_object_get(ours, "source"), source))
		what = json_is_string(source) ? json_string_value(source) : "something unknown";
	reason_set(why, "%s holds another pack under the name %s: %s; --force replaces it, --name gives another name",
		   how->folder, how->name, what);
	return PACK_E_REFUSED;
}

static void mark(const struct manifest *m, struct shard_plans *plans, const json_t *line)
{
	json_int_t number = json_integer_value(json_object_get(line, "number"));
	const char *content = json_string_value(json_object_get(line, "content"));
	char name[SHARD_NAME_BYTES], wanted[24];
	struct stat st;

	if (!json_is_integer(json_object_get(line, "number")) || number < 0 || (uint64_t)number >= plans->n || !content)
		return;
	manifest_shard_name(m->name, (size_t)number, m->end, name);
	snprintf(wanted, sizeof(wanted), "%016" PRIx64, plans->list[number].content);
	plans->list[number].is_there = json_integer_value(json_object_get(line, "left_out")) == 0 &&
				       strcmp(content, wanted) == 0 &&
				       fstatat(m->folder_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
				       st.st_size == json_integer_value(json_object_get(line, "bytes"));
}

/* Reads all lines; *ret_good where the last whole one ends. *ret_first is NULL if there is none. */
static int read_lines(struct manifest *m, struct shard_plans *plans, json_t **ret_first, off_t *ret_good)
{
	int fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	*ret_first = NULL;
	*ret_good = 0;
	if (!file)
		return fail(-errno);
	while ((n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n') {
		json_t *json = json_loads(line, 0, NULL);

		if (!json_is_object(json)) {
			json_decref(json);
			break;
		}
		*ret_good += n;
		if (*ret_first) {
			mark(m, plans, json);
			json_decref(json);
		} else {
			*ret_first = json;
		}
	}
	free(line);
	fclose(file);
	return 0;
}

static int resume(struct manifest *m, const struct pack_options *how, json_t *ours, struct shard_plans *plans,
		  struct reason *why)
{
	json_t *theirs;
	off_t good;
	int r = read_lines(m, plans, &theirs, &good);

	if (r == 0 && theirs && json_equal(ours, theirs)) {
		if (lseek(m->fd, 0, SEEK_END) > good && ftruncate(m->fd, good) < 0)
			r = fail(-errno);
		else if (lseek(m->fd, good, SEEK_SET) < 0)
			r = fail(-errno);
	} else if (r == 0) {
		for (size_t i = 0; i < plans->n; i++)
			plans->list[i].is_there = false;
		r = theirs && !how->is_forced ? refuse(how, ours, theirs, why) : begin(m, how, ours, why);
	}
	json_decref(theirs);
	return r;
}

int manifest_open(const struct pack_options *how, const struct catalog *c, struct shard_plans *plans,
		  int folder_fd, struct manifest *ret, struct reason *why)
{
	struct manifest m = {.fd = -1, .folder_fd = folder_fd, .name = how->name,
			     .end = how->is_squeezed ? ".tar.zst" : ".tar"};
	char name[SHARD_NAME_BYTES];
	json_t *ours = describe(how, c, plans);
	int r = ours ? 0 : fail(-ENOMEM);

	snprintf(name, sizeof(name), "%s-pack.jsonl", how->name);
	if (r == 0)
		m.fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (r == 0 && m.fd < 0)
		r = fail(-errno);
	if (r == 0 && flock(m.fd, LOCK_EX | LOCK_NB) < 0) {
		reason_set(why, "%s/%s: another ringfeed pack is at work here", how->folder, name);
		r = errno == EWOULDBLOCK ? PACK_E_REFUSED : fail(-errno);
	}
	if (r == 0)
		r = resume(&m, how, ours, plans, why);
	json_decref(ours);
	if (r != 0) {
		if (m.fd >= 0 && lseek(m.fd, 0, SEEK_END) == 0)
			unlinkat(folder_fd, name, 0); /* nothing stands in it: we made it */
		manifest_close(&m);
		return r;
	}
	*ret = m;
	return 0;
}

void manifest_close(struct manifest *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

int manifest_add(struct manifest *m, const struct manifest_shard *shard)
{
	char name[SHARD_NAME_BYTES];

	manifest_shard_name(m->name, shard->number, m->end, name);
	return write_line(m->fd, json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}",
					   "shard", name,
					   "number", (json_int_t)shard->number,
					   "samples", (json_int_t)shard->n_samples,
					   "left_out", (json_int_t)shard->n_left_out,
					   "bytes", (json_int_t)shard->n_bytes,
					   "content", hex(shard->content),
					   "xxh64", hex(shard->bytes_hash)));
}

int manifest_find(const char *shard_path, bool *ret_is_there, uint64_t *ret_n_bytes, uint64_t *ret_hash)
{
	const char *slash = strrchr(shard_path, '/'), *base = slash ? slash + 1 : shard_path;
	const char *dash = strrchr(base, '-'), *hash;
	char *path, *line = NULL;
	size_t room = 0;
	FILE *file;

	*ret_is_there = false;
	if (!dash)
		return 0;
	if (asprintf(&path, "%.*s-pack.jsonl", (int)(dash - shard_path), shard_path) < 0)
		return fail(-ENOMEM);
	file = fopen(path, "re");
	free(path);
	if (!file)
		return 0;
	while (getline(&line, &room, file) > 0) { /* the last line that names it counts */
		json_t *json = strstr(line, base) ? json_loads(line, 0, NULL) : NULL;
		const char *name = json_string_value(json_object_get(json, "shard"));

		hash = json_string_value(json_object_get(json, "xxh64"));
		if (name && hash && strcmp(name, base) == 0) {
			*ret_is_there = true;
			*ret_n_bytes = (uint64_t)json_integer_value(json_object_get(json, "bytes"));
			*ret_hash = strtoull(hash, NULL, 16);
		}
		json_decref(json);
	}
	free(line);
	fclose(file);
	return 0;
}
