/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What an epoch takes of every source of a mix, for `plan`: shares, passes, what is left out, how each is shuffled.
 *
 * Threads: one.
 */
#ifndef MAIN_MIXTURE_H
#define MAIN_MIXTURE_H

#include "core/core.h"
#include "order/quality.h"

#include <jansson.h>

struct mixture;

/* Of a feed with a mix that passed order_check_mix, by at most n_most positions of each source. 0 or -errno. */
int mixture_new(const struct core_feed *feed, uint64_t n_most, struct mixture **ret);
struct mixture *mixture_free(struct mixture *m);
/* A few lines for people, each with the feed's name. */
void mixture_print(const char *name, const struct mixture *m);
/* An array with an object for each source. */
json_t *mixture_json(const struct mixture *m);
json_t *quality_json(const struct order_quality *q);

#endif
