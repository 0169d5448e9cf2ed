/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A view's field is read from the keys of the feed's field with the view's own in their place, so that one reader
 * and one judge serve both: an automatic dtype follows the view's transforms, a shape its size.
 */
#include "config/keys.h"
#include "config/nearest.h"
#include "config/read.h"

#include <stdio.h>
#include <string.h>

enum { VIEWS_MAX = 15 }; /* of a feed */

size_t read_count_feeds(const struct node *feeds)
{
	size_t n = feeds->kind == NODE_MAP ? feeds->n_children : 0;

	for (const struct node *c = feeds->kind == NODE_MAP ? feeds->first : NULL; c; c = c->next) {
		const struct node *views = c->kind == NODE_MAP ? read_find(c, "views") : NULL;

		n += views && views->kind == NODE_MAP ? views->n_children : 0;
	}
	return n;
}

static bool add_copy(struct reader *rd, struct node *to, const struct node *from)
{
	struct node *copy = tree_node(&rd->tree, from->kind, &from->place);

	if (!copy) {
		report_no_node(&rd->report, &rd->tree, &from->place);
		return false;
	}
	*copy = *from;
	copy->next = NULL;
	node_add(to, copy);
	return true;
}

/* Does the feed's key stand in the view, too? A scale of floats says nothing to a view that is uint8. */
static bool is_inherited(const struct node *key, const struct node *own)
{
	const struct node *dtype = node_child(own, "dtype", 5);

	if (node_child(own, key->text, strlen(key->text)))
		return false;
	return strcmp(key->text, "scale") != 0 || !dtype || dtype->kind != NODE_SCALAR || strcmp(dtype->text, "uint8") != 0;
}

/* The keys of `own`, and those of `feed` that it has not. NULL: there was no memory. */
static struct node *merge(struct reader *rd, const struct node *feed, const struct node *own)
{
	struct node *all = tree_node(&rd->tree, NODE_MAP, &own->place);

	if (!all)
		report_no_node(&rd->report, &rd->tree, &own->place);
	for (const struct node *c = feed->first; all && c; c = c->next)
		if (is_inherited(c->key, own) && !add_copy(rd, all, c))
			return NULL;
	for (const struct node *c = own->first; all && c; c = c->next)
		if (!add_copy(rd, all, c))
			return NULL;
	return all;
}

static void wrong_key(struct report *r, const struct node *key)
{
	struct key_text accepted = key_view_names(), meant;

	if (key_find(SCOPE_FIELD, key->text))
		report_fault(r, &key->place, "is the feed's alone: a field is decoded once for all views; accepted here: %s",
			     accepted.text);
	else if (key_suggest(SCOPE_FIELD, "", key->text, &meant) && key_is_of_view(SCOPE_FIELD, meant.text))
		report_fault(r, &key->place, "unknown key; did you mean %s? accepted here: %s", meant.text, accepted.text);
	else
		report_fault(r, &key->place, "unknown key; accepted here: %s", accepted.text);
}

/* Names alone. */
static void check_keys(struct report *r, const struct node *own)
{
	for (const struct node *c = own->first; c; c = c->next) {
		size_t before = report_enter(r, c->key->text);

		if (!key_is_of_view(SCOPE_FIELD, c->key->text))
			wrong_key(r, c->key);
		report_leave(r, before);
	}
}

/* Of images and plain numbers a dtype is what becomes of them; of all else it says what their bytes are. */
static void check_dtype(struct report *r, const struct node *own, const struct field *f)
{
	const struct node *dtype = node_child(own, "dtype", 5);
	size_t before = report_enter(r, "dtype");

	if (dtype && f->decode != DECODE_IMAGE && f->decode != DECODE_INTEGER && f->decode != DECODE_FLOAT)
		report_fault(r, &dtype->key->place, "a view has its own with decode: image, integer or float alone");
	report_leave(r, before);
}

static void no_such_field(struct report *r, const struct node *own, const struct node *fields)
{
	struct key_text names = {""};
	struct nearest nearest;

	nearest_init(&nearest, own->key->text);
	for (const struct node *c = fields->first; c; c = c->next) {
		const size_t n = strlen(names.text);

		nearest_try(&nearest, c->key->text);
		snprintf(names.text + n, sizeof(names.text) - n, "%s%s", n ? ", " : "", c->key->text);
	}
	report_fault(r, &own->key->place, "the feed has no such field; %s%s%saccepted: %s", nearest.best ? "did you mean " : "",
		     nearest.best ? nearest.best : "", nearest.best ? "? " : "", names.text);
}

/* The field of that name among the feed's. */
static struct field *find_field(struct pipeline *p, const char *name)
{
	for (unsigned i = 0; i < p->n_fields; i++)
		if (strcmp(p->fields[i].name, name) == 0)
			return &p->fields[i];
	return NULL;
}

/* is_good: the feed's own fields were read without a fault. */
static void read_view_field(struct reader *rd, const struct node *fields, const struct node *own,
			    struct pipeline *p, bool is_good)
{
	const struct node *feed = node_child(fields, own->key->text, strlen(own->key->text)), *all;
	size_t before = read_n_faults(rd);
	struct field *f;

	if (!feed) {
		no_such_field(&rd->report, own, fields);
		return;
	}
	if (own->kind != NODE_MAP || own->n_children == 0) {
		if (own->kind != NODE_BAD)
			report_fault(&rd->report, &own->place, "%s is wrong; accepted: a mapping with some of the keys %s",
				     own->kind == NODE_MAP ? "an empty mapping" : quote_node(own).text,
				     key_view_names().text);
		return;
	}
	check_keys(&rd->report, own);
	f = is_good ? find_field(p, own->key->text) : NULL;
	if (f)
		check_dtype(&rd->report, own, f);
	if (!f || read_n_faults(rd) > before || !(all = merge(rd, feed, own)))
		return;
	*f = (struct field){0};
	snprintf(f->name, sizeof(f->name), "%s", own->key->text);
	read_field_keys(rd, all, f);
}

static bool is_view_name(struct report *r, const struct node *n, const char *feed)
{
	const size_t n_feed = strlen(feed) + 1;

	if (read_is_word(n->key->text, true) && !strstr(n->key->text, "__") &&
	    n_feed + strlen(n->key->text) < FIELD_NAME_MAX)
		return true;
	report_fault(r, &n->key->place, "%s is no name for a view; accepted: letters, digits, - and single _, beginning with a "
		     "letter or _, with the feed's name and / at most %d", quote_text(n->key->text).text, FIELD_NAME_MAX - 1);
	return false;
}

/* v: a copy of the feed so far. */
static void read_view(struct reader *rd, const struct node *fields, const struct node *n, struct config_feed *v,
		      bool is_good)
{
	if (n->kind != NODE_MAP || n->n_children == 0) {
		if (n->kind != NODE_BAD)
			report_fault(&rd->report, &n->place, "%s is wrong; accepted: a mapping from names of the feed's fields to "
				     "what is another there: %s",
				     n->kind == NODE_MAP ? "an empty mapping" : quote_node(n).text, key_view_names().text);
		return;
	}
	for (const struct node *c = n->first; c; c = c->next) {
		size_t before = report_enter(&rd->report, c->key->text);

		read_view_field(rd, fields, c, &v->pipeline, is_good);
		report_leave(&rd->report, before);
	}
}

static void read_all(struct reader *rd, const struct node *fields, const struct node *views, struct config *config,
		     size_t base, bool is_good)
{
	const struct config_feed *feed = &config->feeds[base];

	for (const struct node *c = views->first; c; c = c->next) {
		struct config_feed *v = &config->feeds[config->n_feeds++];
		size_t before = report_enter(&rd->report, c->key->text);
		int n_name = (int)(FIELD_NAME_MAX - 2 - strlen(feed->name));

		*v = *feed;
		if (is_view_name(&rd->report, c, feed->name)) {
			snprintf(v->name, sizeof(v->name), "%s/%.*s", feed->name, n_name, c->key->text);
			read_view(rd, fields, c, v, is_good);
		}
		report_leave(&rd->report, before);
	}
}

void read_views(struct reader *rd, const struct node *feed_node, struct config *config, size_t base, bool is_good)
{
	const struct node *views = feed_node->kind == NODE_MAP ? read_find(feed_node, "views") : NULL;
	const struct node *fields = feed_node->kind == NODE_MAP ? read_find(feed_node, "fields") : NULL;
	size_t before;

	if (!views || views->kind == NODE_BAD || !fields || fields->kind != NODE_MAP)
		return;
	before = report_enter(&rd->report, "views");
	if (views->kind != NODE_MAP)
		report_fault(&rd->report, &views->place, "%s is wrong; accepted: a mapping from names to views",
			     quote_node(views).text);
	else if (views->n_children == 0 || views->n_children > VIEWS_MAX)
		report_fault(&rd->report, &views->place, "%zu views; accepted: 1 to %d", views->n_children, VIEWS_MAX);
	else
		read_all(rd, fields, views, config, base, is_good);
	report_leave(&rd->report, before);
}
