/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The closing table: what the daemon says about itself (memory, waits) beside what we counted.
 */
#ifndef DEMO_TRAIN_TABLE_H
#define DEMO_TRAIN_TABLE_H

#include "feed.h"

/* Asks the daemon, while our sessions are open, and prints on stdout. heldout may be NULL. busy_s: the
 * seconds in which feed was consumed. */
void table_print(const struct feed_place *place, const struct feed *feed, const struct feed *heldout,
		 double busy_s);

/* "1,234,567" into text. */
enum { TABLE_NUMBER = 32 };
const char *table_number(int64_t n, char text[TABLE_NUMBER]);

#endif
