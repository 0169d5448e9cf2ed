/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Room doubles; control characters are never passed on. */
#include "watch/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_LEAST = 4096, LINE = 120 };

/* Room for n more bytes and a zero. */
static bool make_room(struct text *t, size_t n)
{
	size_t room = t->room ? t->room : ROOM_LEAST;
	char *more;

	while (room <= t->n + n && room < t->most)
		room *= 2;
	if (room > t->most)
		room = t->most;
	if (t->is_cut || room <= t->n + n) {
		t->is_cut = true;
		return false;
	}
	if (room == t->room)
		return true;
	more = realloc(t->bytes, room);
	if (!more) {
		t->is_cut = true;
		return false;
	}
	t->bytes = more;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	if (!make_room(t, LINE))
		return;
	va_start(args, format);
	n = vsnprintf(t->bytes + t->n, t->room - t->n, format, args);
	va_end(args);
	if (n > 0 && (size_t)n >= t->room - t->n) { /* longer than the room there happened to be */
		if (!make_room(t, (size_t)n)) {
			t->bytes[t->n] = 0;
			return;
		}
		va_start(args, format);
		vsnprintf(t->bytes + t->n, t->room - t->n, format, args);
		va_end(args);
	}
	t->n += n > 0 ? (size_t)n : 0;
}

static void add_bytes(struct text *t, const char *from, size_t n)
{
	if (!make_room(t, n))
		return;
	memcpy(t->bytes + t->n, from, n);
	t->n += n;
	t->bytes[t->n] = 0;
}

void text_add_html(struct text *t, const char *from)
{
	while (*from) {
		size_t n = strcspn(from, "&<>\"'\177\001\002\003\004\005\006\007\010\011\012\013\014\015\016\017\020\021"
				   "\022\023\024\025\026\027\030\031\032\033\034\035\036\037");

		add_bytes(t, from, n);
		from += n;
		if (!*from)
			return;
		if (*from == '&' || *from == '<' || *from == '>' || *from == '"' || *from == '\'')
			text_add(t, "&#%d;", *from);
		else
			add_bytes(t, "\xef\xbf\xbd", 3); /* U+FFFD */
		from++;
	}
}

void text_add_label(struct text *t, const char *from)
{
	for (; *from; from++) {
		if (*from == '\n')
			add_bytes(t, "\\n", 2);
		else if (*from == '\\' || *from == '"')
			text_add(t, "\\%c", *from);
		else
			add_bytes(t, from, 1);
	}
}
