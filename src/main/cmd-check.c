/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* check: all faults of a configuration at once, and every shard that cannot be used; as lines on stderr or as
 * one object on stdout. */
#include "main/command.h"

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
	int r, status;

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
	status = faults.n > 0 ? STATUS_CONFIG : STATUS_DONE;
	if (!options.is_json)
		print_lines(options.config, config, &faults);
	else if (print_json(&faults) != 0)
		status = STATUS_FAILED;
	config_faults_deinit(&faults);
	config_free(config);
	return status;
}
