/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Names and keys inside reasons come from hostile files, so nothing unprintable gets through. */
#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>

/* Length of the well-formed UTF-8 character at c (RFC 3629), or 0. */
static int character(const unsigned char *c)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	int n = *c < 0x80 ? 1 : *c >> 5 == 6 ? 2 : *c >> 4 == 14 ? 3 : *c >> 3 == 30 ? 4 : 0;
	unsigned code = n == 0 ? 0 : n == 1 ? *c : *c & (0x7f >> n);

	for (int i = 1; i < n; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (c[i] & 0x3f);
	}
	if (n > 1 && (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
		return 0;
	return n;
}

void reason_set(struct reason *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	reason_clean(why->text);
}

void reason_clean(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c;) {
		int n = character(c);

		if (n == 0 || *c < 0x20 || *c == 0x7f)
			*c = '?';
		if (n == 2 && *c == 0xc2 && c[1] < 0xa0)
			c[0] = c[1] = '?'; /* the control characters above ASCII */
		c += n > 0 ? n : 1;
	}
}
