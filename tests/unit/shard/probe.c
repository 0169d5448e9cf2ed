/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Shows what the room makes of files, for the Python tests to compare: one line a thing, words apart
 * by blanks, names in hex.
 *
 *	probe scan PIECE PATH…     members, groups and the end of each archive, fed PIECE bytes at a time
 *	probe save|load|dali CACHE PATH…   (CACHE "-": none) the index of each shard
 *	probe key CACHE PATH N     one key from the saved index
 *	probe table FIELDS PATH…   FIELDS: extensions joined by ",", fields by ";"
 *	probe units PIECE FIELDS PATH…   the table, then the units and what comes out of each
 *	probe saved-units PIECE FIELDS PATH…   the same by saved indexes
 *	probe list PATTERN…
 */
#include "base/hash.h"
#include "shard/index.h"
#include "shard/inflate.h"
#include "shard/list.h"
#include "shard/packed.h"
#include "shard/samples.h"
#include "shard/tar.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_hex(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%02x", (unsigned char)text[i]);
	if (n == 0)
		putchar('-');
}

struct scanning {
	int fd;
	bool is_quiet;
	struct index_builder *builder;
	uint64_t n_reads, n_bytes;
	bool is_packed;
};

/* The header that reads find at the place must say what the scan said. */
static bool is_read_the_same(int fd, const struct tar_member *m)
{
	static struct tar_header header;
	size_t n = m->payload_offset - m->header_offset;
	char *bytes = malloc(n);
	struct reason why;
	bool is_same = pread(fd, bytes, n, (off_t)m->header_offset) == (ssize_t)n &&
		       tar_header_read(bytes, n, &header, &why) == 0 &&
		       strcmp(header.name, m->name) == 0 && header.size == m->size &&
		       header.payload_at == n;

	free(bytes);
	return is_same;
}

static int on_member(void *context, const struct tar_member *m)
{
	struct scanning *s = context;

	if (!s->is_quiet) {
		printf("member %" PRIu64 " %" PRIu64 " %" PRIu64 " ", m->header_offset,
		       m->payload_offset, m->size);
		print_hex(m->name, strlen(m->name));
		printf("%s\n", s->is_packed || is_read_the_same(s->fd, m) ? "" : " differs-when-read");
	}
	return index_builder_add(s->builder, m);
}

static int drive(struct scanning *s, struct tar_scan *scan, size_t piece, struct reason *why)
{
	char *bytes = malloc(piece ? piece : TAR_WANT_MAX);
	uint64_t offset;
	size_t n;
	int r = 0;

	while (r == 0) {
		ssize_t k;

		tar_scan_want(scan, &offset, &n);
		if (piece && n > piece)
			n = piece;
		k = pread(s->fd, bytes, n, (off_t)offset);
		if (k < 0)
			exit(1);
		s->n_reads++;
		s->n_bytes += (uint64_t)k;
		r = tar_scan_feed(scan, bytes, (size_t)k, on_member, s, why);
	}
	free(bytes);
	return r;
}

/* A compressed one, from front to back. */
static int drive_packed(struct scanning *s, const char *path, enum packing packing, uint64_t size, size_t piece,
			struct reason *why)
{
	size_t n = piece ? piece : 1 << 20;
	char *bytes = malloc(n);
	struct packed_scan *scan;
	uint64_t at = 0;
	int r = packed_scan_new(path, packing, size, &scan);

	s->is_packed = true;
	while (r == 0 && at < size) {
		ssize_t k = pread(s->fd, bytes, n, (off_t)at);

		if (k <= 0)
			exit(1);
		at += (uint64_t)k;
		r = packed_scan_feed(scan, bytes, (size_t)k, on_member, s, why);
	}
	if (r == 0)
		r = packed_scan_end(scan, on_member, s, s->builder, why);
	packed_scan_free(scan);
	free(bytes);
	return r;
}

static int scan_any(struct scanning *s, const char *path, uint64_t size, size_t piece, struct reason *why)
{
	struct tar_scan *tar;
	char magic[PACKING_MAGIC];
	ssize_t n = pread(s->fd, magic, sizeof(magic), 0);
	enum packing packing = n > 0 ? packing_of(magic, (size_t)n) : PACKING_NONE;
	int r;

	if (packing != PACKING_NONE)
		return drive_packed(s, path, packing, size, piece, why);
	if (tar_scan_new(path, size, &tar) < 0)
		exit(1);
	r = drive(s, tar, piece, why);
	if (r == TAR_E_DONE)
		index_builder_take_scan(s->builder, tar);
	tar_scan_free(tar);
	return r == TAR_E_DONE ? 0 : r;
}

static int scan(const char *path, size_t piece, bool is_quiet, struct shard_index *ret)
{
	struct scanning s = {.fd = open(path, O_RDONLY | O_CLOEXEC), .is_quiet = is_quiet};
	struct reason why;
	struct stat st;
	int r;

	if (s.fd < 0 || fstat(s.fd, &st) < 0 || index_builder_new(&s.builder) < 0)
		exit(1);
	r = scan_any(&s, path, (uint64_t)st.st_size, piece, &why);
	if (r == 0) {
		index_builder_finish(s.builder, &st, ret);
	} else if (r == TAR_E_REFUSED) {
		printf("refused %s\n", why.text);
	} else {
		exit(1);
	}
	if (!is_quiet)
		printf("reads %" PRIu64 " %" PRIu64 "\n", s.n_reads, s.n_bytes);
	index_builder_free(s.builder);
	close(s.fd);
	return r;
}

static void print_index(const struct shard_index *x)
{
	for (uint64_t i = 0; i < x->n_samples; i++) {
		const struct index_sample *sample = &x->samples[i];

		printf("sample %u ", sample->flags);
		print_hex(x->text + sample->key, strlen(x->text + sample->key));
		for (uint32_t k = 0; k < sample->n_members; k++) {
			const struct index_member *m = &x->members[sample->first_member + k];

			printf(" %" PRIu64 ":%" PRIu64 ":%" PRIu64 ":", m->header_offset,
			       m->payload_offset, m->size);
			print_hex(x->text + m->extension, strlen(x->text + m->extension));
		}
		putchar('\n');
	}
	for (uint64_t i = 0; i < x->n_frames; i++)
		printf("frame %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %08x\n", x->frames[i].offset,
		       x->frames[i].n_bytes, x->frames[i].raw_offset, x->frames[i].n_raw,
		       x->frames[i].has_checksum, x->frames[i].checksum);
	if (x->packing != PACKING_NONE)
		printf("packed %s %" PRIu64 "\n", packing_name(x->packing), x->raw_size);
	printf("end %" PRIu64 " %" PRIu64 " %d %" PRIu64 " %016" PRIx64 "\n", x->trailing_offset,
	       x->trailing_bytes, x->is_unterminated, x->n_skipped, x->places_hash);
}

static void index_one(const char *how, const char *cache, const char *path)
{
	struct shard_index x = {0};
	struct reason why = {""};
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		exit(1);
	if (strcmp(how, "save") == 0) {
		r = scan(path, 0, true, &x);
		if (r == 0)
			r = shard_index_save(&x, path, cache);
	} else if (strcmp(how, "load") == 0) {
		r = shard_index_load(path, cache, &st, &x);
	} else {
		r = shard_index_load_dali(path, &st, &x, &why);
	}
	printf("result %d %s\n", r, why.text);
	if (r == 0)
		print_index(&x);
	shard_index_deinit(&x);
}

static void print_key(const char *cache, const char *path, uint64_t sample)
{
	char key[TAR_NAME_MAX];
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		exit(1);
	r = shard_index_key(path, cache, &st, sample, key, sizeof(key), NULL);
	printf("result %d\n", r);
	if (r == 0) {
		print_hex(key, strlen(key));
		putchar('\n');
	}
}

static void parse_fields(char *text, struct pipeline *p)
{
	char *outer, *inner;

	for (char *f = strtok_r(text, ";", &outer); f; f = strtok_r(NULL, ";", &outer)) {
		struct field *field = &p->fields[p->n_fields++];

		for (char *e = strtok_r(f, ",", &inner); e; e = strtok_r(NULL, ",", &inner))
			snprintf(field->extensions[field->n_extensions++], EXTENSION_MAX, "%s", e);
	}
}

/* What comes out of the unit, fed piece by piece, between bytes that must stay as they are. */
static void inflate_unit(const struct samples *s, const struct sample_shard *shard, const struct sample_unit *u,
			 size_t piece, struct inflate *x)
{
	enum { GUARD = 64 };
	int fd = open(shard->path, O_RDONLY | O_CLOEXEC), r = 0;
	uint8_t *into = malloc(u->n_raw + 2 * GUARD), *bytes = malloc(piece);
	struct reason why = {""};

	memset(into, 0xa5, u->n_raw + 2 * GUARD);
	inflate_begin(x, shard->packing, u, &s->frames[u->first_frame], into + GUARD);
	for (uint64_t at = 0; r == 0 && at < u->n_bytes;) {
		size_t n = u->n_bytes - at < piece ? (size_t)(u->n_bytes - at) : piece;

		if (pread(fd, bytes, n, (off_t)(u->offset + at)) != (ssize_t)n)
			exit(1);
		r = inflate_feed(x, bytes, n, &why);
		at += n;
	}
	if (r == 0)
		r = inflate_end(x, &why);
	for (size_t i = 0; i < GUARD; i++)
		if (into[i] != 0xa5 || into[GUARD + u->n_raw + i] != 0xa5)
			exit(1);
	if (r)
		printf("damaged %s\n", why.text);
	else
		printf("%016" PRIx64 "\n", hash_bytes(into + GUARD, u->n_raw));
	free(into);
	free(bytes);
	close(fd);
}

static void print_units(const struct samples *s, size_t piece)
{
	struct inflate *x;

	if (inflate_new(&x) < 0)
		exit(1);
	for (size_t i = 0; i < s->n_shards; i++) {
		const struct sample_shard *shard = &s->shards[i];

		for (uint32_t k = shard->first_unit; k < shard->first_unit + shard->n_units; k++) {
			const struct sample_unit *u = &s->units[k];

			printf("unit %zu %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " ", i, u->offset, u->n_bytes,
			       u->raw_offset, u->n_raw);
			inflate_unit(s, shard, u, piece, x);
		}
		for (uint64_t k = s->starts[i]; shard->n_units && k < s->starts[i + 1]; k++)
			for (unsigned f = 0; f < s->n_fields; f++) {
				const struct sample_place *p = samples_place(s, k, f);
				uint64_t start = (uint64_t)p->header_block * 512, end = start + shard->header_bytes + p->size;

				if (p->header_block < SAMPLE_REPEATED)
					printf("extent %zu %" PRIu64 " %" PRIu64 " %u\n", i, start, end,
					       samples_unit(s, (uint32_t)i, start, end < shard->raw_size ? end : shard->raw_size));
			}
	}
	inflate_free(x);
	printf("units %" PRIu64 " %" PRIu64 " %u\n", s->n_frames, s->largest_unit, s->most_units);
}

static void print_table(size_t piece, bool is_saved, char *fields, char **paths, size_t n_paths)
{
	static struct pipeline p;
	struct samples s;
	struct reason why;

	parse_fields(fields, &p);
	if (samples_init(&s, &p, n_paths) < 0)
		exit(1);
	for (size_t i = 0; i < n_paths; i++) {
		struct shard_index x = {0};
		struct stat st;
		int r;

		if (stat(paths[i], &st) < 0 ||
		    (is_saved ? shard_index_load(paths[i], NULL, &st, &x) : scan(paths[i], 0, true, &x)) != 0)
			exit(1);
		r = samples_add(&s, &p, 0, paths[i], &st, &x, &why);
		if (r < 0)
			exit(1);
		if (r > 0)
			printf("refused %s\n", why.text);
		shard_index_deinit(&x);
	}
	samples_finish(&s);
	for (uint64_t i = 0; i < s.n_samples; i++) {
		printf("row");
		for (unsigned f = 0; f < s.n_fields; f++)
			printf(" %u:%u", samples_place(&s, i, f)->header_block,
			       samples_place(&s, i, f)->size);
		putchar('\n');
	}
	for (size_t i = 0; i < s.n_shards; i++)
		printf("shard %" PRIu64 " %u\n", s.starts[i], s.shards[i].header_bytes);
	printf("end %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", s.starts[s.n_shards], s.largest_extent,
	       s.total_bytes, s.fingerprint);
	if (piece)
		print_units(&s, piece);
	samples_deinit(&s);
}

static void print_list(char **patterns, size_t n)
{
	struct shard_list list = {0};
	struct reason why;
	int r = shard_list_expand((const char *const *)patterns, n, &list, &why);

	if (r == SHARD_E_LIST)
		printf("refused %s\n", why.text);
	else if (r < 0)
		exit(1);
	for (size_t i = 0; i < list.n_paths; i++) {
		printf("path ");
		print_hex(list.paths[i], strlen(list.paths[i]));
		putchar('\n');
	}
	shard_list_deinit(&list);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "", *cache = NULL;

	if (strcmp(how, "list") == 0) {
		print_list(argv + 2, (size_t)argc - 2);
	} else if (strcmp(how, "table") == 0) {
		print_table(0, false, argv[2], argv + 3, (size_t)argc - 3);
	} else if (strcmp(how, "units") == 0 && argc > 3) {
		print_table(strtoul(argv[2], NULL, 10), false, argv[3], argv + 4, (size_t)argc - 4);
	} else if (strcmp(how, "saved-units") == 0 && argc > 3) {
		print_table(strtoul(argv[2], NULL, 10), true, argv[3], argv + 4, (size_t)argc - 4);
	} else if (strcmp(how, "scan") == 0) {
		for (int i = 3; i < argc; i++) {
			struct shard_index x = {0};

			printf("archive %d\n", i - 3);
			if (scan(argv[i], strtoul(argv[2], NULL, 10), false, &x) == 0)
				print_index(&x);
			shard_index_deinit(&x);
		}
	} else {
		cache = argc > 2 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
		if (strcmp(how, "key") == 0 && argc == 5) {
			print_key(cache, argv[3], strtoull(argv[4], NULL, 10));
			return 0;
		}
		for (int i = 3; i < argc; i++)
			index_one(how, cache, argv[i]);
	}
	return 0;
}
