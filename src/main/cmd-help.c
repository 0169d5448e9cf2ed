/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* help: what the tables of commands, options and keys say. */
#include "main/command.h"
#include "main/options.h"

#include "watch/metrics.h"

#include <string.h>

void help_all(FILE *file)
{
	fputs("ringfeed keeps training processes fed.\n\nusage: ringfeed COMMAND [OPTIONS]\n\n", file);
	for (size_t i = 0; i < n_commands; i++)
		fprintf(file, "  %-10s %.*s\n", commands[i].name, (int)strcspn(commands[i].summary, "\n"),
			commands[i].summary);
	fputs("\n`ringfeed help COMMAND` says more; `ringfeed help config` prints every key of the configuration,\n`ringfeed help metrics` every metric.\n"
	      "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad or impossible configuration.\n", file);
}

void help_command(FILE *file, const struct command *c)
{
	fprintf(file, "usage: ringfeed %s %s\n\n%s\n\noptions:\n", c->name, c->usage, c->summary);
	help_options(file, c->takes | OPT_is_help);
	fprintf(file, "\nexamples:\n%s", c->examples);
}

static int help_metrics(void)
{
	struct metric_text m;

	puts("What daemon.metrics exposes at /metrics, in Prometheus' text format: one row for each metric.\n");
	for (size_t i = 0; metric_text(i, &m); i++)
		printf("%s%s%s%s  %s\n    %s\n", m.name, *m.labels ? "{" : "", m.labels, *m.labels ? "}" : "", m.type, m.help);
	return STATUS_DONE;
}

static int refuse_topic(const char *topic)
{
	const char *best = command_nearest(topic);

	fprintf(stderr, "ringfeed help: no help for '%s'%s%s%s\naccepted: config, metrics", topic,
		best ? "; did you mean " : "", best ? best : "", best ? "?" : "");
	for (size_t i = 0; i < n_commands; i++)
		fprintf(stderr, ", %s", commands[i].name);
	fputc('\n', stderr);
	return STATUS_USAGE;
}

int cmd_help(int argc, char **argv)
{
	const struct command *command;
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (options.n_arguments == 0) {
		help_all(stdout);
		return STATUS_DONE;
	}
	if (strcmp(options.arguments[0], "config") == 0)
		return config_print_sample(stdout) == 0 ? STATUS_DONE : STATUS_FAILED;
	if (strcmp(options.arguments[0], "metrics") == 0)
		return help_metrics();
	command = command_find(options.arguments[0]);
	if (!command)
		return refuse_topic(options.arguments[0]);
	help_command(stdout, command);
	return STATUS_DONE;
}
