/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Optimal string alignment distance: insert, delete, replace, or swap two neighbours, one edit each. */
#include "config/nearest.h"

#include <string.h>

enum { WORD_MAX = 63 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned count_edits(const char *a, size_t n_a, const char *b, size_t n_b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= n_b; j++)
		last[j] = (unsigned)j;
	memset(before, 0, sizeof(rows[0]));
	for (size_t i = 1; i <= n_a; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;

			now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[n_b];
}

void nearest_init(struct nearest *n, const char *word)
{
	size_t length = strlen(word);

	n->word = word;
	n->best = NULL;
	/* One slip in a short word, two in a longer one; as many as n_edits are too far. */
	n->n_edits = length < 3 ? 1 : length < 5 ? 2 : 3;
}

void nearest_try(struct nearest *n, const char *candidate)
{
	size_t n_word = strlen(n->word), n_candidate = strlen(candidate);
	unsigned n_edits;

	if (n_word > WORD_MAX || n_candidate > WORD_MAX)
		return;
	n_edits = count_edits(n->word, n_word, candidate, n_candidate);
	if (n_edits < n->n_edits) {
		n->n_edits = n_edits;
		n->best = candidate;
	}
}
