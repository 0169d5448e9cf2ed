/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a pack takes in: samples in their final order, each with its key, its parts (a whole file, or a
 * stretch of a tar) and its label, and the classes that labels stand for. Filled by tree.c, table.c or
 * tars.c, then finished once; never changes after.
 *
 * Everything that is not taken is told with its reason, by path. is_sample: it was meant to be one (an
 * image, a row of the list), so that leaving it out is a loss.
 *
 * Threads: one caller while it is filled; any once finished.
 */
#ifndef PACK_CATALOG_H
#define PACK_CATALOG_H

#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { PACK_E_REFUSED = 1, PACK_E_STOPPED };

#define CATALOG_NONE UINT64_MAX

struct catalog_file {
	uint64_t path; /* offset into text of a zero-ended string, as all that is text here */
	uint64_t size, mtime_ns;
};

struct catalog_part {
	uint64_t extension;
	uint64_t offset, size; /* in the file */
	uint32_t file;
};

struct catalog_sample {
	uint64_t key;
	uint64_t class_name; /* CATALOG_NONE: the label is a number, or there is none */
	int64_t label;
	uint64_t order;
	uint32_t first_part, n_parts;
	bool has_label;
	bool is_dropped;
};

struct catalog {
	char *text;
	struct catalog_file *files;
	struct catalog_part *parts;
	struct catalog_sample *samples;
	uint64_t *classes; /* names; the number of a class is its place */
	size_t n_text, n_files, n_parts, n_samples, n_classes;
	size_t text_room, files_room, parts_room, samples_room, classes_room;
	bool is_sorted;	    /* by key; else as they were added */
	bool has_any_keys;  /* only neighbours must differ, as in tars */
	bool is_checked;    /* an image's first bytes must be an image's */
	uint64_t shuffle;   /* seed, or 0 */
	void *context;
	void (*on_left_out)(void *context, const char *path, bool is_sample, const char *why);
	bool (*is_stopped)(void *context);
};

/* One image file. path: to open it; name: its path as seen from the source, which makes the key. */
struct catalog_image {
	const char *path, *name;
	const char *class_name; /* or NULL */
	const int64_t *label;	/* or NULL */
	const struct stat *st;
};

void catalog_deinit(struct catalog *c);
/* Tells why a path is not taken. */
void catalog_leave_out(struct catalog *c, const char *path, bool is_sample, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Copies text in. 0 or -errno. */
int catalog_text(struct catalog *c, const char *text, size_t n, uint64_t *ret);
/* Adds an image, or leaves it out. 0 or -errno. */
int catalog_add_image(struct catalog *c, const struct catalog_image *image);
/* The next sample, whose parts follow by catalog_add_part. 0 or -errno. */
int catalog_add_sample(struct catalog *c, const char *key, size_t n_key);
int catalog_add_file(struct catalog *c, const char *path, const struct stat *st);
int catalog_add_part(struct catalog *c, const char *extension, uint64_t offset, uint64_t size);
/* Is it jpg, jpeg, png or webp, in any case? */
bool catalog_is_image_name(const char *name);

/* Numbers the classes (given: a file with one per line, or NULL), leaves out what has a key twice, and
 * orders. 0, PACK_E_REFUSED with the reason, or -errno. */
int catalog_finish(struct catalog *c, const char *classes_file, struct reason *why);

/* A folder tree; the folder with these device and inode is passed over (NULL: none). */
int catalog_add_tree(struct catalog *c, const char *root, const struct stat *except, struct reason *why);
/* A .csv or .jsonl list with path and label. */
int catalog_add_table(struct catalog *c, const char *path, struct reason *why);
/* Tars: a pattern as in the configuration. */
int catalog_add_tars(struct catalog *c, const char *pattern, struct reason *why);

static inline const char *catalog_at(const struct catalog *c, uint64_t offset)
{
	return c->text + offset;
}

#endif
