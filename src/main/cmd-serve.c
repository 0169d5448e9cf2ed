/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* serve: the daemon in the foreground. */
#include "main/command.h"

#include "base/fault.h"
#include "serve/serve.h"

#include <string.h>

int serve_status(const struct config *config, const struct serve_options *options)
{
	struct reason why = {{0}};
	int r = serve_run(config, options, &why);

	if (r == 0)
		return STATUS_DONE;
	if (*why.text)
		fprintf(stderr, "ringfeed: %s\n", why.text);
	else if (r < 0)
		fprintf(stderr, "ringfeed: the daemon failed: %s (%s)\n", strerror(-r), fault_trail());
	return r == SERVE_E_REFUSED ? STATUS_CONFIG : STATUS_FAILED;
}

/* The same file and --set again; the first fault, and how many more there are. */
static int reread(void *context, struct config **ret, struct reason *why)
{
	const struct options *options = context;
	struct config_faults faults = {NULL, 0};
	int r = config_load(options->config, options->sets.list, options->sets.n, ret, &faults);

	if (r == CONFIG_E_FAULTS && faults.n > 1)
		reason_set(why, "%s (and %zu more faults)", faults.list[0].reason.text, faults.n - 1);
	else if (r == CONFIG_E_FAULTS)
		*why = faults.list[0].reason;
	else if (r < 0)
		reason_set(why, "%s: %s", options->config, strerror(-r));
	config_faults_deinit(&faults);
	return r;
}

int cmd_serve(int argc, char **argv)
{
	struct serve_options how = {.ready_fd = -1};
	struct config *config;
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	how.socket = options.socket;
	if (strcmp(options.config, "-") != 0) {
		how.reread = reread;
		how.reread_context = &options;
	}
	status = serve_status(config, &how);
	config_free(config);
	return status;
}
