/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One short text buffer per thread; a trail that outgrows it is cut, never spilt. */
#include "base/fault.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char trail[512];

static const char *short_path(const char *file)
{
	const char *src = strstr(file, "src/");

	return src ? src + 4 : file;
}

int fault_start(int r, const char *file, int line)
{
	snprintf(trail, sizeof(trail), "%s:%d", short_path(file), line);
	return r;
}

int fault_pass(int r, const char *file, int line)
{
	size_t used = strlen(trail);

	snprintf(trail + used, sizeof(trail) - used, " < %s:%d", short_path(file), line);
	return r;
}

const char *fault_trail(void)
{
	return trail;
}
