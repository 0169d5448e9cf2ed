/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A number that is equal for configurations that say the same. Threads: any. */
#ifndef CONFIG_DIGEST_H
#define CONFIG_DIGEST_H

#include "config/tree.h"

#include <stdint.h>

/* Of what the node holds. The depth is bounded by the document's. */
uint64_t tree_digest(const struct node *n);

#endif
