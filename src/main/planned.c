/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* All faults of all feeds are told before giving up: a person mends them in one go. */
#include "main/planned.h"

#include "base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct teller {
	void (*tell)(void *context, const char *fault);
	void *context;
	size_t n_told;
};

void tell_stderr(void *context, const char *fault)
{
	fprintf(stderr, "ringfeed: %s\n", fault);
}

static void tell_refused(void *context, size_t i, const char *path, const struct reason *why)
{
	struct teller *t = context;

	t->n_told++;
	t->tell(t->context, why->text);
}

/* false: something was told. */
static bool open_one(const struct config *config, const struct config_feed *feed, struct dataset *dataset,
		     struct teller *t)
{
	struct reason why = {{0}}, whole;
	size_t n_before = t->n_told;
	int r = dataset_open(config, feed, tell_refused, t, dataset, &why);

	if (r == 0)
		return true;
	if (r > 0 && t->n_told > n_before)
		return false; /* its shards said it all */
	if (r < 0)
		reason_set(&whole, "feed %s: %s (%s)", feed->name, *why.text ? why.text : strerror(-r),
			   fault_trail());
	else
		reason_set(&whole, "feed %s cannot be opened: %s", feed->name, why.text);
	t->tell(t->context, whole.text);
	return false;
}

struct dataset *datasets_open(const struct config *config, void (*tell)(void *context, const char *fault),
			      void *context)
{
	struct dataset *datasets = calloc(config->n_feeds, sizeof(*datasets));
	struct teller t = {tell, context, 0};
	bool is_open = datasets != NULL;

	for (size_t i = 0; datasets && i < config->n_feeds; i++)
		is_open &= config->feeds[i].base != i || open_one(config, &config->feeds[i], &datasets[i], &t);
	if (is_open)
		return datasets;
	datasets_free(datasets, datasets ? config->n_feeds : 0);
	return NULL;
}

void datasets_free(struct dataset *datasets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dataset_deinit(&datasets[i]);
	free(datasets);
}

const struct config_feed *feed_of(const struct config *config, const char *name)
{
	const struct config_feed *feed = config_feed(config, name);

	if (feed)
		return feed;
	fprintf(stderr, "ringfeed: there is no feed %s; there is", name);
	for (size_t i = 0; i < config->n_feeds; i++)
		fprintf(stderr, "%s %s", i ? "," : "", config->feeds[i].name);
	fputc('\n', stderr);
	return NULL;
}
