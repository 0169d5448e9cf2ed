/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Left out is what the daemon did not say; what we counted ourselves is always there. */
#include "table.h"

#include "state.h"

#include <inttypes.h>
#include <stdio.h>

const char *table_number(int64_t n, char text[TABLE_NUMBER])
{
	char plain[24];
	int n_digits = snprintf(plain, sizeof(plain), "%" PRId64, n < 0 ? 0 : n), at = 0;

	for (int i = 0; i < n_digits; i++) {
		if (i > 0 && (n_digits - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = plain[i];
	}
	text[at] = 0;
	return text;
}

static void print_state(const struct feed_place *place)
{
	const double mib = 1024 * 1024;
	struct rf_error error = {0};
	struct state state;
	char *json = NULL;

	if (rf_status(place->socket, -1, &json, &error) < 0) {
		printf("  memory, waits         not known: %s\n", error.text);
		return;
	}
	state_read(json, place->name, place->group, &state);
	rf_free(json);
	if (state.has_memory)
		printf("  memory                peak %.1f MiB of the %.1f MiB allowed (%.0f %%)\n",
		       state.peak_bytes / mib, state.budget_bytes / mib,
		       100 * state.peak_bytes / state.budget_bytes);
	if (state.has_waits) {
		printf("  batches waited for    ");
		for (int i = 0; i < STATE_WAITS; i++)
			printf("%s%s %.2f s", i ? ", " : "", state_wait_name(i), state.waits_s[i]);
		putchar('\n');
	}
}

static void print_delivered(const struct feed *f)
{
	char a[TABLE_NUMBER], b[TABLE_NUMBER];

	if (f->n_epochs > 0 && f->n_epochs == f->n_epochs_exact)
		printf("  delivered: %-10s each of %s samples exactly once in each of %" PRId64 " epochs", f->name,
		       table_number(f->n_samples, a), f->n_epochs);
	else if (f->n_epochs > 0)
		printf("  delivered: %-10s each of %s samples exactly once in ONLY %" PRId64 " of %" PRId64
		       " epochs", f->name, table_number(f->n_samples, a), f->n_epochs_exact, f->n_epochs);
	else
		printf("  delivered: %-10s %s of %s samples, %" PRId64 " of them more than once", f->name,
		       table_number(f->n_rows, a), table_number(f->n_samples, b), feed_n_repeated(f));
	if (f->n_bad > 0)
		printf("; bad among them: %s", table_number(f->n_bad, a));
	putchar('\n');
}

void table_print(const struct feed_place *place, const struct feed *f, const struct feed *heldout,
		 double busy_s)
{
	double seconds = busy_s > 0 ? busy_s : 1e-9;
	char a[TABLE_NUMBER], b[TABLE_NUMBER];

	printf("\n  samples per second    %s (%s in %.1f s, %.0f MiB/s of finished batches)\n",
	       table_number((int64_t)((double)f->n_rows / seconds), a), table_number(f->n_rows, b), busy_s,
	       (double)f->n_bytes / seconds / (1024 * 1024));
	printf("  the trainer waited    %.2f s of that for its next batch (%.1f %%)\n", f->waited_s,
	       100 * f->waited_s / seconds);
	print_state(place);
	print_delivered(f);
	if (heldout)
		print_delivered(heldout);
	fflush(stdout);
}
