/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One buffer, one write per line, so that lines of several processes never mix. */
#include "base/log.h"

#include "base/reason.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static const char *const topics[] = {
#define TOPIC(name, what) #name,
#include "base/topics.def"
#undef TOPIC
};
static struct log_levels current = {{[0 ... LOG_TOPICS - 1] = LOG_INFO}};

void log_set_levels(const struct log_levels *levels)
{
	current = *levels;
}

const char *log_topic_name(unsigned i)
{
	return i < LOG_TOPICS ? topics[i] : NULL;
}

static bool is_wanted(enum log_level level, const char *topic)
{
	unsigned i = 0;

	while (i < LOG_TOPICS - 1 && strcmp(topics[i], topic) != 0)
		i++;
	return (unsigned)level <= current.least[i];
}

void log_line(enum log_level level, const char *topic, const char *format, ...)
{
	char line[1200];
	va_list args;
	int n;

	if (!is_wanted(level, topic))
		return;
	n = snprintf(line, sizeof(line), "ringfeed: %s: %s: ", names[level], topic);
	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	reason_clean(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody reads stderr: there is nobody to tell */
}
