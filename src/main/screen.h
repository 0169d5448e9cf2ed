/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A terminal that is drawn on line by line: the alternate screen, keys one by one, and the terminal given
 * back as it was on every way out that can be caught. stdin and stdout; one at a time. Threads: the main one.
 */
#ifndef MAIN_SCREEN_H
#define MAIN_SCREEN_H

#include <stdbool.h>

enum screen_event { SCREEN_TIME, SCREEN_KEY, SCREEN_RESIZED, SCREEN_END };

/* false: stdin or stdout is no terminal, or a dumb one. */
bool screen_open(void);
void screen_close(void);
/* Waits up to timeout_ms for a key (in *ret_key), another size, or a signal that ends the program. */
enum screen_event screen_wait(int timeout_ms, char *ret_key);
/* The signal that ended it, or 0. */
int screen_signal(void);

enum screen_look { LOOK_PLAIN, LOOK_BOLD, LOOK_DIM, LOOK_RED, LOOK_COUNT };

/* One drawing: begin, lines from the top on, end. What is too long or too much is cut. */
void screen_begin(void);
void screen_line(enum screen_look look, const char *format, ...) __attribute__((format(printf, 2, 3)));
void screen_end(void);
unsigned screen_columns(void);

#endif
