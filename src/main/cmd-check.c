/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* check: all faults of a configuration at once, as lines on stderr or as one object on stdout. */
#include "main/command.h"

#include "base/fault.h"

#include <jansson.h>
#include <string.h>

/* A fault may quote bytes from the command line that are no UTF-8; JSON has nothing but UTF-8. */
static json_t *text_of(const struct config_fault *f)
{
	json_t *text = json_string(f->reason.text);
	struct reason plain = f->reason;

	if (text)
		return text;
	for (char *c = plain.text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(plain.text);
}

static int print_json(const struct config_faults *faults)
{
	json_t *list = json_array(), *all;
	int r;

	for (size_t i = 0; i < faults->n; i++) {
		const struct config_fault *f = &faults->list[i];

		json_array_append_new(list, json_pack("{s:i, s:i, s:o}", "line", (int)f->line, "column",
						      (int)f->column, "fault", text_of(f)));
	}
	if (json_array_size(list) != faults->n) {
		json_decref(list);
		return -1;
	}
	all = json_pack("{s:b, s:o}", "is_accepted", faults->n == 0, "faults", list);
	r = all ? json_dumpf(all, stdout, JSON_INDENT(1)) : -1;
	putchar('\n');
	json_decref(all);
	return r;
}

static void print_lines(const char *name, const struct config *config, const struct config_faults *faults)
{
	for (size_t i = 0; i < faults->n; i++)
		fprintf(stderr, "%s\n", faults->list[i].reason.text);
	if (faults->n > 0)
		fprintf(stderr, "%s: %zu fault%s\n", name, faults->n, faults->n == 1 ? "" : "s");
	else
		fprintf(stderr, "%s: no faults, %zu feed%s\n", name, config->n_feeds,
			config->n_feeds == 1 ? "" : "s");
}

int cmd_check(int argc, char **argv)
{
	struct config_faults faults = {NULL, 0};
	struct config *config = NULL;
	struct options options;
	int r, status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	r = config_load(options.config, options.sets.list, options.sets.n, &config, &faults);
	if (r < 0) {
		fprintf(stderr, "ringfeed check: %s (%s)\n", strerror(-r), fault_trail());
		return STATUS_FAILED;
	}
	status = faults.n > 0 ? STATUS_CONFIG : STATUS_DONE;
	if (!options.is_json)
		print_lines(options.config, config, &faults);
	else if (print_json(&faults) != 0)
		status = STATUS_FAILED;
	config_faults_deinit(&faults);
	config_free(config);
	return status;
}
