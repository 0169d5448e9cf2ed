/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What plan, check and order begin with: the config's datasets, opened. Threads: the main one. */
#ifndef MAIN_PLANNED_H
#define MAIN_PLANNED_H

#include "config/config.h"
#include "serve/dataset.h"

#include <stdbool.h>

/* Opens the datasets of all feeds, those of views left empty; every fault is told, naming feed, file and offset. NULL when there was
 * one (free nothing then). */
struct dataset *datasets_open(const struct config *config, void (*tell)(void *context, const char *fault),
			      void *context);
/* A tell that writes to stderr. */
void tell_stderr(void *context, const char *fault);
void datasets_free(struct dataset *datasets, size_t n);

/* The feed of that name; NULL once stderr was told which there are. */
const struct config_feed *feed_of(const struct config *config, const char *name);

#endif
