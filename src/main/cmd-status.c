/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* status: the state of a running daemon, for people or as the JSON it sent. */
#include "main/command.h"

#include "watch/at.h"

#include <errno.h>
#include <jansson.h>
#include <ringfeed/ringfeed.h>
#include <string.h>

enum { PATIENCE_MS = 5000 };

static double mib(const json_t *from, const char *key)
{
	return (double)at_number(from, key) / (1 << 20);
}

/* Of a mix, else NULL. */
static void print_passes(const json_t *passes)
{
	if (!passes)
		return;
	printf("      passes of the sources:");
	for (size_t i = 0; i < json_array_size(passes); i++)
		printf(" %.2f", json_number_value(json_array_get(passes, i)));
	putchar('\n');
}

static void print_rank(const json_t *r)
{
	const json_t *w = at(r, "waits"), *holders = at(r, "held_by");

	printf("    rank %lld", at_number(r, "rank"));
	if (at_number(r, "replica"))
		printf(", replica %lld", at_number(r, "replica"));
	printf("  pid %lld  %s  epoch %lld  step %lld of %lld  lag %lld  leases %lld of %lld\n",
	       at_number(r, "pid"), at_text(r, "state"), at_number(r, "epoch"), at_number(r, "step"), at_number(r, "batches_in_epoch"),
	       at_number(r, "lag"), at_number(r, "leases"), at_number(r, "slots"));
	printf("      %lld samples delivered, %lld bad, %lld due; waits: read %.1fs, decode %.1fs, slots %.1fs, "
	       "trainer %.1fs\n", at_number(r, "delivered"), at_number(r, "bad"), at_number(r, "due"),
	       at_real(w, "read"), at_real(w, "decode"), at_real(w, "slots"), at_real(w, "trainer"));
	print_passes(at(r, "passes"));
	if (at_number(r, "quarantined_slots") == 0)
		return;
	printf("      %lld slots quarantined, held by pid", at_number(r, "quarantined_slots"));
	for (size_t i = 0; i < json_array_size(holders); i++)
		printf(" %lld", (long long)json_integer_value(json_array_get(holders, i)));
	puts(json_array_size(holders) ? "" : " (not found yet)");
}

static void print_shares(const json_t *f)
{
	const json_t *shares = at(f, "shares");

	if (!shares)
		return;
	printf("  a mix of %zu sources, of every 1024 samples:", json_array_size(shares));
	for (size_t i = 0; i < json_array_size(shares); i++)
		printf(" %lld", (long long)json_integer_value(json_array_get(shares, i)));
	printf("; %lld positions in an epoch\n", at_number(f, "positions"));
}

static void print_sharing(const json_t *f)
{
	if (at_number(f, "window") == 0)
		return;
	printf("  groups share one pass, ");
	if (at_number(f, "window") == 1)
		printf("in lock-step");
	else
		printf("up to %lld batches apart", at_number(f, "window"));
	printf("; %lld rows made\n", at_number(f, "made"));
}

static void print_feed(const json_t *f)
{
	const json_t *s = at(f, "slots"), *bad = at(f, "bad_samples");
	const json_t *group, *rank, *count;
	const char *cause;
	size_t i, k;

	printf("feed %s: %lld samples in %lld shards; slots: %lld free, %lld filling, %lld ready, %lld leased, "
	       "%lld quarantined of %lld\n", at_text(f, "name"), at_number(f, "samples"), at_number(f, "shards"),
	       at_number(s, "free"), at_number(s, "filling"), at_number(s, "ready"), at_number(s, "leased"),
	       at_number(s, "quarantined"), at_number(s, "all"));
	print_shares(f);
	print_sharing(f);
	printf("  %.1f samples/s; limit: %s\n", at_real(f, "samples_per_second"), at_text(f, "limit"));
	json_object_foreach((json_t *)bad, cause, count)
		printf("  bad: %s %lld\n", cause, (long long)json_integer_value(count));
	json_array_foreach(at(f, "groups"), i, group) {
		printf("  group %s, world size %lld\n", *at_text(group, "name") ? at_text(group, "name") : "(its own)",
		       at_number(group, "world"));
		json_array_foreach(at(group, "ranks"), k, rank)
			print_rank(rank);
	}
}

static void print_role(const char *name, const json_t *r)
{
	printf("  %s: seccomp %s%s%s, Landlock ", name, json_is_true(at(r, "seccomp")) ? "yes" : "no",
	       *at_text(r, "seccomp_reason") ? ": " : "", at_text(r, "seccomp_reason"));
	if (at_number(r, "landlock_abi"))
		printf("ABI %lld", at_number(r, "landlock_abi"));
	else
		printf("no: %s", at_text(r, "landlock_reason"));
	printf(", no_new_privs %s; %lld of %lld forbidden things refused%s%s\n", json_is_true(at(r, "no_new_privs")) ? "yes" : "no",
	       at_number(r, "forbidden_refused"), at_number(r, "forbidden_tried"), *at_text(r, "let_through") ? ", not: " : "",
	       at_text(r, "let_through"));
}

static void print_sandbox(const json_t *s)
{
	static const char *const roles[] = {"core", "parent", "worker"};

	if (!json_is_object(s))
		return; /* an older daemon */
	printf("sandbox: %s%s\n", json_is_true(at(s, "whole")) ? "whole" : "not whole: ", at_text(s, "missing"));
	for (unsigned i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		print_role(roles[i], at(s, roles[i]));
}

static void print_text(const json_t *all)
{
	const json_t *m = at(all, "memory"), *reload = at(all, "reload"), *feed;
	size_t i;

	printf("ringfeed %s, pid %lld, %s, up %.0fs, pixels with %s, reading with %s%s%s\n", at_text(all, "version"),
	       at_number(all, "pid"), at_text(all, "socket"), at_real(all, "uptime_seconds"), at_text(all, "kernels"),
	       at_text(all, "engine"), *at_text(all, "engine_reason") ? ": " : "", at_text(all, "engine_reason"));
	printf("memory: %.1f MiB now, %.1f MiB at most, %.1f MiB planned, budget %.1f MiB; %zu workers\n",
	       mib(m, "resident_bytes"), mib(m, "peak_bytes"), mib(m, "planned_bytes"),
	       mib(m, "budget_bytes"), json_array_size(at(all, "workers")));
	print_sandbox(at(all, "sandbox"));
	if (json_is_object(reload))
		printf("reload %.0fs ago, %s: %s\n", at_real(reload, "seconds_ago"), at_text(reload, "outcome"),
		       at_text(reload, "text"));
	json_array_foreach(at(all, "feeds"), i, feed)
		print_feed(feed);
}

static int save_trace(const struct options *options)
{
	bool is_stdout = strcmp(options->trace, "-") == 0;
	struct rf_error error = {.text = ""};
	FILE *file;
	char *json;
	bool is_written;

	if (rf_trace(options->socket, PATIENCE_MS, &json, &error) < 0) {
		fprintf(stderr, "ringfeed: %s: %s\n", error.name, error.text);
		return STATUS_FAILED;
	}
	file = is_stdout ? stdout : fopen(options->trace, "we");
	is_written = file && fputs(json, file) >= 0;
	if (file && !is_stdout)
		is_written = fclose(file) == 0 && is_written;
	rf_free(json);
	if (is_written)
		return STATUS_DONE;
	fprintf(stderr, "ringfeed: %s: %s\n", options->trace, strerror(errno));
	return STATUS_FAILED;
}

int cmd_status(int argc, char **argv)
{
	struct rf_error error = {.text = ""};
	struct options options;
	json_t *all;
	char *json;
	int r, status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (options.trace)
		return save_trace(&options);
	r = rf_status(options.socket, PATIENCE_MS, &json, &error);
	if (r < 0) {
		fprintf(stderr, "ringfeed: %s: %s\n", error.name, error.text);
		return STATUS_FAILED;
	}
	if (options.is_json) {
		puts(json);
	} else {
		all = json_loads(json, 0, NULL);
		print_text(all);
		json_decref(all);
	}
	rf_free(json);
	return STATUS_DONE;
}
