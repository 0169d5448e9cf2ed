/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * top: `status`, live. Rates are differences of two looks at the counters; a daemon that is gone is looked for
 * again at every turn. Without a terminal it prints one picture and ends.
 */
#include "main/command.h"
#include "main/screen.h"

#include "base/clock.h"

#include "watch/at.h"

#include <jansson.h>
#include <poll.h>
#include <ringfeed/ringfeed.h>
#include <string.h>

#define MIB 1048576.0

enum { PATIENCE_MS = 1000, BAR = 30 };

struct top {
	const struct options *options;
	json_t *now, *last; /* last: NULL after a start of the daemon */
	double now_s, last_s;
	struct rf_error error;
	int interval_ms;
};

/* How fast a counter grows; then: the same object at the last look, NULL: none. */
static double rate(const struct top *t, const json_t *now, const json_t *then, const char *key)
{
	double seconds = t->now_s - t->last_s;

	return then && seconds > 0 ? (at_real(now, key) - at_real(then, key)) / seconds : 0;
}

/* The member of the list whose value at key is the same. */
static const json_t *same(const json_t *list, const json_t *as, const char *key)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (json_equal(at(item, key), at(as, key)))
			return item;
	return NULL;
}

static void look(struct top *t)
{
	json_t *now = NULL;
	char *json;

	if (rf_status(t->options->socket, PATIENCE_MS, &json, &t->error) == 0) {
		now = json_loads(json, 0, NULL);
		rf_free(json);
	}
	json_decref(t->last);
	t->last = t->now;
	t->last_s = t->now_s;
	t->now = now;
	t->now_s = clock_s();
	if (t->last && (!now || at_number(now, "pid") != at_number(t->last, "pid"))) {
		json_decref(t->last);
		t->last = NULL;
	}
}

/* ---- drawing ---- */

static void draw_daemon(const struct top *t)
{
	const json_t *m = at(t->now, "memory"), *reads = at(t->now, "reads"), *cpu = at(t->now, "cpu_seconds");
	const json_t *reads_then = at(t->last, "reads"), *cpu_then = at(t->last, "cpu_seconds"), *worker;
	double budget = at_real(m, "budget_bytes"), share = budget > 0 ? at_real(m, "resident_bytes") / budget : 0;
	int filled = share < 1 ? (int)(share * BAR + 0.5) : BAR;
	long long n_up = 0;
	char bar[BAR + 1];
	size_t i;

	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)filled);
	bar[BAR] = 0;
	json_array_foreach(at(t->now, "workers"), i, worker)
		n_up += json_is_true(at(worker, "up"));
	screen_line(LOOK_BOLD, "ringfeed %s  pid %lld  up %.0f s  %s  pixels with %s  %s", at_text(t->now, "version"),
		    at_number(t->now, "pid"), at_real(t->now, "uptime_seconds"), at_text(t->now, "engine"),
		    at_text(t->now, "kernels"), at_text(t->now, "socket"));
	screen_line(LOOK_PLAIN, "memory  [%s] %.1f of %.1f MiB, at most %.1f", bar, at_real(m, "resident_bytes") / MIB,
		    budget / MIB, at_real(m, "peak_bytes") / MIB);
	screen_line(LOOK_PLAIN, "workers %lld of %zu up, %lld deaths, %.0f tasks/s; CPU: workers %.0f %%, core %.0f %%", n_up,
		    json_array_size(at(t->now, "workers")), at_number(reads, "worker_deaths"),
		    rate(t, reads, reads_then, "tasks"), 100 * rate(t, cpu, cpu_then, "workers"),
		    100 * rate(t, cpu, cpu_then, "core"));
	screen_line(LOOK_PLAIN, "reads   %.0f/s, %.1f MiB/s, %lld in flight, %lld retries", rate(t, reads, reads_then, "requests"),
		    rate(t, reads, reads_then, "bytes") / MIB, at_number(reads, "in_flight"),
		    at_number(reads, "retries"));
}

static void draw_rank(const struct top *t, const json_t *r, const json_t *then)
{
	const json_t *waits = at(r, "waits"), *waits_then = at(then, "waits");
	char rank[48];
	int n = snprintf(rank, sizeof(rank), "%lld", at_number(r, "rank"));

	if (at_number(r, "replica"))
		snprintf(rank + n, sizeof(rank) - (size_t)n, ".%lld", at_number(r, "replica"));
	screen_line(at_number(r, "quarantined_slots") ? LOOK_RED : LOOK_PLAIN,
		    "  %4s %8lld  %-11s %5lld %7lld/%-7lld %6lld  %3lld/%-3lld %-8s %8.1f  %5.0f %6.0f %5.0f %7.0f",
		    rank, at_number(r, "pid"), at_text(r, "state"), at_number(r, "epoch"), at_number(r, "step"),
		    at_number(r, "batches_in_epoch"), at_number(r, "lag"), at_number(r, "leases"), at_number(r, "slots"),
		    at_text(r, "waits_for"), rate(t, r, then, "batches"), 100 * rate(t, waits, waits_then, "read"),
		    100 * rate(t, waits, waits_then, "decode"), 100 * rate(t, waits, waits_then, "slots"),
		    100 * rate(t, waits, waits_then, "trainer"));
}

/* The rank of the group at the last look. */
static const json_t *same_rank(const json_t *group, const json_t *as)
{
	const json_t *rank;
	size_t i;

	json_array_foreach(at(group, "ranks"), i, rank)
		if (at_number(rank, "rank") == at_number(as, "rank") && at_number(rank, "replica") == at_number(as, "replica"))
			return rank;
	return NULL;
}

static void draw_group(const struct top *t, const json_t *g, const json_t *then)
{
	const json_t *rank;
	size_t i;

	screen_line(LOOK_PLAIN, "  group %s, world size %lld", *at_text(g, "name") ? at_text(g, "name")
		    : "(a trainer alone)", at_number(g, "world"));
	screen_line(LOOK_DIM, "  rank      pid  state       epoch    step/of     behind   holds waits    batches/s   read%% "
		    "decode%% slots%% trainer%%");
	json_array_foreach(at(g, "ranks"), i, rank)
		draw_rank(t, rank, same_rank(then, rank));
}

static void draw_feed(const struct top *t, const json_t *f, const json_t *then)
{
	const json_t *slots = at(f, "slots"), *group;
	size_t i;

	screen_line(LOOK_PLAIN, "%s", "");
	screen_line(LOOK_BOLD, "feed %s  %.0f samples/s  %.1f batches/s  %lld delivered", at_text(f, "name"),
		    rate(t, f, then, "due"), rate(t, f, then, "batches"), at_number(f, "delivered"));
	if (at_number(f, "bad"))
		screen_line(LOOK_RED, "  %lld samples are bad (%.2f %%)", at_number(f, "bad"), 100 * at_real(f, "bad") / at_real(f, "due"));
	screen_line(LOOK_PLAIN, "  limit: %s", at_text(f, "limit"));
	if (at_number(f, "window") == 1)
		screen_line(LOOK_PLAIN, "  groups share one pass, in lock-step");
	else if (at_number(f, "window"))
		screen_line(LOOK_PLAIN, "  groups share one pass, up to %lld batches apart", at_number(f, "window"));
	screen_line(LOOK_PLAIN, "  slots: %lld leased, %lld ready, %lld filling, %lld free, %lld quarantined of %lld",
		    at_number(slots, "leased"), at_number(slots, "ready"), at_number(slots, "filling"),
		    at_number(slots, "free"), at_number(slots, "quarantined"), at_number(slots, "all"));
	json_array_foreach(at(f, "groups"), i, group)
		draw_group(t, group, same(at(then, "groups"), group, "number"));
}

static void draw(const struct top *t)
{
	const json_t *feed;
	size_t i;

	screen_begin();
	if (t->now) {
		draw_daemon(t);
		json_array_foreach(at(t->now, "feeds"), i, feed)
			draw_feed(t, feed, same(at(t->last, "feeds"), feed, "name"));
	} else {
		screen_line(LOOK_BOLD, "ringfeed top  (q quits)");
		screen_line(LOOK_RED, "%s: %s", t->error.name, t->error.text);
		screen_line(LOOK_PLAIN, "It is looked for again every %d s.", t->interval_ms / 1000);
	}
	screen_end();
}

/* ---- life ---- */

static int live(struct top *t)
{
	double next = clock_s();
	char key = 0;

	for (;;) {
		double left = next - clock_s();
		enum screen_event event;

		if (left <= 0) {
			look(t);
			draw(t);
			next = clock_s() + t->interval_ms / 1000.0;
			left = next - clock_s();
		}
		event = screen_wait((int)(left * 1000) + 1, &key);
		if (event == SCREEN_END || (event == SCREEN_KEY && (key == 'q' || key == 'Q')))
			break;
		if (event == SCREEN_RESIZED)
			draw(t);
	}
	screen_close();
	return screen_signal() ? 128 + screen_signal() : STATUS_DONE;
}

/* Two looks, one picture. */
static int once(struct top *t)
{
	look(t);
	if (t->now) {
		poll(NULL, 0, t->interval_ms);
		look(t);
	}
	if (!t->now) {
		fprintf(stderr, "ringfeed: %s: %s\n", t->error.name, t->error.text);
		return STATUS_FAILED;
	}
	draw(t);
	return STATUS_DONE;
}

int cmd_top(int argc, char **argv)
{
	struct options options;
	struct top t = {.options = &options};
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	t.interval_ms = options.interval ? (int)options.interval * 1000 : 1000;
	status = screen_open() ? live(&t) : once(&t);
	json_decref(t.now);
	json_decref(t.last);
	return status;
}
