/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Landlock: what files and ports a process may still open. Private to the room. */
#ifndef SANDBOX_LANDLOCK_H
#define SANDBOX_LANDLOCK_H

#include "sandbox/sandbox.h"

/* The kernel's ABI, or -errno. */
int landlock_probe(void);
/* For the calling thread and what it starts. 0 or -errno. */
int landlock_enter(int abi, enum sandbox_role role, const struct sandbox_own *own);

#endif
