/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* All faults of all feeds are told before giving up: a person mends them in one go. */
#include "main/planned.h"

#include "base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell_refused(void *context, size_t i, const char *path, const struct reason *why)
{
	fprintf(stderr, "ringfeed: %s\n", why->text);
}

struct dataset *datasets_open(const struct config *config)
{
	struct dataset *datasets = calloc(config->n_feeds, sizeof(*datasets));
	bool is_faulty = datasets == NULL;

	for (size_t i = 0; datasets && i < config->n_feeds; i++) {
		struct reason why = {{0}};
		int r = dataset_open(config, &config->feeds[i], tell_refused, NULL, &datasets[i], &why);

		if (r < 0)
			fprintf(stderr, "ringfeed: feed %s: %s (%s)\n", config->feeds[i].name,
				*why.text ? why.text : strerror(-r), fault_trail());
		else if (r > 0)
			fprintf(stderr, "ringfeed: feed %s cannot be opened: %s\n", config->feeds[i].name,
				why.text);
		is_faulty |= r != 0;
	}
	if (!is_faulty)
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
