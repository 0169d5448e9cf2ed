/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A text that grows up to a bound; what does not fit is left out and marked, so that nothing is sent cut
 * short. Threads: one.
 */
#ifndef WATCH_TEXT_H
#define WATCH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
	char *bytes; /* zero-ended once anything was added; the caller frees it */
	size_t n, room, most;
	bool is_cut; /* memory or the bound ran out */
};

void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same characters, as the content of an HTML element or a quoted attribute. */
void text_add_html(struct text *t, const char *from);
/* Behind backslashes what a label of the Prometheus format may not hold as it is. */
void text_add_label(struct text *t, const char *from);

#endif
