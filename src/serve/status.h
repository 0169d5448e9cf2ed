/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the daemon says of itself. Threads: the loop's. */
#ifndef SERVE_STATUS_H
#define SERVE_STATUS_H

#include "core/core.h"

#include <jansson.h>

struct daemon;

/* All of it; the caller's to json_decref. */
json_t *status_tree(struct daemon *d);
/* "read", "decode", "slots", "trainer". */
const char *status_wait_name(enum core_wait wait);
/* Attached ones. */
unsigned status_sessions(const struct daemon *d);

#endif
