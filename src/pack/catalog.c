/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Keys are the paths without extension, so that ledger, inspect and a model's mistakes name the photo
 * itself. WebDataset ends a key at the first dot of the base name: dots in there become underscores.
 * Whether a name gives its sample back is asked of the splitter that readers use.
 */
#include "pack/catalog.h"

#include "base/fault.h"
#include "base/hash.h"
#include "pack/ustar.h"
#include "shard/tar.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void catalog_deinit(struct catalog *c)
{
	free(c->text);
	free(c->files);
	free(c->parts);
	free(c->samples);
	free(c->classes);
	*c = (struct catalog){0};
}

void catalog_leave_out(struct catalog *c, const char *path, bool is_sample, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->on_left_out(c->context, path, is_sample, text);
}

static int reserve(void *array, size_t *room, size_t n_wanted, size_t size)
{
	void **at = array, *grown;
	size_t n = n_wanted * 3 / 2 + 64;

	if (n_wanted <= *room)
		return 0;
	grown = reallocarray(*at, n, size);
	if (!grown)
		return fail(-ENOMEM);
	*at = grown;
	*room = n;
	return 0;
}

int catalog_text(struct catalog *c, const char *text, size_t n, uint64_t *ret)
{
	int r = reserve(&c->text, &c->text_room, c->n_text + n + 1, 1);

	if (r < 0)
		return pass(r);
	memcpy(c->text + c->n_text, text, n);
	c->text[c->n_text + n] = '\0';
	*ret = c->n_text;
	c->n_text += n + 1;
	return 0;
}

int catalog_add_sample(struct catalog *c, const char *key, size_t n_key)
{
	uint64_t at;
	int r = reserve(&c->samples, &c->samples_room, c->n_samples + 1, sizeof(*c->samples));

	if (r == 0)
		r = catalog_text(c, key, n_key, &at);
	if (r < 0)
		return pass(r);
	if (c->n_parts > UINT32_MAX)
		return fail(-EOVERFLOW);
	c->samples[c->n_samples] = (struct catalog_sample){
		.key = at, .class_name = CATALOG_NONE, .order = c->n_samples, .first_part = (uint32_t)c->n_parts};
	c->n_samples++;
	return 0;
}

int catalog_add_file(struct catalog *c, const char *path, const struct stat *st)
{
	uint64_t at;
	int r = reserve(&c->files, &c->files_room, c->n_files + 1, sizeof(*c->files));

	if (r == 0)
		r = catalog_text(c, path, strlen(path), &at);
	if (r < 0)
		return pass(r);
	if (c->n_files == UINT32_MAX)
		return fail(-EOVERFLOW);
	c->files[c->n_files++] = (struct catalog_file){
		.path = at,
		.size = (uint64_t)st->st_size,
		.mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec,
	};
	return 0;
}

int catalog_add_part(struct catalog *c, const char *extension, uint64_t offset, uint64_t size)
{
	uint64_t at;
	int r = reserve(&c->parts, &c->parts_room, c->n_parts + 1, sizeof(*c->parts));

	if (r == 0)
		r = catalog_text(c, extension, strlen(extension), &at);
	if (r < 0)
		return pass(r);
	c->parts[c->n_parts++] = (struct catalog_part){
		.extension = at, .offset = offset, .size = size, .file = (uint32_t)(c->n_files - 1)};
	c->samples[c->n_samples - 1].n_parts++;
	return 0;
}

bool catalog_is_image_name(const char *name)
{
	static const char *const extensions[] = {"jpg", "jpeg", "png", "webp"};
	const char *base = strrchr(name, '/'), *dot = strrchr(base ? base + 1 : name, '.');

	for (size_t i = 0; dot && i < sizeof(extensions) / sizeof(*extensions); i++)
		if (strcasecmp(dot + 1, extensions[i]) == 0)
			return true;
	return false;
}

/* ---- keys ---- */

/* The name without leading "/", and without "." and ".." steps: what a tar may hold. */
static void clean(const char *name, char *ret)
{
	size_t n = 0;

	while (*name) {
		size_t step = strcspn(name, "/");

		if (step && !(step == 1 && name[0] == '.') && !(step == 2 && name[0] == '.' && name[1] == '.')) {
			if (n)
				ret[n++] = '/';
			memcpy(ret + n, name, step);
			n += step;
		}
		name += step + (name[step] == '/');
	}
	ret[n] = '\0';
}

/* Splits "a/b.c.JPG" into the key "a/b_c" and "jpg". NULL, or why it cannot be. */
static const char *make_key(const char *name, char *key, char *extension, size_t n_extension)
{
	char member[TAR_NAME_MAX + 64], found[16];
	char *base, *dot;
	size_t n_key;

	if (strlen(name) >= TAR_NAME_MAX)
		return "the path is too long";
	clean(name, key);
	base = strrchr(key, '/');
	base = base ? base + 1 : key;
	dot = strrchr(base, '.');
	if (!dot || strlen(dot + 1) >= n_extension)
		return "the name has no extension of an image";
	for (size_t i = 0; i <= strlen(dot + 1); i++)
		extension[i] = dot[1 + i] >= 'A' && dot[1 + i] <= 'Z' ? (char)(dot[1 + i] + 32) : dot[1 + i];
	*dot = '\0';
	for (char *p = base; *p; p++)
		if (*p == '.')
			*p = '_';
	for (const char *p = key; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "the name has control characters";
	snprintf(member, sizeof(member), "%s.%s", key, extension);
	if (!tar_split_name(member, &n_key, found, sizeof(found)) || n_key != strlen(key) ||
	    strcmp(found, extension) != 0)
		return "WebDataset readers take no sample from this name";
	if (!ustar_fits(member))
		return "the name is too long for a ustar header (100 bytes behind a slash, 155 in front)";
	return NULL;
}

int catalog_add_image(struct catalog *c, const struct catalog_image *image)
{
	char key[TAR_NAME_MAX], extension[16];
	const char *why = make_key(image->name, key, extension, sizeof(extension));
	struct catalog_sample *s;
	int r;

	if (!why && image->st->st_size == 0)
		why = "the file is empty";
	if (!why && image->st->st_size >= UINT32_MAX)
		why = "the file is larger than 4 GiB";
	if (why) {
		catalog_leave_out(c, image->path, true, "%s", why);
		return 0;
	}
	r = catalog_add_sample(c, key, strlen(key));
	if (r == 0)
		r = catalog_add_file(c, image->path, image->st);
	if (r == 0)
		r = catalog_add_part(c, extension, 0, (uint64_t)image->st->st_size);
	if (r < 0)
		return pass(r);
	s = &c->samples[c->n_samples - 1];
	s->has_label = image->class_name || image->label;
	if (image->label)
		s->label = *image->label;
	return image->class_name ? catalog_text(c, image->class_name, strlen(image->class_name), &s->class_name) : 0;
}

/* ---- classes ---- */

static int compare_text(const void *a, const void *b, void *context)
{
	const struct catalog *c = context;

	return strcmp(catalog_at(c, *(const uint64_t *)a), catalog_at(c, *(const uint64_t *)b));
}

/* The number of a class in the sorted places (pairs of name and number), or -1. */
static int64_t find_class(const struct catalog *c, const uint64_t (*sorted)[2], uint64_t name)
{
	size_t low = 0, high = c->n_classes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(catalog_at(c, name), catalog_at(c, sorted[middle][0]));

		if (order == 0)
			return (int64_t)sorted[middle][1];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

static int read_classes(struct catalog *c, const char *path, struct reason *why)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int r = 0;

	if (!file) {
		reason_set(why, "%s: %s", path, strerror(errno));
		return PACK_E_REFUSED;
	}
	while (r == 0 && (n = getline(&line, &room, file)) > 0) {
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			n--;
		r = reserve(&c->classes, &c->classes_room, c->n_classes + 1, sizeof(*c->classes));
		if (r == 0)
			r = catalog_text(c, line, (size_t)n, &c->classes[c->n_classes++]);
	}
	free(line);
	fclose(file);
	return r < 0 ? pass(r) : 0;
}

/* Every class that a sample has, sorted by its bytes. */
static int gather_classes(struct catalog *c)
{
	int r = reserve(&c->classes, &c->classes_room, c->n_samples, sizeof(*c->classes));
	size_t n = 0;

	if (r < 0)
		return pass(r);
	for (size_t i = 0; i < c->n_samples; i++)
		if (c->samples[i].class_name != CATALOG_NONE)
			c->classes[n++] = c->samples[i].class_name;
	qsort_r(c->classes, n, sizeof(*c->classes), compare_text, c);
	for (size_t i = 0; i < n; i++)
		if (c->n_classes == 0 || compare_text(&c->classes[c->n_classes - 1], &c->classes[i], c) != 0)
			c->classes[c->n_classes++] = c->classes[i];
	return 0;
}

/* text: what the reason ends with. */
static void drop(struct catalog *c, struct catalog_sample *s, const char *why, const char *text)
{
	const char *path = catalog_at(c, c->files[c->parts[s->first_part].file].path);

	if (c->has_any_keys)
		catalog_leave_out(c, path, true, "sample %s: %s%s", catalog_at(c, s->key), why, text);
	else
		catalog_leave_out(c, path, true, "%s%s", why, text);
	s->is_dropped = true;
}

static int number_classes(struct catalog *c, const char *classes_file, struct reason *why)
{
	uint64_t (*sorted)[2];
	int r = classes_file ? read_classes(c, classes_file, why) : gather_classes(c);

	if (r != 0)
		return r < 0 ? pass(r) : r;
	sorted = calloc(c->n_classes + 1, sizeof(*sorted));
	if (!sorted)
		return fail(-ENOMEM);
	for (size_t i = 0; i < c->n_classes; i++) {
		sorted[i][0] = c->classes[i];
		sorted[i][1] = i;
	}
	qsort_r(sorted, c->n_classes, sizeof(*sorted), compare_text, c);
	for (size_t i = 0; i < c->n_samples; i++) {
		struct catalog_sample *s = &c->samples[i];

		if (s->class_name == CATALOG_NONE)
			continue;
		s->label = find_class(c, (const uint64_t(*)[2])sorted, s->class_name);
		if (s->label < 0)
			drop(c, s, "its class is not in the list of classes: ", catalog_at(c, s->class_name));
	}
	free(sorted);
	return 0;
}

/* ---- order ---- */

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_keys(const void *a, const void *b, void *context)
{
	const struct catalog_sample *x = a, *y = b;
	const struct catalog *c = context;
	int order = strcmp(catalog_at(c, x->key), catalog_at(c, y->key));

	return order ? order : compare_numbers(x->order, y->order);
}

static int compare_order(const void *a, const void *b)
{
	const struct catalog_sample *x = a, *y = b;

	return compare_numbers(x->order, y->order);
}

static void drop_twins(struct catalog *c)
{
	const struct catalog_sample *before = NULL;

	for (size_t i = 0; i < c->n_samples; i++) {
		struct catalog_sample *s = &c->samples[i];

		if (s->is_dropped)
			continue;
		if (before && strcmp(catalog_at(c, before->key), catalog_at(c, s->key)) == 0)
			drop(c, s, "the same key (path without extension) as ",
			     catalog_at(c, c->files[c->parts[before->first_part].file].path));
		else
			before = s;
	}
}

/* A mixture that depends on seed and key alone, so that one file more moves no other. */
static void shuffle(struct catalog *c)
{
	for (size_t i = 0; i < c->n_samples; i++) {
		const char *key = catalog_at(c, c->samples[i].key);

		c->samples[i].order = c->has_any_keys
			? XXH64(&c->samples[i].order, sizeof(c->samples[i].order), c->shuffle)
			: XXH64(key, strlen(key), c->shuffle);
	}
	qsort(c->samples, c->n_samples, sizeof(*c->samples), compare_order);
}

static void drop_unlabelled(struct catalog *c)
{
	size_t n_labelled = 0;

	for (size_t i = 0; i < c->n_samples; i++)
		n_labelled += c->samples[i].has_label;
	for (size_t i = 0; n_labelled && !c->has_any_keys && i < c->n_samples; i++)
		if (!c->samples[i].has_label)
			drop(c, &c->samples[i], "it lies in no class folder", "");
}

int catalog_finish(struct catalog *c, const char *classes_file, struct reason *why)
{
	size_t n = 0;
	int r;

	drop_unlabelled(c);
	r = number_classes(c, classes_file, why);
	if (r != 0)
		return r;
	if (!c->has_any_keys) {
		qsort_r(c->samples, c->n_samples, sizeof(*c->samples), compare_keys, c);
		drop_twins(c);
	}
	if (c->shuffle)
		shuffle(c);
	else if (!c->is_sorted)
		qsort(c->samples, c->n_samples, sizeof(*c->samples), compare_order);
	if (c->has_any_keys)
		drop_twins(c);
	for (size_t i = 0; i < c->n_samples; i++)
		if (!c->samples[i].is_dropped)
			c->samples[n++] = c->samples[i];
	c->n_samples = n;
	return 0;
}
