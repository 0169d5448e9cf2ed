/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One buffer, one write per line, so that lines of several processes never mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static enum log_level least = LOG_INFO;

void log_set_level(enum log_level level)
{
	least = level;
}

void log_line(enum log_level level, const char *topic, const char *format, ...)
{
	char line[1200];
	va_list args;
	int n;

	if (level > least)
		return;
	n = snprintf(line, sizeof(line), "ringfeed: %s: %s: ", names[level], topic);
	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody reads stderr: there is nobody to tell */
}
