/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The tree becomes a struct config: read.c follows the table, check.c judges what the values mean
 * together. Both report and go on.
 *
 * Threads: one.
 */
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include "config/config.h"
#include "config/report.h"
#include "config/tree.h"

enum { FEEDS_MAX = 256 };

struct reader {
	struct report report;
	struct tree tree;
	char *const *environment;
};

/* root: a map. config is zeroed; what it owns is freed by config_free, also after faults. */
void read_root(struct reader *rd, const struct node *root, struct config *config);

/* override.c: puts the environment's RINGFEED_DAEMON__… and RINGFEED_FEEDS__… and the --set strings into
 * the tree, in this order. */
void override_tree(struct reader *rd, struct node *root, const char *const *sets, size_t n_sets);

/* The node at a path of keys below n ("batch.size"), or NULL. */
const struct node *read_find(const struct node *n, const char *path);

/* Faults so far, listed or not: what was read without new ones can be judged as a whole. */
size_t read_n_faults(const struct reader *rd);
/* Letters, digits, _ and maybe -, beginning with a letter or _, and not too long. */
bool read_is_word(const char *text, bool may_have_minus);
/* The keys of a field, and what they mean together. n: a map. */
void read_field_keys(struct reader *rd, const struct node *n, struct field *f);

/* views.c: feeds and their views, as many as there is to read. */
size_t read_count_feeds(const struct node *feeds);
/* The views of feed number base, behind it in the config, which has room for them. is_good: the feed has no fault. */
void read_views(struct reader *rd, const struct node *feed_node, struct config *config, size_t base, bool is_good);

/* check.c: n is the node of the daemon (or NULL), feed or field; the report's path names it. */
void check_daemon(struct report *r, const struct node *n, const struct config_daemon *d);
/* n: the list of sources, read without a fault or not: each has its weight, and it is enough for a share. */
void check_weights(struct report *r, const struct node *n, const struct config_feed *f, bool is_good);
/* Takes window and parts away where the shuffle has none. */
void check_feed(struct report *r, const struct node *n, struct config_feed *f);
/* Only for fields read without a fault: works out dtype (auto is DTYPE_COUNT until then), n_dims, dims. */
void check_field(struct report *r, const struct node *n, struct field *f);

#endif
