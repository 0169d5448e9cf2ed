/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The frame of the command line. A command is one row of commands.def and one file cmd-NAME.c with
 * int cmd_NAME(int argc, char **argv), argv[0] being its name; it begins with options_parse:
 *
 *	struct options options;
 *	int status;
 *
 *	if (!options_parse(argc, argv, &options, &status))
 *		return status;
 *
 * stdout is data, stderr is messages. Threads: the main one.
 */
#ifndef MAIN_COMMAND_H
#define MAIN_COMMAND_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum exit_status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_CONFIG = 78, /* EX_CONFIG: bad or impossible configuration */
};

enum { SETS_MAX = 256 };

struct texts {
	const char *list[SETS_MAX];
	size_t n;
};

struct options {
	const char *config, *socket, *name, *shard_size, *classes, *trace, *output;
	struct texts sets;
	bool is_json, has_draws, has_digest, is_squeezed, is_forced, may_skip, is_help;
	uint64_t copies, epoch, first, batches, seconds, epochs, samples, shuffle, long_side, interval, batch, columns;
	/* What is no option, and all that stands behind "--". Points into argv. */
	char **arguments;
	size_t n_arguments;
};

struct command {
	const char *name, *usage;
	size_t n_least, n_most; /* arguments */
	unsigned takes, needs;	/* option bits */
	const char *summary, *examples;
	int (*run)(int argc, char **argv);
};

extern const struct command commands[];
extern const size_t n_commands;

#define COMMAND(name, ...) int cmd_##name(int argc, char **argv);
#include "main/commands.def"
#include "main/inner-commands.def"
#undef COMMAND

/* The command of that name, or NULL. */
const struct command *command_find(const char *name);
/* The name that was probably meant, or NULL. */
const char *command_nearest(const char *name);

/* Reads argv by the row of argv[0]. Options may stand before and behind arguments, until "--"; arguments
 * are sorted behind options in argv. False: the command is over with *ret_status (help was printed, or a
 * fault was told on stderr). */
bool options_parse(int argc, char **argv, struct options *ret, int *ret_status);
/* How many words of argv from the first on are options with their values: where the command stands. */
int options_before_command(int argc, char **argv);

void help_all(FILE *file);
void help_command(FILE *file, const struct command *c);
/* The rows of options.def that these bits name, one line each. */
void help_options(FILE *file, unsigned bits);

/* The i-th option of options.def: its long name, letter (or 0), what it takes (or NULL), sentence. false: past the last. */
struct option_text {
	unsigned bit;
	const char *name, *argument, *sentence;
	char letter;
};
bool option_text(size_t i, struct option_text *ret);

/* Runs the daemon in this process (serve_run), says on stderr why it could not, and returns the exit status. */
struct serve_options;
int serve_status(const struct config *config, const struct serve_options *options);

/* The shards that the arguments name; shard_list_deinit them. False: *ret_status, the fault is on stderr. */
struct shard_list;
bool options_shards(const struct options *options, struct shard_list *ret, int *ret_status);

/* Loads -c with --set and applies daemon.log to this process. False: *ret_status, the faults are on stderr. */
bool options_config(const struct options *options, struct config **ret, int *ret_status);

#endif
