/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libyaml's events become nodes. A value that is refused (an alias, a tag) becomes a NODE_BAD, and
 * reading goes on, so that one run finds all faults; only what is not YAML at all ends it.
 */
#include "config/document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct builder {
	struct report *report;
	struct tree *tree;
	const struct place *from;
	yaml_parser_t parser;
	yaml_event_t event; /* the present one, valid until next() */
	bool is_over;	    /* what follows cannot be read */
};

static struct place place_of(const struct builder *b, const yaml_mark_t *mark)
{
	struct place place = *b->from;

	if (place.line) {
		place.line = (unsigned)mark->line + 1;
		place.column = (unsigned)mark->column + 1;
	}
	return place;
}

static struct place here(const struct builder *b)
{
	return place_of(b, &b->event.start_mark);
}

static void stop(struct builder *b)
{
	b->is_over = true;
}

static void report_syntax(struct builder *b)
{
	const yaml_parser_t *p = &b->parser;
	struct place place = place_of(b, &p->problem_mark), whole = {.name = b->from->name};

	if (p->error == YAML_MEMORY_ERROR)
		b->report->r = -ENOMEM;
	else if (p->error == YAML_READER_ERROR)
		report_fault(b->report, &whole, "byte %zu: %s; accepted: YAML in UTF-8", p->problem_offset,
			     p->problem);
	else
		report_fault(b->report, &place, "not YAML: %s%s%s", p->problem ? p->problem : "unreadable",
			     p->context ? " " : "", p->context ? p->context : "");
}

/* Goes to the next event; after the end of what can be read the event stays YAML_NO_EVENT. */
static yaml_event_type_t next(struct builder *b)
{
	yaml_event_delete(&b->event);
	if (b->is_over)
		return YAML_NO_EVENT;
	if (!yaml_parser_parse(&b->parser, &b->event)) {
		memset(&b->event, 0, sizeof(b->event));
		report_syntax(b);
		stop(b);
	}
	return b->event.type;
}

static struct node *new_node(struct builder *b, enum node_kind kind)
{
	struct place place = here(b);
	struct node *n = tree_node(b->tree, kind, &place);

	if (!n) {
		report_no_node(b->report, b->tree, &place);
		stop(b);
	}
	return n;
}

/* Reports anchor and tag of the present event; true when there were none. */
static bool is_plain_yaml(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct place place = here(b);

	if (anchor)
		report_fault(b->report, &place, "anchors (&%.40s) are not accepted; write the value out",
			     (const char *)anchor);
	if (tag)
		report_fault(b->report, &place, "tags (%.60s) are not accepted; write the bare value",
			     (const char *)tag);
	return !anchor && !tag;
}

static struct node *read_scalar(struct builder *b)
{
	const char *bytes = (const char *)b->event.data.scalar.value;
	size_t n = b->event.data.scalar.length;
	bool is_fine = is_plain_yaml(b, b->event.data.scalar.anchor, b->event.data.scalar.tag);
	struct place place = here(b);
	struct node *node;

	if (memchr(bytes, '\0', n)) {
		report_fault(b->report, &place, "a zero byte is not accepted in a text");
		is_fine = false;
	}
	node = new_node(b, is_fine ? NODE_SCALAR : NODE_BAD);
	if (!node)
		return NULL;
	node->is_plain = b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = tree_text(b->tree, bytes, strnlen(bytes, n));
	if (!node->text) {
		b->report->r = -ENOMEM;
		stop(b);
		return NULL;
	}
	return node;
}

static struct node *read_node(struct builder *b, unsigned depth);

static struct node *read_list(struct builder *b, unsigned depth)
{
	bool is_fine = is_plain_yaml(b, b->event.data.sequence_start.anchor,
				     b->event.data.sequence_start.tag);
	struct node *list = new_node(b, is_fine ? NODE_LIST : NODE_BAD);

	if (!list)
		return NULL;
	while (next(b) != YAML_SEQUENCE_END_EVENT && !b->is_over) {
		size_t before = report_enter_index(b->report, list->n_children);
		struct node *child = read_node(b, depth + 1);

		report_leave(b->report, before);
		if (child)
			node_add(list, child);
	}
	return list;
}

/* Adds a pair, or says why it cannot be one. */
static void add_pair(struct builder *b, struct node *map, struct node *key, struct node *value)
{
	const struct node *first;

	if (key->kind != NODE_SCALAR) {
		if (key->kind != NODE_BAD)
			report_fault(b->report, &key->place, "%s as a key is not accepted; a key is a word",
				     quote_node(key).text);
		return;
	}
	first = node_child(map, key->text, strlen(key->text));
	if (first) {
		size_t before = report_enter(b->report, key->text);

		report_fault(b->report, &key->place, "the key is given twice, first in line %u",
			     first->key->place.line);
		report_leave(b->report, before);
		return;
	}
	if (map->n_children == KEYS_MAX) {
		report_fault(b->report, &key->place, "more than %d keys in one mapping", KEYS_MAX);
		stop(b);
		return;
	}
	value->key = key;
	node_add(map, value);
}

static struct node *read_map(struct builder *b, unsigned depth)
{
	bool is_fine = is_plain_yaml(b, b->event.data.mapping_start.anchor,
				     b->event.data.mapping_start.tag);
	struct node *map = new_node(b, NODE_MAP);

	if (!map)
		return NULL;
	while (next(b) != YAML_MAPPING_END_EVENT && !b->is_over) {
		struct node *key = read_node(b, depth + 1), *value;
		size_t before;

		if (!key)
			break;
		before = report_enter(b->report, key->kind == NODE_SCALAR ? key->text : "?");
		next(b);
		value = read_node(b, depth + 1);
		report_leave(b->report, before);
		if (value)
			add_pair(b, map, key, value);
	}
	if (!is_fine)
		map->kind = NODE_BAD;
	return map;
}

/* The node that begins with the present event; leaves its last event the present one. */
static struct node *read_node(struct builder *b, unsigned depth)
{
	struct place place = here(b);

	if (b->is_over)
		return NULL;
	if (depth > DEPTH_MAX) {
		report_fault(b->report, &place, "nested deeper than %d levels", DEPTH_MAX);
		stop(b);
		return NULL;
	}
	switch (b->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(b);
	case YAML_SEQUENCE_START_EVENT:
		return read_list(b, depth);
	case YAML_MAPPING_START_EVENT:
		return read_map(b, depth);
	case YAML_ALIAS_EVENT:
		report_fault(b->report, &place, "aliases (*%.40s) are not accepted; write the value out%s",
			     (const char *)b->event.data.alias.anchor,
			     ", or put a pattern that begins with * in quotes");
		return new_node(b, NODE_BAD);
	default: /* the parser's grammar has no other event here */
		stop(b);
		return NULL;
	}
}

static struct node *read_documents(struct builder *b)
{
	struct node *root = NULL;
	struct place place;

	next(b); /* the start of the stream */
	if (next(b) == YAML_DOCUMENT_START_EVENT) {
		next(b);
		root = read_node(b, 0);
		next(b); /* the end of the document */
		next(b);
	}
	if (b->event.type == YAML_DOCUMENT_START_EVENT) {
		place = here(b);
		report_fault(b->report, &place, "a second document begins; accepted: one document");
	}
	return root;
}

struct node *document_read(struct report *report, struct tree *tree, const struct place *place,
		       const char *text, size_t n_text)
{
	struct builder b = {.report = report, .tree = tree, .from = place};
	const struct place whole = {.name = place->name};
	struct node *root;

	if (n_text > TEXT_MAX) {
		report_fault(report, &whole, "is longer than %d bytes; accepted: up to that", TEXT_MAX);
		return NULL;
	}
	if (!yaml_parser_initialize(&b.parser)) {
		report->r = -ENOMEM;
		return NULL;
	}
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, n_text);
	root = read_documents(&b);
	yaml_event_delete(&b.event);
	yaml_parser_delete(&b.parser);
	return b.is_over ? NULL : root;
}
