/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* ensure: the private daemon of a configuration and a job, for loaders that are given a configuration. */
#include "main/command.h"
#include "main/companion.h"

int cmd_ensure(int argc, char **argv)
{
	struct companion companion;
	struct options options;
	struct config *config;
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	status = companion_ensure(config, &companion);
	config_free(config);
	if (status == STATUS_DONE)
		printf("%s\n%s\n", companion.socket, companion.log);
	return status;
}
