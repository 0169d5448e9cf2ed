/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Names and keys inside reasons come from hostile files, so nothing unprintable gets through. */
#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>

void reason_set(struct reason *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	for (char *c = why->text; *c; c++) {
		unsigned char u = (unsigned char)*c;

		if (u < 0x20 || u == 0x7f)
			*c = '?';
	}
}
