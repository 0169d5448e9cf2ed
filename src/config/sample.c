/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The table printed as a file that loads: what has no default and is not needed stands there as a comment. */
#include "config/config.h"
#include "config/keys.h"

#include "base/fault.h"

#include <errno.h>
#include <string.h>

enum { COLUMNS = 100, INDENT = 2 };

static void put_scope(FILE *file, int scope, unsigned indent);

/* Words of text, broken into lines that begin with mark and "# ". */
static void put_marked(FILE *file, unsigned indent, const char *mark, const char *text)
{
	unsigned column = 0;

	while (*text) {
		unsigned n = (unsigned)strcspn(text, " ");

		if (column > 0 && column + 1 + n > COLUMNS) {
			fputc('\n', file);
			column = 0;
		}
		if (column == 0)
			column = (unsigned)fprintf(file, "%*s%s# %.*s", (int)indent, "", mark, (int)n, text);
		else
			column += (unsigned)fprintf(file, " %.*s", (int)n, text);
		text += n + (text[n] == ' ');
	}
	fputc('\n', file);
}

static void put_comment(FILE *file, unsigned indent, const char *text)
{
	put_marked(file, indent, "", text);
}

static const char *last_name(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot ? dot + 1 : path;
}

/* One row: what it means, what it takes, and its value. */
static void put_row(FILE *file, const struct key *k, unsigned indent)
{
	bool is_needed = k->fallback == key_required || k->fallback == key_either;
	bool is_active = is_needed || (k->fallback && !k->sample);
	bool has_default = k->fallback && !is_needed;
	char text[1200];

	snprintf(text, sizeof(text), "%s Accepted: %s%s.%s", k->sentence, key_accepted(k).text,
		 k->fallback == key_required ? "; required" : k->fallback ? "" : "; no default",
		 key_is_live(k->scope, k->path) ? " Live: SIGHUP changes it." : "");
	put_comment(file, indent, text);
	fprintf(file, "%*s%s%s: %s\n", (int)indent, "", is_active ? "" : "# ",
		last_name(k->path), has_default ? k->fallback : k->sample);
}

static void put_step(FILE *file, enum step_kind kind, unsigned indent)
{
	bool is_active = step_texts[kind].is_active;
	const char *mark = is_active ? "    " : "#     ";

	put_comment(file, indent, step_texts[kind].sentence);
	fprintf(file, "%*s%s- %s:\n", (int)indent, "", is_active ? "" : "# ", step_name(kind));
	for (size_t i = 0; i < n_keys; i++) {
		const struct key *k = &keys[i];
		char text[900];

		if ((int)k->scope != SCOPE_STEP + (int)kind)
			continue;
		snprintf(text, sizeof(text), "%s Accepted: %s%s.", k->sentence, key_accepted(k).text,
			 k->fallback == key_required ? "; required" : "");
		put_marked(file, indent, mark, text);
		fprintf(file, "%*s%s%s: %s\n", (int)indent, "", mark, k->path,
			k->fallback == key_required ? k->sample : k->fallback);
	}
}

/* Not needed, so a comment. */
static void put_views(FILE *file, const struct key *k, unsigned indent)
{
	fprintf(file, "%*s# %s:\n", (int)indent, "", k->path);
	fprintf(file, "%*s#   small:\n", (int)indent, "");
	fprintf(file, "%*s#     image: {transform: [{random_resized_crop: {size: 96}}], dtype: uint8, layout: hwc}\n",
		(int)indent, "");
}

static void put_group(FILE *file, const struct key *k, unsigned indent)
{
	put_comment(file, indent, k->sentence);
	if (k->type == KEY_VIEWS) {
		put_views(file, k, indent);
		return;
	}
	fprintf(file, "%*s%s:\n", (int)indent, "", k->path);
	if (k->scope == SCOPE_ROOT && k->type == KEY_MAP) {
		put_scope(file, SCOPE_DAEMON, indent + INDENT);
	} else if (k->scope == SCOPE_ROOT) {
		fprintf(file, "%*strain:\n", (int)indent + INDENT, "");
		put_scope(file, SCOPE_FEED, indent + 2 * INDENT);
	} else if (k->type == KEY_SOURCES) {
		put_scope(file, SCOPE_SOURCE, indent + INDENT);
	} else if (k->type == KEY_NAMED_MAPS) {
		fprintf(file, "%*simage:\n", (int)indent + INDENT, "");
		put_scope(file, SCOPE_FIELD, indent + 2 * INDENT);
		fprintf(file, "%*slabel: {from: cls, decode: integer}\n", (int)indent + INDENT, "");
	} else if (k->type == KEY_STEPS) {
		for (int i = 0; i < STEP_COUNT; i++)
			put_step(file, (enum step_kind)i, indent + INDENT);
	}
}

static void put_scope(FILE *file, int scope, unsigned indent)
{
	for (size_t i = 0; i < n_keys; i++) {
		const struct key *k = &keys[i];

		if ((int)k->scope != scope)
			continue;
		if (k->type <= KEY_STEPS) {
			put_group(file, k, indent);
		} else if (key_has_children(scope, k->path)) {
			put_comment(file, indent, k->sentence);
			fprintf(file, "%*s%s:\n", (int)indent, "", k->path);
		} else {
			put_row(file, k, indent + (strchr(k->path, '.') ? INDENT : 0));
		}
	}
}

int config_print_sample(FILE *file)
{
	put_comment(file, 0,
		    "Every key of ringfeed's configuration, with its default where it has one. This file is "
		    "printed by `ringfeed help config` and loads as it is.");
	put_comment(file, 0,
		    "Plain YAML: no anchors, aliases or tags; unknown keys and wrong units are faults.");
	put_comment(file, 0,
		    "A key can be overridden by --set daemon.workers=4, and below that by the environment: "
		    "RINGFEED_DAEMON__WORKERS=4, RINGFEED_FEEDS__TRAIN__SLOTS=8.");
	put_comment(file, 0, "In paths ${NAME} stands for a variable of the environment.");
	fputc('\n', file);
	put_scope(file, SCOPE_ROOT, 0);
	return ferror(file) ? fail(-EIO) : 0;
}
