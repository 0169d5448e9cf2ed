/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * "Did you mean": the candidate with the smallest edit distance to what was written, if it is near
 * enough to be a slip of the fingers. Ties go to the first candidate tried.
 *
 * Threads: any; the state is the caller's.
 */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

struct nearest {
	const char *word;   /* what was written; borrowed */
	unsigned n_edits;   /* of the best so far */
	const char *best;   /* borrowed; NULL until one is near enough */
};

void nearest_init(struct nearest *n, const char *word);
void nearest_try(struct nearest *n, const char *candidate);

#endif
