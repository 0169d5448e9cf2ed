/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The filter of system calls, by libseccomp. Private to the room. */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include "sandbox/sandbox.h"

/* Whether the kernel can kill a process for a call: 0, or -errno of its answer. */
int filter_probe(void);
/* For all threads of the process, from here on. 0 or -errno. */
int filter_enter(enum sandbox_role role, const struct sandbox_own *own);

#endif
