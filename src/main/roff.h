/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Text as mdoc(7) wants it: what roff would take for its own is escaped, every sentence begins a line. Threads: any. */
#ifndef MAIN_ROFF_H
#define MAIN_ROFF_H

#include <stdio.h>

/* Text to be filled, ending a line; an empty line begins a paragraph. */
void roff_text(FILE *file, const char *text);
/* Words of a macro's line: no sentences, and no line feed at the end. */
void roff_words(FILE *file, const char *text);
/* Lines as they are, in a display of their own. */
void roff_literal(FILE *file, const char *text);

#endif
