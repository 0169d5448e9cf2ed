/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* UTF-8 comes out as \[uXXXX], so that pages are plain ASCII. */
#include "main/roff.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { COLUMNS = 70 }; /* escapes make lines longer */

static const struct {
	char is;
	const char *becomes;
} escapes[] = {{'\\', "\\e"}, {'-', "\\-"}, {'`', "\\(ga"}, {'\'', "\\(aq"}, {'"', "\\(dq"}, {'^', "\\(ha"}, {'~', "\\(ti"}};

static const char *put_escape(FILE *file, const char *at)
{
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		if (escapes[i].is == *at) {
			fputs(escapes[i].becomes, file);
			return at + 1;
		}
	}
	return NULL;
}

/* One letter; returns the one behind it. */
static const char *put(FILE *file, const char *at)
{
	const unsigned char first = (unsigned char)*at;
	const char *behind = put_escape(file, at);
	uint32_t code;

	if (behind)
		return behind;
	if (first < 0xC0) {
		fputc(*at, file);
		return at + 1;
	}
	code = first & (first >= 0xF0 ? 7 : first >= 0xE0 ? 15 : 31);
	while (((unsigned char)*++at & 0xC0) == 0x80)
		code = code << 6 | ((unsigned char)*at & 63);
	fprintf(file, "\\[u%04X]", code);
	return at;
}

static const char *put_first(FILE *file, const char *at)
{
	if (*at == '.')
		fputs("\\&", file); /* else it would be a request */
	return put(file, at);
}

/* Does a sentence end before this space? */
static bool is_end(const char *space, const char *text)
{
	return space > text && strchr(".!?:", space[-1]) && space[1] >= 'A' && space[1] <= 'Z';
}

static void put_word(FILE *file, const char *at, size_t n, bool is_first)
{
	const char *end = at + n;

	if (is_first && n)
		at = put_first(file, at);
	while (at < end)
		at = put(file, at);
}

void roff_text(FILE *file, const char *text)
{
	size_t column = 0;

	for (const char *at = text; *at;) {
		const size_t n = strcspn(at, " \n");
		const char *space = at + n;

		put_word(file, at, n, column == 0);
		column += n + 1;
		if (space[0] == '\n' && space[1] == '\n') {
			fputs("\n.Pp\n", file);
			column = 0;
			at = space + 2;
			continue;
		}
		at = space + (*space != 0);
		if (!*at || is_end(space, text) || column + strcspn(at, " \n") > COLUMNS) {
			fputc('\n', file);
			column = 0;
		} else {
			fputc(' ', file);
		}
	}
}

void roff_words(FILE *file, const char *text)
{
	while (*text)
		text = put(file, text);
}

void roff_literal(FILE *file, const char *text)
{
	bool is_begin = true;

	fputs(".Bd -literal -offset indent\n", file);
	while (*text) {
		text = is_begin ? put_first(file, text) : put(file, text);
		is_begin = text[-1] == '\n';
	}
	fputs(is_begin ? ".Ed\n" : "\n.Ed\n", file);
}
