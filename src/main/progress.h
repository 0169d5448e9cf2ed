/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A line on stderr that says how far a long command is, how fast, and how long it will take; only where
 * stderr is a terminal. And what such a command does on Ctrl-C: it is told, and ends itself.
 *
 * Threads: the main one.
 */
#ifndef MAIN_PROGRESS_H
#define MAIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	double began, told; /* s */
	bool is_terminal, is_shown;
};

void progress_begin(struct progress *p);
/* At most a few times a second. By bytes, as samples differ in size. */
void progress_tell(struct progress *p, uint64_t n_samples, uint64_t n_samples_all, uint64_t n_bytes,
		   uint64_t n_bytes_all);
/* Takes the line away, before anything else is written to stderr. */
void progress_clear(struct progress *p);
/* Seconds since it began. */
double progress_seconds(const struct progress *p);

/* SIGINT, SIGTERM and SIGHUP set a mark from now on, unless they are ignored. */
void progress_catch_signals(void);
/* The signal that came, or 0. */
int progress_signal(void);

#endif
