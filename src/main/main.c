/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Finds the command and hands it its words; options that stand before the command go behind it. */
#include "main/command.h"
#include "main/options.h"

#include "config/nearest.h"

#include <stdlib.h>
#include <string.h>

#define COMMAND(name, usage, n_least, n_most, takes, needs, summary, examples)                     \
	{#name, usage, n_least, n_most, takes, needs, summary, examples, cmd_##name},
const struct command commands[] = {
#include "main/commands.def"
};
static const struct command inner_commands[] = {
#include "main/inner-commands.def"
};
#undef COMMAND
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < n_commands; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	for (size_t i = 0; i < sizeof(inner_commands) / sizeof(inner_commands[0]); i++)
		if (strcmp(inner_commands[i].name, name) == 0)
			return &inner_commands[i];
	return NULL;
}

const char *command_nearest(const char *name)
{
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (size_t i = 0; i < n_commands; i++)
		nearest_try(&nearest, commands[i].name);
	return nearest.best;
}

static int refuse_command(const char *name)
{
	const char *best = command_nearest(name);

	fprintf(stderr, "ringfeed: unknown command '%s'%s%s%s\n", name, best ? "; did you mean " : "",
		best ? best : "", best ? "?" : "");
	fputs("accepted:", stderr);
	for (size_t i = 0; i < n_commands; i++)
		fprintf(stderr, " %s", commands[i].name);
	fputs("\n`ringfeed help` says more.\n", stderr);
	return STATUS_USAGE;
}

/* Nothing but options: help, the version, or a slip. */
static int no_command(int argc, char **argv)
{
	if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
		help_all(stdout);
		return STATUS_DONE;
	}
	if (argc == 1 && strcmp(argv[0], "--version") == 0) {
		char name[] = "version";
		char *words[] = {name, NULL};

		return cmd_version(1, words);
	}
	help_all(stderr);
	return STATUS_USAGE;
}

/* A command whose output did not reach stdout has failed, whatever it thinks of itself. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fputs("ringfeed: the output could not be written\n", stderr);
	return status == STATUS_DONE ? STATUS_FAILED : status;
}

int main(int argc, char **argv)
{
	int n_before = argc > 0 ? options_before_command(argc - 1, argv + 1) : 0;
	const struct command *command;
	char *name;

	if (n_before >= argc - 1)
		return finish(no_command(argc > 0 ? argc - 1 : 0, argv + 1));
	name = argv[1 + n_before];
	command = command_find(name);
	if (!command)
		return refuse_command(name);
	memmove(argv + 2, argv + 1, (size_t)n_before * sizeof(*argv));
	argv[1] = name;
	return finish(command->run(argc - 1, argv + 1));
}
