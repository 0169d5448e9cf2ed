/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * check: all faults of a configuration at once, then (when there is none) of its datasets, as lines on
 * stderr or as one object on stdout.
 */
#include "main/command.h"
#include "main/planned.h"

#include "base/fault.h"

#include <jansson.h>
#include <string.h>

/* A fault may quote bytes from the command line that are no UTF-8; JSON has nothing but UTF-8. */
static json_t *text_of(const struct reason *reason)
{
	json_t *text = json_string(reason->text);
	struct reason plain = *reason;

	if (text)
		return text;
	for (char *c = plain.text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(plain.text);
}

static json_t *list_config_faults(const struct config_faults *faults)
{
	json_t *list = json_array();

	for (size_t i = 0; i < faults->n; i++) {
		const struct config_fault *f = &faults->list[i];

		json_array_append_new(list, json_pack("{s:i, s:i, s:o}", "line", (int)f->line, "column",
						      (int)f->column, "fault", text_of(&f->reason)));
	}
	return list;
}

static void tell_list(void *context, const char *fault)
{
	struct reason reason;

	reason_set(&reason, "%s", fault);
	json_array_append_new(context, json_pack("{s:o}", "fault", text_of(&reason)));
}

/* Opens the datasets; faults go on the list, and to stderr for people. Returns how many there were. */
static size_t check_datasets(const struct config *config, bool is_json, json_t *list)
{
	json_t *found = json_array();
	struct dataset *datasets = datasets_open(config, tell_list, found);
	size_t n = json_array_size(found);

	for (size_t i = 0; i < n && !is_json; i++)
		tell_stderr(NULL, json_string_value(json_object_get(json_array_get(found, i), "fault")));
	json_array_extend(list, found);
	json_decref(found);
	if (datasets)
		datasets_free(datasets, config->n_feeds);
	return n;
}

static int print_json(json_t *list)
{
	json_t *all = json_pack("{s:b, s:O}", "is_accepted", json_array_size(list) == 0, "faults", list);
	int r = all ? json_dumpf(all, stdout, JSON_INDENT(1)) : -1;

	putchar('\n');
	json_decref(all);
	return r;
}

static void print_lines(const char *name, const struct config *config, const struct config_faults *faults,
			size_t n)
{
	size_t n_views = 0, n_feeds;

	for (size_t i = 0; i < faults->n; i++)
		fprintf(stderr, "%s\n", faults->list[i].reason.text);
	if (n > 0) {
		fprintf(stderr, "%s: %zu fault%s\n", name, n, n == 1 ? "" : "s");
		return;
	}
	for (size_t i = 0; i < config->n_feeds; i++)
		n_views += config->feeds[i].base != i;
	n_feeds = config->n_feeds - n_views;
	fprintf(stderr, "%s: no faults, %zu feed%s", name, n_feeds, n_feeds == 1 ? "" : "s");
	if (n_views)
		fprintf(stderr, ", %zu view%s", n_views, n_views == 1 ? "" : "s");
	fputc('\n', stderr);
}

int cmd_check(int argc, char **argv)
{
	struct config_faults faults = {NULL, 0};
	struct config *config = NULL;
	struct options options;
	json_t *list;
	int r, status;
	size_t n;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	r = config_load(options.config, options.sets.list, options.sets.n, &config, &faults);
	if (r < 0) {
		fprintf(stderr, "ringfeed check: %s (%s)\n", strerror(-r), fault_trail());
		return STATUS_FAILED;
	}
	list = list_config_faults(&faults);
	n = faults.n;
	if (n == 0)
		n = check_datasets(config, options.is_json, list);
	status = n > 0 ? STATUS_CONFIG : STATUS_DONE;
	if (!options.is_json)
		print_lines(options.config, config, &faults, n);
	else if (print_json(list) != 0)
		status = STATUS_FAILED;
	json_decref(list);
	config_faults_deinit(&faults);
	config_free(config);
	return status;
}
