/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What every command with -c does first. */
#include "main/command.h"

#include "base/fault.h"
#include "base/log.h"

#include <string.h>

bool options_config(const struct options *options, struct config **ret, int *ret_status)
{
	struct config_faults faults = {NULL, 0};
	int r = config_load(options->config, options->sets.list, options->sets.n, ret, &faults);

	if (r == 0) {
		log_set_levels(&(*ret)->daemon.log);
		return true;
	}
	if (r == CONFIG_E_FAULTS) {
		for (size_t i = 0; i < faults.n; i++)
			fprintf(stderr, "%s\n", faults.list[i].reason.text);
		config_faults_deinit(&faults);
		*ret_status = STATUS_CONFIG;
	} else {
		fprintf(stderr, "ringfeed: %s: %s (%s)\n", options->config, strerror(-r), fault_trail());
		*ret_status = STATUS_FAILED;
	}
	return false;
}
