/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* completion: scripts for shells, from the tables of commands and options. */
#include "main/command.h"
#include "main/options.h"

#include <string.h>

/* "--config --set …": all long options of the command, or their letters as well. */
static void print_options(const struct command *c)
{
	struct option_text o;

	for (size_t i = 0; option_text(i, &o); i++)
		if ((c->takes | OPT_is_help) & o.bit)
			printf(" --%s", o.name);
}

static void print_commands(void)
{
	for (size_t i = 0; i < n_commands; i++)
		printf("%s%s", i ? " " : "", commands[i].name);
}

/* Options that take a file are completed by the shell's own way, which is also the way for arguments. */
static void print_bash(void)
{
	puts("# bash completion for ringfeed\n"
	     "_ringfeed() {\n"
	     "\tlocal word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} options=\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	fputs("\t\tCOMPREPLY=($(compgen -W \"", stdout);
	print_commands();
	puts("\" -- \"$word\"))\n\t\treturn\n\tfi\n\tcase $command in");
	for (size_t i = 0; i < n_commands; i++) {
		printf("\t%s) options=\"", commands[i].name);
		print_options(&commands[i]);
		puts("\" ;;");
	}
	puts("\tesac\n"
	     "\tcase $command in\n"
	     "\tcompletion) COMPREPLY=($(compgen -W \"bash zsh fish$options\" -- \"$word\")) ;;");
	fputs("\thelp) COMPREPLY=($(compgen -W \"config metrics ", stdout);
	print_commands();
	puts("$options\" -- \"$word\")) ;;\n"
	     "\t*) case $word in -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;; esac ;;\n"
	     "\tesac\n"
	     "}\n"
	     "complete -o default -F _ringfeed ringfeed");
}

/* A sentence inside single quotes, for zsh and fish; characters that would mean more there are left out. */
static void print_sentence(const char *text, const char *without)
{
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", stdout);
		else if (!strchr(without, *text))
			putchar(*text);
}

static void print_zsh(void)
{
	puts("#compdef ringfeed\n"
	     "_ringfeed() {\n"
	     "\tlocal -a commands\n"
	     "\tcommands=(");
	for (size_t i = 0; i < n_commands; i++) {
		printf("\t\t'%s:", commands[i].name);
		print_sentence(commands[i].summary, ":");
		puts("'");
	}
	puts("\t)\n"
	     "\tif (( CURRENT == 2 )); then _describe command commands; return; fi\n"
	     "\tcase $words[2] in");
	for (size_t i = 0; i < n_commands; i++) {
		struct option_text o;

		printf("\t%s) _arguments", commands[i].name);
		for (size_t k = 0; option_text(k, &o); k++) {
			if (!((commands[i].takes | OPT_is_help) & o.bit))
				continue;
			printf(" '--%s[", o.name);
			print_sentence(o.sentence, "[]:");
			printf("]%s%s%s'", o.argument ? ":" : "", o.argument ? o.argument : "",
			       o.argument ? ":_files" : "");
		}
		puts(" '*:file:_files' ;;");
	}
	puts("\tesac\n"
	     "}\n"
	     "if [ \"$funcstack[1]\" = _ringfeed ]; then _ringfeed \"$@\"; else compdef _ringfeed ringfeed; fi");
}

static void print_fish(void)
{
	puts("# fish completion for ringfeed");
	for (size_t i = 0; i < n_commands; i++) {
		struct option_text o;

		printf("complete -c ringfeed -n __fish_use_subcommand -f -a %s -d '", commands[i].name);
		print_sentence(commands[i].summary, "");
		puts("'");
		for (size_t k = 0; option_text(k, &o); k++) {
			if (!((commands[i].takes | OPT_is_help) & o.bit))
				continue;
			printf("complete -c ringfeed -n '__fish_seen_subcommand_from %s' -l %s", commands[i].name, o.name);
			if (o.letter)
				printf(" -s %c", o.letter);
			printf("%s -d '", o.argument ? " -r" : "");
			print_sentence(o.sentence, "");
			puts("'");
		}
	}
	puts("complete -c ringfeed -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'");
}

int cmd_completion(int argc, char **argv)
{
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (strcmp(options.arguments[0], "bash") == 0)
		print_bash();
	else if (strcmp(options.arguments[0], "zsh") == 0)
		print_zsh();
	else if (strcmp(options.arguments[0], "fish") == 0)
		print_fish();
	else {
		fprintf(stderr, "ringfeed completion: unknown shell '%s'; accepted: bash, zsh, fish\n",
			options.arguments[0]);
		return STATUS_USAGE;
	}
	return STATUS_DONE;
}
