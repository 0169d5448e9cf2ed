/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * YAML text -> tree, strictly: one document; no anchors, aliases, tags or duplicate keys; bounded in
 * size, depth and number of values. Whatever is refused is reported with line and column.
 *
 * Threads: any; no state of its own.
 */
#ifndef CONFIG_DOCUMENT_H
#define CONFIG_DOCUMENT_H

#include "config/report.h"
#include "config/tree.h"

enum { TEXT_MAX = 4 << 20, DEPTH_MAX = 32, KEYS_MAX = 1000 };

/* place: what the text is, with line 1 for a file; line 0 for a value from elsewhere, whose nodes then
 * all have that place. NULL when there is no tree: the faults (or report->r) say why. */
struct node *document_read(struct report *report, struct tree *tree, const struct place *place,
		       const char *text, size_t n_text);

#endif
