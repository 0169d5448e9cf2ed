/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The sentence that tells a person why something was refused: what is wrong, where (file, offset,
 * key, line:column), and what would be right. Functions that can refuse take one to fill.
 */
#ifndef BASE_REASON_H
#define BASE_REASON_H

struct reason {
	char text[600];
};

/* Fill it; a longer text is cut. Control characters and broken UTF-8 from outside become '?'. */
void reason_set(struct reason *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Makes any text fit for a terminal, a log or JSON in the same way, in place. */
void reason_clean(char *text);

#endif
