/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Where sockets lie. */
#ifndef SERVE_FOLDER_H
#define SERVE_FOLDER_H

#include "base/reason.h"

#include <stdbool.h>

/* Makes the folder of a path if it is missing, mode 0700. Where is_own, one that is there already must be a
 * folder that nobody else made or can write to. 0, or 1 with the reason. */
int folder_make(const char *path, bool is_own, struct reason *why);

#endif
