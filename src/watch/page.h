/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The status page: one HTML document without scripts, from the JSON of `status`. Threads: any. */
#ifndef WATCH_PAGE_H
#define WATCH_PAGE_H

#include <jansson.h>

struct text;

void page_write(const json_t *status, struct text *to);

#endif
