/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* version: one line, or one object. */
#include "main/command.h"

int cmd_version(int argc, char **argv)
{
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	printf(options.is_json ? "{\"version\": \"%s\"}\n" : "ringfeed %s\n", RINGFEED_VERSION);
	return STATUS_DONE;
}
