/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Nodes and texts hang on one chain of blocks that is freed as a whole. */
#include "config/tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 200000 };

struct tree_block {
	struct tree_block *next;
	union {
		struct node node;
		char bytes[1];
	};
};

static void *block_new(struct tree *t, size_t n_bytes)
{
	struct tree_block *b = calloc(1, offsetof(struct tree_block, bytes) + n_bytes);

	if (!b)
		return NULL;
	b->next = t->blocks;
	t->blocks = b;
	return b->bytes;
}

struct node *tree_node(struct tree *t, enum node_kind kind, const struct place *place)
{
	struct node *n;

	if (tree_is_full(t))
		return NULL;
	n = block_new(t, sizeof(*n));
	if (!n)
		return NULL;
	t->n_nodes++;
	n->kind = kind;
	n->place = *place;
	return n;
}

const char *tree_text(struct tree *t, const char *bytes, size_t n)
{
	char *text = block_new(t, n + 1);

	if (text && n)
		memcpy(text, bytes, n);
	return text;
}

bool tree_is_full(const struct tree *t)
{
	return t->n_nodes >= NODES_MAX;
}

void tree_deinit(struct tree *t)
{
	while (t->blocks) {
		struct tree_block *b = t->blocks;

		t->blocks = b->next;
		free(b);
	}
	t->n_nodes = 0;
}

void node_add(struct node *parent, struct node *child)
{
	if (parent->last)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
	parent->n_children++;
}

void node_replace(struct node *parent, struct node *old, struct node *child)
{
	struct node **at = &parent->first;

	while (*at != old)
		at = &(*at)->next;
	child->next = old->next;
	*at = child;
	if (parent->last == old)
		parent->last = child;
}

struct node *node_child(const struct node *map, const char *key, size_t n_key)
{
	if (map->kind != NODE_MAP)
		return NULL;
	for (struct node *c = map->first; c; c = c->next)
		if (strlen(c->key->text) == n_key && memcmp(c->key->text, key, n_key) == 0)
			return c;
	return NULL;
}

struct node *node_at(const struct node *list, size_t i)
{
	struct node *c = list->kind == NODE_LIST ? list->first : NULL;

	for (; c && i > 0; i--)
		c = c->next;
	return c;
}

bool node_is_null(const struct node *n)
{
	return n->kind == NODE_SCALAR && n->is_plain &&
	       (!*n->text || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}
