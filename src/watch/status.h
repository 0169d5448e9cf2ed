/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A snapshot as JSON: what `status`, `top` and the status page show. Threads: any. */
#ifndef WATCH_STATUS_H
#define WATCH_STATUS_H

#include <jansson.h>

struct snapshot;

/* All of it; the caller's to json_decref. */
json_t *status_tree(const struct snapshot *s);
/* The same as text, to be freed. */
char *status_json(const struct snapshot *s);

#endif
