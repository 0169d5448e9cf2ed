/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The list grows by doubling and is bounded: a hostile file cannot make it fill the memory. */
#include "config/report.h"

#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t report_enter(struct report *r, const char *key)
{
	size_t before = r->n_path;
	int n = snprintf(r->path + before, sizeof(r->path) - before, "%s%s", before ? "." : "", key);

	r->n_path = n < (int)(sizeof(r->path) - before) ? before + (size_t)n : sizeof(r->path) - 1;
	return before;
}

size_t report_enter_index(struct report *r, size_t i)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", i);
	return report_enter(r, text);
}

void report_leave(struct report *r, size_t n_path)
{
	r->n_path = n_path;
	r->path[n_path] = '\0';
}

static struct config_fault *new_fault(struct report *r)
{
	struct config_faults *f = &r->faults;

	if (f->n == FAULTS_MAX) {
		r->n_unlisted++;
		return NULL;
	}
	if ((f->n & (f->n - 1)) == 0) {
		struct config_fault *list = realloc(f->list, (f->n ? 2 * f->n : 1) * sizeof(*list));

		if (!list) {
			r->r = fail(-ENOMEM);
			return NULL;
		}
		f->list = list;
	}
	return &f->list[f->n++];
}

void report_fault(struct report *r, const struct place *place, const char *format, ...)
{
	struct config_fault *f = new_fault(r);
	char message[500], at[32] = "";
	va_list args;

	if (!f)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	f->line = place->line;
	f->column = place->column;
	if (place->line)
		snprintf(at, sizeof(at), ":%u:%u", place->line, place->column);
	reason_set(&f->reason, "%s%s: %s%s%s", place->name, at, r->path, r->n_path ? ": " : "", message);
}

void report_no_node(struct report *r, const struct tree *t, const struct place *place)
{
	if (tree_is_full(t))
		report_fault(r, place, "too many values; put long lists of shards as brace ranges or globs");
	else
		r->r = fail(-ENOMEM);
}

static int compare(const void *a, const void *b)
{
	const struct config_fault *x = a, *y = b;
	unsigned line_x = x->line - 1, line_y = y->line - 1; /* 0 goes last */

	if (line_x != line_y)
		return line_x < line_y ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return strcmp(x->reason.text, y->reason.text);
}

void report_finish(struct report *r)
{
	struct config_faults *f = &r->faults;

	if (f->n == 0)
		return;
	qsort(f->list, f->n, sizeof(*f->list), compare);
	if (r->n_unlisted)
		reason_set(&f->list[f->n - 1].reason, "and %zu more faults", r->n_unlisted + 1);
}

struct quote quote_text(const char *text)
{
	struct quote q;
	size_t n = strlen(text), room = sizeof(q.text) - 8;

	if (n > room) {
		n = room;
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--; /* not inside a character */
		snprintf(q.text, sizeof(q.text), "'%.*s...'", (int)n, text);
	} else {
		snprintf(q.text, sizeof(q.text), "'%s'", text);
	}
	return q;
}

struct quote quote_node(const struct node *n)
{
	struct quote q;

	if (n->kind == NODE_SCALAR && !node_is_null(n))
		return quote_text(n->text);
	snprintf(q.text, sizeof(q.text), "%s",
		 n->kind == NODE_LIST ? "a list" : n->kind == NODE_MAP ? "a mapping" : "an empty value");
	return q;
}
