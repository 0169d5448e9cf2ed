/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One session on one feed, with the books that prove what was delivered: how often each sample came in
 * the epoch, how long we waited.
 *
 * Faults are told on stderr where they happen. Threads: the trainer's.
 */
#ifndef DEMO_TRAIN_FEED_H
#define DEMO_TRAIN_FEED_H

#include <ringfeed/ringfeed.h>
#include <signal.h>
#include <stdint.h>

enum {
	FEED_E_OVER = 1,    /* the epoch is over; the next call begins the next one */
	FEED_E_STOPPED = 2, /* somebody asked us to stop */
	FEED_E_FAILED = 3,  /* told on stderr */
};

struct feed {
	const char *name;
	struct rf_session *session;
	const volatile sig_atomic_t *stop;
	int64_t n_samples; /* of the whole feed */
	uint8_t *n_times;  /* each sample in this epoch, up to 255 */
	/* all epochs together */
	int64_t n_rows, n_bad, n_batches, n_bytes;
	int64_t n_epochs, n_epochs_exact; /* finished ones; those with every sample exactly once */
	double waited_s;
};

struct feed_place {
	const char *socket, *group, *name;
};

/* 0 or FEED_E_FAILED. Texts of the place stay the caller's and live as long as the feed. */
int feed_open(const struct feed_place *place, const volatile sig_atomic_t *stop, struct feed *ret);
void feed_close(struct feed *f);
/* Borrows the next batch and enters it in the books; rf_batch_release() it. 0 or FEED_E_… */
int feed_next(struct feed *f, struct rf_batch **ret);
/* Rounds off an epoch that is over. 0, or FEED_E_FAILED when a sample was lost or came twice. */
int feed_end_epoch(struct feed *f);
/* Samples that came more than once in the epoch under way. */
int64_t feed_n_repeated(const struct feed *f);

double feed_clock_s(void);

#endif
