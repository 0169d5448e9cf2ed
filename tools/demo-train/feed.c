/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * rf_session_next() is not cut short by signals, so we wait in short turns and look at the stop flag
 * between them; the long deadline is ours.
 */
#include "feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TURN_MS = 200, PATIENCE_S = 60 };

double feed_clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int tell(const struct feed *f, const struct rf_error *e)
{
	fprintf(stderr, "demo-train: feed %s: %s: %s\n", f->name, e->name, e->text);
	return FEED_E_FAILED;
}

static int tell_plain(const struct feed *f, const char *text)
{
	fprintf(stderr, "demo-train: feed %s: %s\n", f->name, text);
	return FEED_E_FAILED;
}

int feed_open(const struct feed_place *place, const volatile sig_atomic_t *stop, struct feed *ret)
{
	const struct rf_options options = {
		.size = sizeof(options),
		.feed = place->name,
		.socket = place->socket,
		.group = place->group,
		.has_rank = 1,
		.rank = 0,
		.world_size = 1,
	};
	struct rf_error error = {0};
	int r;

	*ret = (struct feed){.name = place->name, .stop = stop};
	r = rf_session_open(&options, &ret->session, &error);
	if (r < 0)
		return tell(ret, &error);
	ret->n_samples = rf_session_n_samples(ret->session);
	ret->n_times = ret->n_samples > 0 ? calloc((size_t)ret->n_samples, 1) : NULL;
	if (!ret->n_times) {
		r = tell_plain(ret, ret->n_samples > 0 ? "out of memory" : "has no samples");
		feed_close(ret);
		return r;
	}
	return 0;
}

void feed_close(struct feed *f)
{
	rf_session_close(f->session);
	f->session = NULL;
	free(f->n_times);
	f->n_times = NULL;
}

static int enter(struct feed *f, const struct rf_batch *b)
{
	const int64_t *index = rf_batch_index(b);
	const uint8_t *is_valid = rf_batch_valid(b);
	int64_t n = rf_batch_n_rows(b);
	struct rf_array array;

	if (n < 0 || (n > 0 && (!index || !is_valid)))
		return tell_plain(f, "a batch without its numbers");
	for (int64_t i = 0; i < n; i++) {
		if (index[i] < 0 || index[i] >= f->n_samples)
			return tell_plain(f, "a sample that the dataset does not have");
		f->n_times[index[i]] += f->n_times[index[i]] < UINT8_MAX;
		f->n_bad += !is_valid[i];
	}
	f->n_rows += n;
	f->n_batches++;
	for (int i = 0; i < rf_session_n_fields(f->session); i++)
		if (rf_batch_array(b, rf_session_field_name(f->session, i), &array) == 0)
			f->n_bytes += (int64_t)array.n_bytes;
	return 0;
}

int feed_next(struct feed *f, struct rf_batch **ret)
{
	double start = feed_clock_s(), waited;
	struct rf_batch *b = NULL;
	int r;

	do {
		if (*f->stop)
			return FEED_E_STOPPED;
		r = rf_session_next(f->session, TURN_MS, &b);
		waited = feed_clock_s() - start;
	} while (r == -ETIMEDOUT && waited < PATIENCE_S);
	f->waited_s += waited;
	if (r == -ENODATA)
		return FEED_E_OVER;
	if (r < 0)
		return *f->stop ? FEED_E_STOPPED : tell(f, rf_session_error(f->session));
	r = enter(f, b);
	if (r) {
		rf_batch_release(b);
		return r;
	}
	*ret = b;
	return 0;
}

int64_t feed_n_repeated(const struct feed *f)
{
	int64_t n = 0;

	for (int64_t i = 0; i < f->n_samples; i++)
		n += f->n_times[i] > 1;
	return n;
}

int feed_end_epoch(struct feed *f)
{
	int64_t n_lost = 0, n_repeated = feed_n_repeated(f);

	for (int64_t i = 0; i < f->n_samples; i++) {
		n_lost += f->n_times[i] == 0;
		f->n_times[i] = 0;
	}
	f->n_epochs++;
	if (n_lost == 0 && n_repeated == 0) {
		f->n_epochs_exact++;
		return 0;
	}
	fprintf(stderr, "demo-train: feed %s: of %" PRId64 " samples %" PRId64 " did not come and %" PRId64
		" came more than once\n", f->name, f->n_samples, n_lost, n_repeated);
	return FEED_E_FAILED;
}
