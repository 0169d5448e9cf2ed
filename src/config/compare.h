/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* In which keys two configurations differ. Threads: any. */
#ifndef CONFIG_COMPARE_H
#define CONFIG_COMPARE_H

#include "config/config.h"

/* Called with the whole path of a key ("feeds.train.batch.size"); is_live: a running daemon can take its value. */
typedef void config_differs(void *context, const char *path, bool is_live);

/* Row by row of the key table, in its order. Feeds and fields that are in one alone are told by their path. */
void config_compare(const struct config *a, const struct config *b, config_differs *tell, void *context);

#endif
