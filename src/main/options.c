/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A strict reader of options: whole names only, no abbreviations, each at most once (but lists), so that
 * a script that works today means the same with tomorrow's options.
 */
#include "main/options.h"
#include "main/command.h"

#include "config/nearest.h"
#include "config/number.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum option_type { OPTION_FLAG, OPTION_TEXT, OPTION_TEXTS, OPTION_COUNT };

struct option_row {
	unsigned bit;
	const char *name;
	char letter;
	enum option_type type;
	size_t offset;
	const char *argument;
	uint64_t min, max;
	const char *sentence;
};

static const struct option_row rows[] = {
#define OPTION(member, name, letter, type, argument, min, max, sentence)                           \
	{OPT_##member, name, letter, type, offsetof(struct options, member), argument, min, max, sentence},
#include "main/options.def"
#undef OPTION
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* The reading of one command line. */
struct reading {
	const struct command *command; /* NULL: before it is known */
	struct options *options;
	unsigned seen;
	char **argv;
	int argc, at;
};

static const struct option_row *find_long(const char *name, size_t n)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
			return &rows[i];
	return NULL;
}

static const struct option_row *find_short(char letter)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].letter == letter)
			return &rows[i];
	return NULL;
}

/* The row of a word that begins with a minus; *ret_value what is attached to it, or NULL. */
static const struct option_row *find_row(const char *word, const char **ret_value)
{
	const char *equals;

	*ret_value = NULL;
	if (word[1] != '-') {
		*ret_value = word[2] ? word + 2 : NULL;
		return find_short(word[1]);
	}
	equals = strchr(word, '=');
	if (equals)
		*ret_value = equals + 1;
	return find_long(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

static bool refuse(const struct reading *rd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Tells the fault and the usage; always false. */
static bool refuse(const struct reading *rd, const char *format, ...)
{
	const struct command *c = rd->command;
	va_list args;

	fprintf(stderr, "ringfeed %s: ", c->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nusage: ringfeed %s %s\n`ringfeed help %s` says more.\n", c->name, c->usage, c->name);
	return false;
}

static bool refuse_unknown(const struct reading *rd, const char *word)
{
	struct nearest nearest;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 1, "="), word + 1 + (word[1] == '-'));
	nearest_init(&nearest, name);
	for (size_t i = 0; i < N_ROWS; i++)
		if ((rd->command->takes | OPT_is_help) & rows[i].bit)
			nearest_try(&nearest, rows[i].name);
	if (nearest.best && word[1] == '-')
		return refuse(rd, "unknown option %s; did you mean --%s?", word, nearest.best);
	return refuse(rd, "unknown option %s", word);
}

static bool store_count(const struct reading *rd, const struct option_row *row, const char *value)
{
	uint64_t n;

	if (number_count(value, &n) && n >= row->min && n <= row->max) {
		memcpy((char *)rd->options + row->offset, &n, sizeof(n));
		return true;
	}
	return refuse(rd, "--%s cannot be '%s'; accepted: a whole number, %llu to %llu", row->name, value,
		      (unsigned long long)row->min, (unsigned long long)row->max);
}

static bool store(const struct reading *rd, const struct option_row *row, const char *value)
{
	void *member = (char *)rd->options + row->offset;
	const bool is_given = true;
	struct texts *texts;

	switch (row->type) {
	case OPTION_FLAG:
		memcpy(member, &is_given, sizeof(is_given));
		return true;
	case OPTION_TEXT:
		memcpy(member, &value, sizeof(value));
		return true;
	case OPTION_TEXTS:
		texts = member;
		if (texts->n == SETS_MAX)
			return refuse(rd, "--%s is given too often", row->name);
		texts->list[texts->n++] = value;
		return true;
	case OPTION_COUNT:
		return store_count(rd, row, value);
	}
	return false;
}

/* Reads the option at rd->at and goes behind it. */
static bool read_option(struct reading *rd)
{
	const char *word = rd->argv[rd->at++], *value;
	const struct option_row *row = find_row(word, &value);

	if (!row || !((rd->command->takes | OPT_is_help) & row->bit))
		return refuse_unknown(rd, word);
	if (row->type == OPTION_FLAG && value)
		return refuse(rd, "--%s takes no value: %s", row->name, word);
	if (row->type != OPTION_FLAG && !value) {
		if (rd->at == rd->argc)
			return refuse(rd, "--%s needs %s", row->name, row->argument);
		value = rd->argv[rd->at++];
	}
	if ((rd->seen & row->bit) && row->type != OPTION_TEXTS)
		return refuse(rd, "--%s is given twice", row->name);
	rd->seen |= row->bit;
	return store(rd, row, value);
}

/* Options are read, the rest gathers at the front of argv, where room has become free. */
static bool read_all(struct reading *rd)
{
	struct options *o = rd->options;

	o->arguments = rd->argv + 1;
	while (rd->at < rd->argc) {
		if (strcmp(rd->argv[rd->at], "--") == 0) {
			for (rd->at++; rd->at < rd->argc; rd->at++)
				o->arguments[o->n_arguments++] = rd->argv[rd->at];
		} else if (!is_option(rd->argv[rd->at])) {
			o->arguments[o->n_arguments++] = rd->argv[rd->at++];
		} else if (!read_option(rd)) {
			return false;
		}
	}
	return true;
}

static bool has_all(const struct reading *rd)
{
	const struct command *c = rd->command;
	const struct options *o = rd->options;

	for (size_t i = 0; i < N_ROWS; i++)
		if ((c->needs & rows[i].bit) && !(rd->seen & rows[i].bit))
			return refuse(rd, "--%s %s is missing", rows[i].name, rows[i].argument);
	if (o->n_arguments > c->n_most)
		return refuse(rd, "one argument too many: %s", o->arguments[c->n_most]);
	if (o->n_arguments < c->n_least)
		return refuse(rd, "an argument is missing");
	return true;
}

bool options_parse(int argc, char **argv, struct options *ret, int *ret_status)
{
	struct reading rd = {.command = command_find(argv[0]), .options = ret, .argv = argv, .argc = argc,
			     .at = 1};

	assert(rd.command);
	memset(ret, 0, sizeof(*ret));
	*ret_status = STATUS_USAGE;
	if (!read_all(&rd))
		return false;
	if (ret->is_help) {
		help_command(stdout, rd.command);
		*ret_status = STATUS_DONE;
		return false;
	}
	return has_all(&rd);
}

int options_before_command(int argc, char **argv)
{
	int at = 0;

	while (at < argc && is_option(argv[at]) && strcmp(argv[at], "--") != 0) {
		const char *value;
		const struct option_row *row = find_row(argv[at++], &value);

		if (row && row->type != OPTION_FLAG && !value && at < argc)
			at++;
	}
	return at;
}

void help_options(FILE *file, unsigned bits)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char text[60];

		if (!(bits & rows[i].bit))
			continue;
		if (rows[i].letter)
			snprintf(text, sizeof(text), "-%c, --%s%s%s", rows[i].letter, rows[i].name,
				 rows[i].argument ? " " : "", rows[i].argument ? rows[i].argument : "");
		else
			snprintf(text, sizeof(text), "    --%s%s%s", rows[i].name,
				 rows[i].argument ? " " : "", rows[i].argument ? rows[i].argument : "");
		fprintf(file, "  %-22s %s\n", text, rows[i].sentence);
	}
}

bool option_text(size_t i, struct option_text *ret)
{
	if (i >= N_ROWS)
		return false;
	*ret = (struct option_text){rows[i].bit, rows[i].name, rows[i].argument, rows[i].sentence, rows[i].letter};
	return true;
}
