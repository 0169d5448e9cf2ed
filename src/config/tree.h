/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The configuration as a tree of scalars, lists and maps, each knowing the place it was written at.
 * File, environment and command line end in one tree, so that one reader checks all three.
 *
 * The tree owns all nodes and texts; nodes live until tree_deinit. Threads: one.
 */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

enum node_kind {
	NODE_SCALAR,
	NODE_LIST,
	NODE_MAP,
	NODE_BAD, /* its fault is reported already: nothing more is said about it */
};

struct place {
	const char *name;      /* the file, "--set KEY=VALUE" or the name of the variable */
	unsigned line, column; /* from 1; 0 when not in a file */
};

struct node {
	enum node_kind kind;
	struct place place;
	bool is_plain;	     /* a scalar without quotes */
	const char *text;    /* of a scalar */
	struct node *key;    /* of a child of a map: the scalar before the colon */
	struct node *first, *last, *next; /* children; sibling */
	size_t n_children;
};

struct tree {
	struct tree_block *blocks;
	size_t n_nodes;
};

/* New nodes and texts; NULL when memory is out or a bound is reached (tree_is_full tells which). */
struct node *tree_node(struct tree *t, enum node_kind kind, const struct place *place);
const char *tree_text(struct tree *t, const char *bytes, size_t n);
bool tree_is_full(const struct tree *t);
void tree_deinit(struct tree *t);

void node_add(struct node *parent, struct node *child);
/* Puts child where old is in parent's children. */
void node_replace(struct node *parent, struct node *old, struct node *child);
/* The child of a map by key, or NULL. */
struct node *node_child(const struct node *map, const char *key, size_t n_key);
/* The i-th child of a list, or NULL. */
struct node *node_at(const struct node *list, size_t i);
/* Nothing was written, or ~ or null. */
bool node_is_null(const struct node *n);

#endif
