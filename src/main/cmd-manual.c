/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* manual: the manual pages, from the tables of commands, options and keys; the build installs what it prints. */
#include "main/command.h"
#include "main/options.h"
#include "main/roff.h"

#include "config/keys.h"
#include "config/number.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The page's date: SOURCE_DATE_EPOCH where a distribution builds it, else today. */
static void put_head(const char *name, int section, const char *sentence)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	uint64_t seconds = (uint64_t)time(NULL);
	struct tm day;
	char text[64];
	time_t t;

	if (epoch)
		number_count(epoch, &seconds);
	t = (time_t)seconds;
	gmtime_r(&t, &day);
	strftime(text, sizeof(text), "%B %e, %Y", &day);
	printf(".\\\" Made by `ringfeed manual %d`, version " RINGFEED_VERSION ".\n.Dd %s\n.Dt ", section, text);
	for (const char *at = name; *at; at++)
		putchar(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
	printf(" %d\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n", section, name, sentence);
}

static void put_option(const struct option_text *o)
{
	printf(".It ");
	if (o->letter)
		printf("Fl %c , ", o->letter);
	printf("Fl \\-");
	roff_words(stdout, o->name);
	if (o->argument) {
		printf(" Ar ");
		roff_words(stdout, o->argument);
	}
	putchar('\n');
	roff_text(stdout, o->sentence);
}

static void put_command(const struct command *c)
{
	struct option_text o;
	char usage[400];

	printf(".Ss ringfeed %s\n", c->name);
	snprintf(usage, sizeof(usage), "ringfeed %s %s", c->name, c->usage);
	roff_literal(stdout, usage);
	puts(".Pp");
	roff_text(stdout, c->summary);
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; option_text(i, &o); i++)
		if ((c->takes | OPT_is_help) & o.bit)
			put_option(&o);
	puts(".El\n.Pp\nExamples:");
	roff_literal(stdout, c->examples);
}

static void put_rows(const char *const rows[][2], size_t n, const char *macro)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < n; i++) {
		printf(".It %s ", macro);
		roff_words(stdout, rows[i][0]);
		putchar('\n');
		roff_text(stdout, rows[i][1]);
	}
	puts(".El");
}

static void page_of_command(void)
{
	static const char *const variables[][2] = {
		{"RINGFEED_SOCKET", "The daemon's socket, for trainers, status and top."},
		{"RINGFEED_GROUP", "The job's name: which trainers share a pass, and which share a private daemon."},
		{"RINGFEED_REPLICA", "Which of the trainers of one rank, from 0, that get the same batches."},
		{"RINGFEED_DAEMON__MEMORY", "And so on: overrides the key daemon.memory, as --set does before it."},
		{"XDG_RUNTIME_DIR", "Where sockets lie, unless run by root."},
	};
	static const char *const files[][2] = {
		{"/run/ringfeed/ringfeed.sock", "The socket of a daemon that root runs; else ringfeed.sock in XDG_RUNTIME_DIR."},
		{"SHARD.rfidx", "The index beside a shard."},
	};
	static const char *const codes[][2] = {
		{"0", "Done."}, {"1", "Failed."}, {"2", "Wrong usage."}, {"78", "Bad or impossible configuration."},
	};

	put_head("ringfeed", 1, "keep training processes fed");
	puts(".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n.Sh DESCRIPTION");
	roff_text(stdout, "One daemon per machine reads sharded datasets, decodes and transforms the samples in a pool of worker "
		  "processes straight into shared memory, and lends finished batches to training processes, which map them "
		  "without a copy. Its peak memory is a number that the configuration sets.\n\n"
		  "Options may stand before and behind arguments, until --; stdout is data, stderr is messages.");
	puts(".Sh COMMANDS");
	for (size_t i = 0; i < n_commands; i++)
		put_command(&commands[i]);
	puts(".Sh ENVIRONMENT");
	put_rows(variables, sizeof(variables) / sizeof(variables[0]), "Ev");
	puts(".Sh FILES");
	put_rows(files, sizeof(files) / sizeof(files[0]), "Pa");
	puts(".Sh EXIT STATUS\n.Nm\nexits with one of:");
	put_rows(codes, sizeof(codes) / sizeof(codes[0]), "Li");
	puts(".Pp\n.Cm run\npasses on the first exit status of its commands that is not 0.\n"
	     ".Sh SEE ALSO\n.Xr ringfeed.yaml 5");
}

static void put_key(const char *prefix, const struct key *k)
{
	char text[900];

	printf(".It Cm ");
	roff_words(stdout, prefix);
	roff_words(stdout, k->path);
	putchar('\n');
	roff_text(stdout, k->sentence);
	if (k->type <= KEY_STEPS)
		return;
	snprintf(text, sizeof(text), "Accepted: %s.", key_accepted(k).text);
	roff_text(stdout, text);
	if (k->fallback == key_required)
		snprintf(text, sizeof(text), "Required, as %s.", k->sample);
	else if (k->fallback && k->fallback != key_either)
		snprintf(text, sizeof(text), "Default: %s.", k->fallback);
	else
		snprintf(text, sizeof(text), "No default; as %s.", k->sample);
	roff_text(stdout, text);
}

static void put_scope(const char *prefix, int scope)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < n_keys; i++)
		if ((int)keys[i].scope == scope)
			put_key(prefix, &keys[i]);
	puts(".El");
}

static void put_step(enum step_kind kind)
{
	bool has_keys = false;

	printf(".Ss ");
	roff_words(stdout, step_name(kind));
	putchar('\n');
	roff_text(stdout, step_texts[kind].sentence);
	for (size_t i = 0; i < n_keys; i++)
		has_keys |= (int)keys[i].scope == SCOPE_STEP + (int)kind;
	if (has_keys)
		put_scope("", SCOPE_STEP + (int)kind);
}

static void page_of_config(void)
{
	put_head("ringfeed.yaml", 5, "configuration of ringfeed");
	puts(".Sh DESCRIPTION");
	roff_text(stdout, "Plain YAML: no anchors, aliases or tags; unknown and repeated keys and wrong units are faults, told with "
		  "line and column by ringfeed check. Sizes and times carry their units, as 2GiB and 200ms. In paths ${NAME} "
		  "stands for a variable of the environment. A key can be overridden by --set daemon.workers=4, and below that by "
		  "the environment, as RINGFEED_DAEMON__WORKERS=4 or RINGFEED_FEEDS__TRAIN__SLOTS=8.\n\n"
		  "The file with every key and its default is printed by ringfeed help config.");
	puts(".Sh THE FILE");
	put_scope("", SCOPE_ROOT);
	puts(".Sh THE DAEMON");
	put_scope("daemon.", SCOPE_DAEMON);
	puts(".Sh FEEDS");
	put_scope("feeds.NAME.", SCOPE_FEED);
	puts(".Sh SOURCES OF A FEED");
	put_scope("feeds.NAME.source.", SCOPE_SOURCE);
	puts(".Sh FIELDS OF A FEED");
	put_scope("feeds.NAME.fields.NAME.", SCOPE_FIELD);
	puts(".Sh TRANSFORMS");
	roff_text(stdout, "A list under feeds.NAME.fields.NAME.transform, each a name or a mapping from the name to its parameters.");
	for (int i = 0; i < STEP_COUNT; i++)
		put_step((enum step_kind)i);
	puts(".Sh EXAMPLES");
	roff_literal(stdout, "daemon: {memory: 2GiB}\n"
		     "feeds:\n"
		     "  train:\n"
		     "    source: {format: webdataset, shards: \"/data/train-{000000..000146}.tar\"}\n"
		     "    batch: {size: 256}\n"
		     "    fields:\n"
		     "      image:\n"
		     "        from: [jpg, png]\n"
		     "        decode: image\n"
		     "        transform:\n"
		     "          - random_resized_crop: {size: 224}\n"
		     "          - random_horizontal_flip\n"
		     "      label: {from: cls, decode: integer}\n\n"
		     "Two sources in one feed, three samples of the first for one of the second:\n\n"
		     "    source:\n"
		     "      - {format: webdataset, shards: \"/data/web-*.tar\", weight: 3}\n"
		     "      - {format: webdataset, shards: \"/data/own-*.tar\", weight: 1}\n"
		     "    order: {until: all}\n");
	puts(".Sh SEE ALSO\n.Xr ringfeed 1");
}

int cmd_manual(int argc, char **argv)
{
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (strcmp(options.arguments[0], "1") == 0) {
		page_of_command();
	} else if (strcmp(options.arguments[0], "5") == 0) {
		page_of_config();
	} else {
		fprintf(stderr, "ringfeed manual: no section '%s'; accepted: 1, 5\n", options.arguments[0]);
		return STATUS_USAGE;
	}
	return STATUS_DONE;
}
