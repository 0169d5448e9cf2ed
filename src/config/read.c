/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One reader for every scope: unknown keys first, then each row of the table is looked up, and its
 * fallback stands in for what is not there. Fallbacks go through the same YAML and value readers.
 */
#include "config/read.h"

#include "config/keys.h"
#include "config/value.h"
#include "config/document.h"

#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct node bad = {.kind = NODE_BAD};

const struct node *read_find(const struct node *n, const char *path)
{
	while (n && *path) {
		size_t length = strcspn(path, ".");

		n = node_child(n, path, length);
		path += length + (path[length] == '.');
	}
	return n;
}

/* What stands at the part of a row's path before the dot, "batch" of "batch.size". */
static const struct node *group_of(const struct node *map, const struct key *k)
{
	size_t n = strcspn(k->path, ".");

	return k->path[n] ? node_child(map, k->path, n) : NULL;
}

/* As read_find for a row; a value where a map should be on the way counts as bad, unless the value is
 * a way to write it (decode: image). */
static const struct node *find_row(const struct node *map, const struct key *k)
{
	const struct node *group = group_of(map, k);
	const struct key *row;

	if (!group || group->kind == NODE_MAP)
		return read_find(map, k->path);
	row = key_find(k->scope, group->key->text);
	return row && row->type == KEY_MAP ? &bad : NULL;
}

static void unknown_key(struct report *r, int scope, const char *path, const struct node *child)
{
	char full[KEY_PATH_MAX];
	struct key_text meant;
	const char *key = child->key->text;

	snprintf(full, sizeof(full), "%s%s%s", path, *path ? "." : "", key);
	if (key_is_later(scope, full))
		report_fault(r, &child->key->place, "not in this version; accepted here: %s",
			     key_names(scope, path).text);
	else if (key_suggest(scope, path, key, &meant))
		report_fault(r, &child->key->place, "unknown key; did you mean %s? accepted here: %s", meant.text,
			     key_names(scope, path).text);
	else
		report_fault(r, &child->key->place, "unknown key; accepted here: %s",
			     key_names(scope, path).text);
}

/* Reports the keys of a map that no row knows, and groups that are no maps. */
static void check_keys(struct report *r, int scope, const char *path, const struct node *map)
{
	for (const struct node *c = map->first; c; c = c->next) {
		size_t before = report_enter(r, c->key->text);
		char full[KEY_PATH_MAX];
		const struct key *k;

		snprintf(full, sizeof(full), "%s%s%s", path, *path ? "." : "", c->key->text);
		k = strchr(c->key->text, '.') ? NULL : key_find(scope, full);
		if (!k)
			unknown_key(r, scope, path, c);
		else if (key_has_children(scope, full) && c->kind == NODE_MAP)
			check_keys(r, scope, full, c);
		else if (k->type == KEY_MAP && scope != SCOPE_ROOT && c->kind != NODE_MAP &&
			 c->kind != NODE_BAD)
			report_fault(r, &c->place, "%s is wrong; accepted: a mapping with the keys %s",
				     quote_node(c).text, key_names(scope, full).text);
		report_leave(r, before);
	}
}

static const struct node *fallback_node(struct reader *rd, const struct key *k)
{
	const struct place place = {.name = "default"};
	const struct node *n = document_read(&rd->report, &rd->tree, &place, k->fallback, strlen(k->fallback));

	return n ? n : &bad;
}

static void read_row(struct reader *rd, const struct key *k, const struct node *map, const struct place *at,
		     void *base)
{
	const struct node *n = map ? find_row(map, k) : NULL, *group = map ? group_of(map, k) : NULL;
	size_t before = report_enter(&rd->report, k->path);

	if (!n && k->fallback == key_required)
		report_fault(&rd->report, group ? &group->place : at, "is missing: %s Accepted: %s",
			     k->sentence, key_accepted(k).text);
	else if (!n && k->fallback && k->fallback != key_either)
		n = fallback_node(rd, k);
	/* A map in place of decode: image: its keys are rows of their own. */
	if (n && !(n->kind == NODE_MAP && key_has_children(k->scope, k->path)))
		value_read(&rd->report, k, n, base, rd->environment);
	report_leave(&rd->report, before);
}

/* map may be NULL: every row then takes its fallback. at: where a missing key would have stood. */
static void read_scope(struct reader *rd, int scope, const struct node *map, const struct place *at,
		       void *base)
{
	if (map)
		check_keys(&rd->report, scope, "", map);
	for (size_t i = 0; i < n_keys; i++)
		if ((int)keys[i].scope == scope && keys[i].type > KEY_STEPS)
			read_row(rd, &keys[i], map, at, base);
}

/* The map that must be at n; reports what else it is. */
static bool is_map(struct report *r, const struct node *n, int scope)
{
	if (n->kind == NODE_MAP)
		return true;
	if (n->kind != NODE_BAD)
		report_fault(r, &n->place, "%s is wrong; accepted: a mapping with the keys %s",
			     quote_node(n).text, key_names(scope, "").text);
	return false;
}

/* Which transform an item of the list is; *ret_map its parameters or NULL. -1 after a fault. */
static int step_of(struct report *r, const struct node *item, const struct node **ret_map)
{
	const struct node *map = NULL, *name = item;
	struct key_text meant;
	int kind;

	if (item->kind == NODE_BAD)
		return -1;
	if (item->kind == NODE_MAP && item->n_children == 1) {
		name = item->first->key;
		map = node_is_null(item->first) ? NULL : item->first;
	}
	if (name->kind != NODE_SCALAR) {
		report_fault(r, &item->place, "%s is wrong; accepted: one transform, as NAME or as NAME: "
			     "{PARAMETER: VALUE}", item->n_children > 1 ? "more than one key" : quote_node(item).text);
		return -1;
	}
	kind = step_parse(name->text);
	*ret_map = map;
	if (kind >= 0)
		return kind;
	if (step_is_later(name->text))
		report_fault(r, &name->place, "%s is not in this version; accepted: %s", quote_node(name).text,
			     step_all_names().text);
	else if (step_suggest(name->text, &meant))
		report_fault(r, &name->place, "%s is no transform; did you mean %s? accepted: %s",
			     quote_node(name).text, meant.text, step_all_names().text);
	else
		report_fault(r, &name->place, "%s is no transform; accepted: %s", quote_node(name).text,
			     step_all_names().text);
	return -1;
}

static void read_step(struct reader *rd, const struct node *item, struct step *step)
{
	const struct node *map = NULL;
	int kind = step_of(&rd->report, item, &map);
	size_t before;

	if (kind < 0)
		return;
	step->kind = (enum step_kind)kind;
	before = report_enter(&rd->report, step_name(step->kind));
	if (!map || is_map(&rd->report, map, SCOPE_STEP + kind))
		read_scope(rd, SCOPE_STEP + kind, map, map ? &map->place : &item->place, step);
	report_leave(&rd->report, before);
}

static void read_steps(struct reader *rd, const struct node *list, struct field *f)
{
	size_t before = report_enter(&rd->report, "transform"), i = 0;

	if (list->kind != NODE_LIST && list->kind != NODE_BAD)
		report_fault(&rd->report, &list->place, "%s is wrong; accepted: a list of transforms: %s",
			     quote_node(list).text, step_all_names().text);
	else if (list->n_children > STEPS_MAX)
		report_fault(&rd->report, &list->place, "%zu transforms; accepted: at most %d", list->n_children,
			     STEPS_MAX);
	else if (list->kind == NODE_LIST)
		for (const struct node *c = list->first; c; c = c->next, i++) {
			size_t inner = report_enter_index(&rd->report, i);

			read_step(rd, c, &f->steps[f->n_steps++]);
			report_leave(&rd->report, inner);
		}
	report_leave(&rd->report, before);
}

bool read_is_word(const char *text, bool may_have_minus)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789-");

	return n > 0 && !text[n] && !(*text >= '0' && *text <= '9') && *text != '-' &&
	       (may_have_minus || !strchr(text, '-')) && n < FIELD_NAME_MAX;
}

static bool is_feed_name(struct report *r, const struct node *n)
{
	if (read_is_word(n->key->text, true) && !strstr(n->key->text, "__"))
		return true;
	report_fault(r, &n->key->place, "%s is no name for a feed; accepted: at most %d letters, digits, "
		     "- and single _, beginning with a letter or _", quote_text(n->key->text).text,
		     FIELD_NAME_MAX - 1);
	return false;
}

static bool is_field_name(struct report *r, const struct node *n)
{
	static const char *const taken[] = {"index", "position", "valid", "epoch", "step"};

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (strcmp(n->key->text, taken[i]) == 0) {
			report_fault(r, &n->key->place, "every batch has a '%s' of its own; accepted: a name "
				     "other than index, position, valid, epoch and step", taken[i]);
			return false;
		}
	}
	if (read_is_word(n->key->text, false))
		return true;
	report_fault(r, &n->key->place, "%s is no name for a field; accepted: at most %d letters, digits "
		     "and _, not beginning with a digit", quote_text(n->key->text).text, FIELD_NAME_MAX - 1);
	return false;
}

size_t read_n_faults(const struct reader *rd)
{
	return rd->report.faults.n + rd->report.n_unlisted;
}

void read_field_keys(struct reader *rd, const struct node *n, struct field *f)
{
	const struct node *steps = read_find(n, "transform");
	size_t before = read_n_faults(rd);

	read_scope(rd, SCOPE_FIELD, n, &n->place, f);
	if (steps)
		read_steps(rd, steps, f);
	if (read_n_faults(rd) == before)
		check_field(&rd->report, n, f);
}

static void read_field(struct reader *rd, const struct node *n, struct field *f)
{
	if (!is_field_name(&rd->report, n))
		return;
	snprintf(f->name, sizeof(f->name), "%s", n->key->text);
	if (is_map(&rd->report, n, SCOPE_FIELD))
		read_field_keys(rd, n, f);
}

static void read_fields(struct reader *rd, const struct node *feed_node, struct config_feed *feed)
{
	const struct node *fields = read_find(feed_node, "fields");
	struct pipeline *p = &feed->pipeline;
	size_t before = report_enter(&rd->report, "fields");

	if (!fields)
		report_fault(&rd->report, &feed_node->place, "is missing; accepted: a mapping from names to "
			     "fields, at least one");
	else if (fields->kind != NODE_MAP || fields->n_children == 0 || fields->n_children > FIELDS_MAX) {
		if (fields->kind == NODE_MAP)
			report_fault(&rd->report, &fields->place, "%zu fields; accepted: 1 to %d",
				     fields->n_children, FIELDS_MAX);
		else if (fields->kind != NODE_BAD)
			report_fault(&rd->report, &fields->place, "%s is wrong; accepted: a mapping from names "
				     "to fields", quote_node(fields).text);
	} else {
		for (const struct node *c = fields->first; c; c = c->next) {
			size_t inner = report_enter(&rd->report, c->key->text);

			read_field(rd, c, &p->fields[p->n_fields++]);
			report_leave(&rd->report, inner);
		}
	}
	report_leave(&rd->report, before);
}

/* One source: the whole node, or item i of a list. */
static void read_source(struct reader *rd, const struct node *n, const struct place *at, struct config_feed *feed)
{
	if (!n || is_map(&rd->report, n, SCOPE_SOURCE))
		read_scope(rd, SCOPE_SOURCE, n, at, &feed->inputs[feed->n_inputs]);
	feed->n_inputs++;
}

static void read_source_list(struct reader *rd, const struct node *list, struct config_feed *feed)
{
	size_t i = 0, faults_before = read_n_faults(rd);

	for (const struct node *c = list->first; c; c = c->next, i++) {
		size_t before = report_enter_index(&rd->report, i);

		read_source(rd, c, &c->place, feed);
		report_leave(&rd->report, before);
	}
	check_weights(&rd->report, list, feed, read_n_faults(rd) == faults_before);
}

static void read_sources(struct reader *rd, const struct node *feed_node, struct config_feed *feed)
{
	const struct node *source = read_find(feed_node, "source");
	size_t before = report_enter(&rd->report, "source"), n = 1;

	feed->is_mix = source && source->kind == NODE_LIST;
	if (feed->is_mix)
		n = source->n_children;
	if (source && source->kind == NODE_SCALAR)
		report_fault(&rd->report, &source->place, "%s is wrong; accepted: a mapping with the keys %s, or a list of "
			     "such mappings", quote_node(source).text, key_names(SCOPE_SOURCE, "").text);
	else if (n == 0 || n > SHARES_ALL)
		report_fault(&rd->report, &source->place, "a list of %zu is wrong; accepted: 1 to %d sources", n,
			     SHARES_ALL);
	else if (!(feed->inputs = calloc(n, sizeof(*feed->inputs))))
		rd->report.r = fail(-ENOMEM);
	else if (feed->is_mix)
		read_source_list(rd, source, feed);
	else
		read_source(rd, source, source ? &source->place : &feed_node->place, feed);
	report_leave(&rd->report, before);
}

static void read_feed(struct reader *rd, const struct node *n, struct config_feed *feed)
{
	if (!is_feed_name(&rd->report, n))
		return;
	snprintf(feed->name, sizeof(feed->name), "%s", n->key->text);
	if (!is_map(&rd->report, n, SCOPE_FEED))
		return;
	read_scope(rd, SCOPE_FEED, n, &n->place, feed);
	read_sources(rd, n, feed);
	read_fields(rd, n, feed);
	check_feed(&rd->report, n, feed);
}

/* A feed and, behind it, its views. */
static void read_feed_with_views(struct reader *rd, const struct node *n, struct config *config)
{
	const size_t base = config->n_feeds++, before = read_n_faults(rd);

	config->feeds[base].base = base;
	read_feed(rd, n, &config->feeds[base]);
	read_views(rd, n, config, base, read_n_faults(rd) == before);
}

static void read_feeds(struct reader *rd, const struct node *root, struct config *config)
{
	const struct node *feeds = read_find(root, "feeds");
	size_t before = report_enter(&rd->report, "feeds"), n_all = feeds ? read_count_feeds(feeds) : 0;

	if (!feeds)
		report_fault(&rd->report, &root->place, "is missing; accepted: a mapping from names to feeds, "
			     "at least one");
	else if (feeds->kind == NODE_MAP && (feeds->n_children == 0 || feeds->n_children > FEEDS_MAX))
		report_fault(&rd->report, &feeds->place, "%zu feeds; accepted: 1 to %d", feeds->n_children,
			     FEEDS_MAX);
	else if (n_all > FEEDS_MAX)
		report_fault(&rd->report, &feeds->place, "%zu feeds and views; accepted: 1 to %d", n_all, FEEDS_MAX);
	else if (feeds->kind != NODE_MAP && feeds->kind != NODE_BAD)
		report_fault(&rd->report, &feeds->place, "%s is wrong; accepted: a mapping from names to feeds",
			     quote_node(feeds).text);
	else if (feeds->kind == NODE_MAP) {
		config->feeds = calloc(n_all, sizeof(*config->feeds));
		if (!config->feeds)
			rd->report.r = fail(-ENOMEM);
		for (const struct node *c = feeds->first; c && config->feeds; c = c->next) {
			size_t inner = report_enter(&rd->report, c->key->text);

			read_feed_with_views(rd, c, config);
			report_leave(&rd->report, inner);
		}
	}
	report_leave(&rd->report, before);
}

void read_root(struct reader *rd, const struct node *root, struct config *config)
{
	const struct node *daemon = read_find(root, "daemon");
	size_t before;

	check_keys(&rd->report, SCOPE_ROOT, "", root);
	before = report_enter(&rd->report, "daemon");
	if (!daemon || is_map(&rd->report, daemon, SCOPE_DAEMON)) {
		read_scope(rd, SCOPE_DAEMON, daemon, &root->place, &config->daemon);
		check_daemon(&rd->report, daemon, &config->daemon);
	}
	report_leave(&rd->report, before);
	read_feeds(rd, root, config);
}
