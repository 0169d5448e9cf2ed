/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Helpers that run the parts of a job beside the caller.
 *
 * Threads: one caller at a time.
 */
#ifndef DEMO_TRAIN_CREW_H
#define DEMO_TRAIN_CREW_H

struct crew;

/* n_threads with the caller; 0 or -errno. */
int crew_new(int n_threads, struct crew **ret);
struct crew *crew_free(struct crew *crew);
/* Calls work(data, part) once for every part in [0, n_parts), each on some thread; returns when all are done. */
void crew_run(struct crew *crew, void (*work)(void *data, int part), void *data, int n_parts);

#endif
