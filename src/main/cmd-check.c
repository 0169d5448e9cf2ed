/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * check: all faults of a configuration at once, then (when there is none) of its datasets, as lines on
 * stderr or as one object on stdout.
 */
/* check: all faults of a configuration at once, and every shard that cannot be used; as lines on stderr or as
 * one object on stdout. */
#include "main/command.h"
#include "main/planned.h"

#include "base/fault.h"
#include "serve/dataset.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const char *file;
	const struct config_feed *feed;
	struct config_faults *faults;
	int r;
};

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
	for (size_t i = 0; i < faults->n; i++)
		fprintf(stderr, "%s\n", faults->list[i].reason.text);
	if (n > 0)
		fprintf(stderr, "%s: %zu fault%s\n", name, n, n == 1 ? "" : "s");
	else
		fprintf(stderr, "%s: no faults, %zu feed%s\n", name, config->n_feeds,
			config->n_feeds == 1 ? "" : "s");
}

static void add_fault(void *context, size_t i, const char *path, const struct reason *why)
{
	struct check *c = context;
	struct config_fault *more = realloc(c->faults->list, (c->faults->n + 1) * sizeof(*more));

	if (!more) {
		c->r = fail(-ENOMEM);
		return;
	}
	c->faults->list = more;
	more[c->faults->n] = (struct config_fault){.line = 0};
	reason_set(&more[c->faults->n++].reason, "%s: feed %s: %s", c->file, c->feed->name, why->text);
}

/* 0, or -errno. */
static int check_datasets(const char *file, const struct config *config, struct config_faults *faults)
{
	struct check c = {.file = file, .faults = faults};

	for (size_t i = 0; i < config->n_feeds && c.r == 0; i++) {
		struct reason why = {{0}};
		struct dataset d;
		size_t before = faults->n;
		int r;

		c.feed = &config->feeds[i];
		r = dataset_open(config, c.feed, add_fault, &c, &d, &why);
		if (r < 0)
			return pass(r);
		if (r == 0)
			dataset_deinit(&d);
		else if (faults->n == before)
			add_fault(&c, 0, NULL, &why);
	}
	return c.r;
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
	if (r == 0)
		r = check_datasets(options.config, config, &faults);
	if (r < 0) {
		fprintf(stderr, "ringfeed check: %s (%s)\n", strerror(-r), fault_trail());
		config_faults_deinit(&faults);
		config_free(config);
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
