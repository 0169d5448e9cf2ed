/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Faults: negative errno values that something unforeseen gave us.
 *
 * fail(r) marks the line where a fault starts, pass(r) a line it goes through on its way up;
 * together they leave a trail ("io/uring.c:88 < serve/start.c:140") that whoever handles the
 * fault prints with fault_trail(). Foreseen outcomes are positive numbers of their room and never
 * go through here.
 *
 * Threads: the trail is one per thread.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

int fault_start(int r, const char *file, int line);
int fault_pass(int r, const char *file, int line);

/* The path of the last fault of this thread, innermost line first; "" when there was none. */
const char *fault_trail(void);

#define fail(r) fault_start((r), __FILE__, __LINE__)
#define pass(r) fault_pass((r), __FILE__, __LINE__)

#endif
