/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A list with path and label: CSV as RFC 4180 has it, less line breaks inside fields, or one JSON object
 * a line. Paths are relative to the list's folder. Labels are numbers if all of them are integers, else
 * names of classes. A row that cannot be read ends the pack with its line number: half a list is no list.
 */
#include "pack/catalog.h"

#include "base/fault.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, COLUMNS_MAX = 256 };

struct table {
	struct catalog *catalog;
	const char *path;
	char folder[PATH_BYTES]; /* with its slash, or "" */
	bool is_json;
	int path_column, label_column;
	unsigned long long line;
	size_t n_numbers, n_names;
	struct reason *why;
};

struct row {
	const char *path, *name;
	int64_t number;
	bool is_number;
};

static int refuse(const struct table *t, const char *text)
{
	reason_set(t->why, "%s:%llu: %s", t->path, t->line, text);
	return PACK_E_REFUSED;
}

/* Cuts the line into fields in place. Their number, or -1: quotes that do not close, or too many. */
static int cut(char *line, char **fields)
{
	char *from = line, *to;
	int n = 0;

	for (;;) {
		if (n == COLUMNS_MAX)
			return -1;
		fields[n++] = to = from;
		if (*from == '"') {
			for (from++; *from && (*from != '"' || from[1] == '"'); from++) {
				from += *from == '"';
				*to++ = *from;
			}
			if (*from++ != '"' || (*from && *from != ','))
				return -1;
		} else {
			to = from += strcspn(from, ",");
		}
		if (!*from) {
			*to = '\0';
			return n;
		}
		from++;
		*to = '\0';
	}
}

static int read_header(struct table *t, char *line)
{
	char *fields[COLUMNS_MAX], text[400];
	int n = cut(line, fields);

	t->path_column = t->label_column = -1;
	for (int i = 0; i < n; i++) {
		if (strcmp(fields[i], "path") == 0)
			t->path_column = i;
		else if (strcmp(fields[i], "label") == 0)
			t->label_column = i;
	}
	if (t->path_column >= 0 && t->label_column >= 0)
		return 0;
	snprintf(text, sizeof(text), "the first line must name the columns path and label; it begins with '%.80s'",
		 n > 0 ? fields[0] : line);
	return refuse(t, text);
}

static bool read_integer(const char *text, int64_t *ret)
{
	const char *digits = text + (*text == '-');
	char *end;

	if (strspn(digits, "0123456789") != strlen(digits) || !*digits)
		return false;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return errno == 0;
}

static int read_csv(struct table *t, char *line, struct row *ret)
{
	char *fields[COLUMNS_MAX];
	int n = cut(line, fields);

	if (n < 0)
		return refuse(t, "a quote that does not close, or more than 256 columns");
	if (n <= t->path_column || n <= t->label_column)
		return refuse(t, "the row has too few columns");
	ret->path = fields[t->path_column];
	ret->name = fields[t->label_column];
	ret->is_number = read_integer(ret->name, &ret->number);
	return 0;
}

static int read_json(struct table *t, const json_t *row, struct row *ret)
{
	const json_t *path = json_object_get(row, "path"), *label = json_object_get(row, "label");

	if (!json_is_string(path) || !(json_is_string(label) || json_is_integer(label)))
		return refuse(t, "no object with \"path\" (a string) and \"label\" (a string or an integer)");
	ret->path = json_string_value(path);
	ret->name = json_string_value(label);
	ret->is_number = json_is_integer(label);
	ret->number = json_integer_value(label);
	return 0;
}

static int add_row(struct table *t, const struct row *row)
{
	char path[PATH_BYTES], number[32];
	struct catalog_image image = {.path = path, .name = row->path, .label = row->is_number ? &row->number : NULL,
				      .class_name = row->name};
	struct stat st;
	bool is_absolute = row->path[0] == '/';

	if (!*row->path || (!row->is_number && !*row->name))
		return refuse(t, "path or label is empty");
	if (row->is_number && !row->name) {
		snprintf(number, sizeof(number), "%lld", (long long)row->number);
		image.class_name = number;
	}
	for (const char *p = image.class_name; *p; p++)
		if ((unsigned char)*p < 0x20)
			return refuse(t, "the label has control characters");
	*(row->is_number ? &t->n_numbers : &t->n_names) += 1;
	if (snprintf(path, sizeof(path), "%s%s", is_absolute ? "" : t->folder, row->path) >= PATH_BYTES)
		return refuse(t, "the path is too long");
	if (stat(path, &st) < 0)
		catalog_leave_out(t->catalog, path, true, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		catalog_leave_out(t->catalog, path, true, "not a regular file");
	else if (!catalog_is_image_name(row->path))
		catalog_leave_out(t->catalog, path, true, "not an image: no jpg, jpeg, png or webp by its name");
	else {
		image.st = &st;
		return catalog_add_image(t->catalog, &image);
	}
	return 0;
}

static int take_line(struct table *t, char *line)
{
	struct row row;
	json_error_t error;
	json_t *json;
	int r;

	if (!t->is_json && t->line == 1)
		return read_header(t, line);
	if (!t->is_json) {
		r = read_csv(t, line, &row);
		return r ? r : add_row(t, &row);
	}
	json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	r = json ? read_json(t, json, &row) : refuse(t, error.text);
	if (r == 0)
		r = add_row(t, &row);
	json_decref(json);
	return r;
}

static int read_lines(struct table *t, FILE *file)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = getline(&line, &room, file)) >= 0) {
		char *text = line;

		t->line++;
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = '\0';
		if (t->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
			text += 3;
		if (strlen(line) != (size_t)n)
			r = refuse(t, "the line has a zero byte");
		else if (t->catalog->is_stopped(t->catalog->context))
			r = PACK_E_STOPPED;
		else if (*text)
			r = take_line(t, text);
	}
	if (r == 0 && ferror(file))
		r = fail(-EIO);
	free(line);
	return r;
}

/* All integers: numbers. Else all are names: also those that look like one in CSV, but in JSON a number
 * beside a string is a slip. */
static int settle_labels(const struct table *t)
{
	struct catalog *c = t->catalog;

	if (t->is_json && t->n_numbers && t->n_names) {
		reason_set(t->why, "%s: some labels are strings, some are integers", t->path);
		return PACK_E_REFUSED;
	}
	for (size_t i = 0; t->n_names == 0 && i < c->n_samples; i++)
		c->samples[i].class_name = CATALOG_NONE;
	return 0;
}

int catalog_add_table(struct catalog *c, const char *path, struct reason *why)
{
	struct table t = {.catalog = c, .path = path, .why = why};
	const char *slash = strrchr(path, '/');
	FILE *file = fopen(path, "re");
	int r;

	if (!file || strlen(path) >= PATH_BYTES) {
		reason_set(why, "%s: %s", path, strerror(file ? ENAMETOOLONG : errno));
		if (file)
			fclose(file);
		return PACK_E_REFUSED;
	}
	if (slash)
		snprintf(t.folder, sizeof(t.folder), "%.*s", (int)(slash + 1 - path), path);
	t.is_json = strlen(path) > 6 && strcmp(path + strlen(path) - 6, ".jsonl") == 0;
	c->is_checked = true;
	r = read_lines(&t, file);
	fclose(file);
	if (r == 0)
		r = settle_labels(&t);
	return r < 0 ? pass(r) : r;
}
