/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The list of faults as it grows, and the path of the key that is being looked at.
 *
 * Every fault reads "PLACE: PATH: what is wrong; what would be accepted". Memory that runs out is
 * noted once in r and ends the reading. Threads: one.
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "config/config.h"
#include "config/tree.h"

enum { FAULTS_MAX = 200, KEY_PATH_MAX = 300 };

struct report {
	struct config_faults faults;
	size_t n_unlisted; /* beyond FAULTS_MAX */
	int r;		   /* 0, or -ENOMEM */
	char path[KEY_PATH_MAX];
	size_t n_path;
};

/* What a message quotes from outside: cut to a length that leaves room for the rest. */
struct quote {
	char text[80];
};

/* Appends ".key" to the path; the returned length goes to report_leave. A longer path is cut. */
size_t report_enter(struct report *r, const char *key);
size_t report_enter_index(struct report *r, size_t i);
void report_leave(struct report *r, size_t n_path);

void report_fault(struct report *r, const struct place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Notes that memory ran out at this place of the code, or that the tree is full. */
void report_no_node(struct report *r, const struct tree *t, const struct place *place);
/* Sorts by line and column, those outside the file last, and closes the list. */
void report_finish(struct report *r);

/* "'2GB'", "a list", "a mapping" or "an empty value". */
struct quote quote_node(const struct node *n);
struct quote quote_text(const char *text);

#endif
