/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The environment and the command line put their values into the tree, where the one reader finds them.
 * They may set keys that are not in the file, but make no feeds or fields piece by piece: a slip in a
 * name would become a second, half-described feed.
 */
#include "config/read.h"
#include "config/nearest.h"
#include "config/document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct override {
	struct place place;
	const char *path, *value;
	size_t n_path;
	const char *between; /* "." or "__" */
	bool is_environment; /* upper case stands for any case, _ for - as well */
};

struct segment {
	char text[KEY_PATH_MAX];
};

static bool is_same(const struct override *o, const char *segment, const char *key)
{
	if (!o->is_environment)
		return strcmp(segment, key) == 0;
	for (; *segment && *key; segment++, key++)
		if (strncasecmp(segment, key, 1) != 0 && !(*segment == '_' && *key == '-'))
			return false;
	return !*segment && !*key;
}

static struct node *find(const struct override *o, const struct node *parent, const char *segment)
{
	char *end;
	unsigned long i;

	if (parent->kind == NODE_LIST) {
		i = strtoul(segment, &end, 10);
		return *segment >= '0' && *segment <= '9' && !*end ? node_at(parent, i) : NULL;
	}
	for (struct node *c = parent->kind == NODE_MAP ? parent->first : NULL; c; c = c->next)
		if (is_same(o, segment, c->key->text))
			return c;
	return NULL;
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

/* Cuts the next segment off the path; false at the end. */
static bool next_segment(struct override *o, struct segment *ret)
{
	const char *end;
	size_t n;

	if (!o->path)
		return false;
	end = memmem(o->path, o->n_path, o->between, strlen(o->between));
	n = end ? (size_t)(end - o->path) : o->n_path;
	snprintf(ret->text, sizeof(ret->text), "%.*s", (int)n, o->path);
	o->n_path -= end ? n + strlen(o->between) : n;
	o->path = end ? end + strlen(o->between) : NULL;
	return true;
}

static void no_such_name(struct reader *rd, const struct override *o, const struct node *parent,
			 const char *name)
{
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (const struct node *c = parent->kind == NODE_MAP ? parent->first : NULL; c; c = c->next)
		nearest_try(&nearest, c->key->text);
	report_fault(&rd->report, &o->place, "the file has no %s%s%s%s", quote_text(name).text,
		     nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "",
		     nearest.best ? "?" : "");
}

static struct node *new_child(struct reader *rd, const struct override *o, struct node *parent,
			      const char *name, struct node *child)
{
	struct node *key = tree_node(&rd->tree, NODE_SCALAR, &o->place);

	if (key)
		key->text = tree_text(&rd->tree, name, strlen(name));
	if (!child)
		child = tree_node(&rd->tree, NODE_MAP, &o->place);
	if (!key || !key->text || !child) {
		report_no_node(&rd->report, &rd->tree, &o->place);
		return NULL;
	}
	child->key = key;
	node_add(parent, child);
	return child;
}

/* Names of feeds and fields must be in the file already, unless the whole of one is given. */
static bool is_name(const struct segment *before, unsigned depth)
{
	return (depth == 1 && strcmp(before->text, "feeds") == 0) ||
	       (depth == 3 && (strcmp(before->text, "fields") == 0 || strcmp(before->text, "views") == 0));
}

/* Puts value where the rest of the path leads from node. */
static void put(struct reader *rd, struct override *o, struct node *node, struct node *value)
{
	struct segment segment, before = {""};

	for (unsigned depth = 0; next_segment(o, &segment); depth++) {
		struct node *child = find(o, node, segment.text);
		bool is_last = !o->path;

		report_enter(&rd->report, child && child->key ? child->key->text : segment.text);
		if (node->kind != NODE_MAP && !child) {
			if (node->kind != NODE_BAD)
				report_fault(&rd->report, &o->place, "nothing can be set below %s; set the whole",
					     quote_node(node).text);
			return;
		}
		if (!child && !is_last && is_name(&before, depth)) {
			no_such_name(rd, o, node, segment.text);
			return;
		}
		if (!child && o->is_environment)
			lower(segment.text);
		if (child && is_last) {
			value->key = child->key;
			node_replace(node, child, value);
		} else if (!child) {
			child = new_child(rd, o, node, segment.text, is_last ? value : NULL);
		}
		if (!child)
			return;
		node = child;
		snprintf(before.text, sizeof(before.text), "%s", node->key ? node->key->text : "");
	}
}

static void apply(struct reader *rd, struct override *o, struct node *root)
{
	struct node *value = document_read(&rd->report, &rd->tree, &o->place, o->value, strlen(o->value));

	if (!value && !*o->value)
		report_fault(&rd->report, &o->place, "the value is empty; accepted: KEY=VALUE");
	if (value)
		put(rd, o, root, value);
	report_leave(&rd->report, 0);
}

static const char *name_place(struct reader *rd, const char *format, const char *text, size_t n)
{
	char name[120];
	const char *copy;
	int length;

	length = snprintf(name, sizeof(name), format, (int)(n < 80 ? n : 80), text);
	copy = tree_text(&rd->tree, name, (size_t)length);
	if (!copy)
		rd->report.r = -ENOMEM;
	return copy;
}

static void apply_variable(struct reader *rd, const char *variable, struct node *root)
{
	const size_t n_prefix = strlen("RINGFEED_");
	const char *equals = strchr(variable, '=');
	struct override o = {.between = "__", .is_environment = true};

	if (!equals || (strncmp(variable, "RINGFEED_DAEMON__", 17) != 0 &&
			strncmp(variable, "RINGFEED_FEEDS__", 16) != 0))
		return;
	o.place.name = name_place(rd, "%.*s", variable, (size_t)(equals - variable));
	o.path = variable + n_prefix;
	o.n_path = (size_t)(equals - o.path);
	o.value = equals + 1;
	if (o.place.name)
		apply(rd, &o, root);
}

static void apply_set(struct reader *rd, const char *set, struct node *root)
{
	const char *equals = strchr(set, '=');
	struct override o = {.between = "."};

	o.place.name = name_place(rd, "--set %.*s", set, strlen(set));
	if (!o.place.name)
		return;
	if (!equals || equals == set) {
		report_fault(&rd->report, &o.place, "accepted: KEY=VALUE, as daemon.workers=4");
		return;
	}
	o.path = set;
	o.n_path = (size_t)(equals - set);
	o.value = equals + 1;
	apply(rd, &o, root);
}

void override_tree(struct reader *rd, struct node *root, const char *const *sets, size_t n_sets)
{
	for (char *const *v = rd->environment; v && *v; v++)
		apply_variable(rd, *v, root);
	for (size_t i = 0; i < n_sets; i++)
		apply_set(rd, sets[i], root);
}
