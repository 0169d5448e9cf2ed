/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The file's bytes, bounded, go through tree and reader; a config comes out only without faults. */
#include "config/config.h"

#include "config/read.h"
#include "config/digest.h"
#include "config/document.h"

#include "base/classes.h"
#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void fault_of_file(struct config_faults *faults, const char *name, const char *what)
{
	struct report report = {.faults = {NULL, 0}};
	const struct place place = {.name = name};

	report_fault(&report, &place, "%s", what);
	*faults = report.faults;
}

/* Up to TEXT_MAX + 1 bytes, so that the reader sees what is too long. How many, or -errno. */
static int64_t read_text(const char *path, char *text)
{
	const bool is_input = strcmp(path, "-") == 0;
	const int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int64_t n;

	if (fd < 0)
		return -errno;
	n = file_read(fd, text, TEXT_MAX + 1);
	if (!is_input)
		close(fd);
	return n;
}

int config_load(const char *path, const char *const *sets, size_t n_sets, struct config **ret,
		struct config_faults *ret_faults)
{
	struct config_source source = {.name = strcmp(path, "-") == 0 ? "standard input" : path,
				       .sets = sets,
				       .n_sets = n_sets,
				       .environment = environ};
	char *text = malloc(TEXT_MAX + 1);
	int64_t n;
	int r;

	if (!text)
		return fail(-ENOMEM);
	n = read_text(path, text);
	if (n < 0) {
		fault_of_file(ret_faults, source.name, strerror((int)-n));
		r = ret_faults->n ? CONFIG_E_FAULTS : fail(-ENOMEM);
		goto out;
	}
	source.text = text;
	source.n_text = (size_t)n;
	r = config_read(&source, ret, ret_faults);
out:
	free(text);
	return r;
}

static void read_tree(struct reader *rd, const struct config_source *source, struct config *config)
{
	const struct place place = {.name = source->name, .line = 1, .column = 1};
	struct node *root = document_read(&rd->report, &rd->tree, &place, source->text, source->n_text);

	if (!root) {
		if (rd->report.faults.n == 0)
			report_fault(&rd->report, &place, "is empty; accepted: a mapping with the keys daemon and "
				     "feeds");
		return;
	}
	if (root->kind != NODE_MAP) {
		if (root->kind != NODE_BAD)
			report_fault(&rd->report, &root->place, "%s is wrong; accepted: a mapping with the keys "
				     "daemon and feeds", quote_node(root).text);
		return;
	}
	override_tree(rd, root, source->sets, source->n_sets);
	config->digest = tree_digest(root);
	read_root(rd, root, config);
}

int config_read(const struct config_source *source, struct config **ret, struct config_faults *ret_faults)
{
	struct reader rd = {.environment = source->environment};
	struct config *config = calloc(1, sizeof(*config));
	int r;

	if (!config)
		return fail(-ENOMEM);
	read_tree(&rd, source, config);
	report_finish(&rd.report);
	tree_deinit(&rd.tree);
	r = rd.report.r;
	if (r == 0 && rd.report.faults.n > 0)
		r = CONFIG_E_FAULTS;
	if (r == CONFIG_E_FAULTS)
		*ret_faults = rd.report.faults;
	else
		config_faults_deinit(&rd.report.faults);
	if (r != 0) {
		config_free(config);
		return r < 0 ? pass(r) : r;
	}
	*ret = config;
	return 0;
}

static void free_input(struct config_input *input)
{
	for (size_t i = 0; i < input->n_patterns; i++)
		free(input->patterns[i]);
	free(input->patterns);
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->n_feeds; i++) {
		if (c->feeds[i].base != i)
			continue; /* what a view has is the feed's */
		for (size_t j = 0; j < c->feeds[i].n_inputs; j++)
			free_input(&c->feeds[i].inputs[j]);
		free(c->feeds[i].inputs);
		for (unsigned j = 0; j < c->feeds[i].pipeline.n_fields; j++)
			classes_free(c->feeds[i].pipeline.fields[j].classes);
	}
	free(c->feeds);
	free(c->daemon.socket);
	free(c->daemon.ledger);
	free(c->daemon.index_cache);
	free(c);
	return NULL;
}

void config_faults_deinit(struct config_faults *f)
{
	free(f->list);
	f->list = NULL;
	f->n = 0;
}

const struct config_feed *config_feed(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_feeds; i++)
		if (strcmp(c->feeds[i].name, name) == 0)
			return &c->feeds[i];
	return NULL;
}

int config_default_socket(char *path, size_t n_path)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0)
		n = snprintf(path, n_path, "/run/ringfeed/ringfeed.sock");
	else if (folder && *folder)
		n = snprintf(path, n_path, "%s/ringfeed.sock", folder);
	else
		n = snprintf(path, n_path, "/tmp/ringfeed-%lu/ringfeed.sock", (unsigned long)geteuid());
	return n >= 0 && (size_t)n < n_path ? 0 : fail(-ENAMETOOLONG);
}
