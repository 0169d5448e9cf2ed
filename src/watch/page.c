/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Plain HTML that renews itself every two seconds. Every string of the status goes through text_add_html:
 * names of groups, keys and shards are whatever somebody chose.
 */
#include "watch/page.h"

#include "watch/at.h"
#include "watch/text.h"

#include <string.h>

#define MIB 1048576.0

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<meta http-equiv=\"refresh\" content=\"2\"><title>ringfeed</title>\n<style>\n"
	":root{color-scheme:light dark;--ink:#1c2330;--dim:#5d6779;--card:#fff;--back:#eef1f5;--line:#d9dee6;"
	"--free:#c9d1dc;--filling:#e3a72f;--ready:#3f9b62;--leased:#3b76c4;--bad:#c4453b}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e8ef;--dim:#98a2b3;--card:#1d222b;--back:#12151b;"
	"--line:#333b48;--free:#434c5b;--filling:#d39a2a;--ready:#4caf74;--leased:#5b93dd;--bad:#e2685e}}\n"
	"*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);"
	"font:15px/1.45 system-ui,sans-serif}main{max-width:70em;margin:0 auto;padding:1em}\n"
	"h1{font-size:1.3em;margin:0 0 .2em}h2{font-size:1.1em;margin:0 0 .5em}h3{font-size:.95em;margin:1em 0 .3em}\n"
	"section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1em;margin:0 0 1em}\n"
	".dim{color:var(--dim)}.limit{border-left:4px solid var(--leased);padding-left:.7em;margin:.7em 0}\n"
	".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
	"th,td{text-align:right;padding:.25em .6em;border-top:1px solid var(--line);white-space:nowrap}\n"
	"th{color:var(--dim);font-weight:500;border-top:0}.l{text-align:left}.w{white-space:normal;"
	"overflow-wrap:anywhere;min-width:14em}\n"
	".facts{display:flex;flex-wrap:wrap;gap:.4em 1.6em;margin:.5em 0}.facts b{font-size:1.25em;font-weight:600;"
	"display:block;font-variant-numeric:tabular-nums}.facts div{color:var(--dim)}.facts b{color:var(--ink)}.facts .red b{color:var(--bad)}\n"
	".bar{display:flex;height:14px;border-radius:4px;overflow:hidden;background:var(--free);margin:.4em 0}\n"
	".bar i{display:block;height:100%}.filling{background:var(--filling)}.ready{background:var(--ready)}"
	".leased{background:var(--leased)}.quarantined,.over{background:var(--bad)}.free{background:var(--free)}\n"
	".red{color:var(--bad);font-weight:600}details summary{cursor:pointer;color:var(--dim)}a{color:inherit}\n"
	"</style></head><body><main>\n";

static void put(struct text *to, const json_t *from, const char *key)
{
	text_add_html(to, at_text(from, key));
}

/* 12345678 as 12,345,678. */
static void put_count(struct text *to, long long n)
{
	char digits[32];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%lld", n);

	for (size_t i = 0; i < length; i++)
		text_add(to, "%s%c", i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-' ? "," : "", digits[i]);
}

static void put_time(struct text *to, double s)
{
	if (s < 120)
		text_add(to, "%.0f s", s);
	else if (s < 7200)
		text_add(to, "%.0f min", s / 60);
	else if (s < 172800)
		text_add(to, "%.1f h", s / 3600);
	else
		text_add(to, "%.1f days", s / 86400);
}

static void fact(struct text *to, long long n, const char *what)
{
	text_add(to, "<div%s><b>", strcmp(what, "bad") == 0 && n ? " class=\"red\"" : "");
	put_count(to, n);
	text_add(to, "</b>%s</div>", what);
}

/* ---- memory and processes ---- */

static void put_memory(struct text *to, const json_t *m)
{
	double budget = at_real(m, "budget_bytes"), now = at_real(m, "resident_bytes"), peak = at_real(m, "peak_bytes");
	const json_t *line;
	size_t i;

	if (budget <= 0)
		return;
	text_add(to, "<section><h2>Memory</h2><div class=\"bar\" title=\"now\"><i class=\"%s\" style=\"width:%.1f%%\"></i>"
		 "<i class=\"filling\" style=\"width:%.1f%%\"></i></div>\n"
		 "<p>%.1f MiB now, %.1f MiB at most (%.0f %%), %.1f MiB planned, of <b>%.1f MiB</b> allowed "
		 "(daemon.memory)</p>\n<details><summary>The plan line by line</summary><table>\n",
		 now > budget ? "over" : "leased", 100 * now / budget, 100 * (peak - now) / budget, now / MIB,
		 peak / MIB, 100 * peak / budget, at_real(m, "planned_bytes") / MIB, budget / MIB);
	json_array_foreach(at(m, "plan"), i, line) {
		text_add(to, "<tr><td class=\"l\">");
		put(to, line, "name");
		text_add(to, "</td><td>%.1f MiB</td></tr>\n", at_real(line, "bytes") / MIB);
	}
	text_add(to, "</table></details></section>\n");
}

static void put_workers(struct text *to, const json_t *all)
{
	const json_t *worker, *reads = at(all, "reads"), *cpu = at(all, "cpu_seconds");
	long long n_up = 0;
	size_t i;

	json_array_foreach(at(all, "workers"), i, worker)
		n_up += json_is_true(at(worker, "up"));
	text_add(to, "<section><h2>Workers and reads</h2><div class=\"facts\">");
	fact(to, n_up, "workers up");
	fact(to, (long long)json_array_size(at(all, "workers")) - n_up, "down");
	fact(to, at_number(reads, "worker_deaths"), "deaths");
	fact(to, at_number(reads, "tasks"), "tasks");
	fact(to, at_number(reads, "requests"), "reads");
	text_add(to, "<div><b>%.1f MiB</b>read</div><div><b>%.1f s</b>CPU of the workers</div><div><b>%.1f s</b>CPU of "
		 "the core</div></div></section>\n", at_real(reads, "bytes") / MIB, at_real(cpu, "workers"),
		 at_real(cpu, "core"));
}

/* ---- feeds ---- */

static void put_slots(struct text *to, const json_t *slots)
{
	static const char *const states[] = {"leased", "ready", "filling", "quarantined", "free"};
	double all = at_real(slots, "all");

	text_add(to, "<div class=\"bar\">");
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (at_number(slots, states[i]))
			text_add(to, "<i class=\"%s\" style=\"width:%.2f%%\"></i>", states[i],
				 100 * at_real(slots, states[i]) / all);
	text_add(to, "</div><p class=\"dim\">%.0f slots:", all);
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		text_add(to, "%s %lld %s", i ? "," : "", at_number(slots, states[i]), states[i]);
	text_add(to, "</p>\n");
}

/* Whom the group waits for: the rank that is behind the others, or nobody. */
static void put_laggard(struct text *to, const json_t *ranks)
{
	const json_t *rank, *last = NULL;
	size_t i;

	json_array_foreach(ranks, i, rank)
		if (at_number(rank, "lag") > 0 && (!last || at_number(rank, "lag") > at_number(last, "lag")))
			last = rank;
	if (!last)
		return;
	text_add(to, "<p>The others are up to %lld steps ahead of rank %lld", at_number(last, "lag"),
		 at_number(last, "rank"));
	if (*at_text(last, "waits_for")) {
		text_add(to, ", whose next batch waits for: ");
		put(to, last, "waits_for");
	}
	text_add(to, ".</p>\n");
}

static void put_rank(struct text *to, const json_t *r)
{
	const json_t *waits = at(r, "waits"), *holders = at(r, "held_by");

	text_add(to, "<tr><td>%lld", at_number(r, "rank"));
	if (at_number(r, "replica"))
		text_add(to, ", replica %lld", at_number(r, "replica"));
	text_add(to, "</td><td>%lld</td><td class=\"l\">", at_number(r, "pid"));
	put(to, r, "state");
	if (at_number(r, "quarantined_slots"))
		text_add(to, " <span class=\"red\">(%lld slots, held by pid %lld)</span>",
			 at_number(r, "quarantined_slots"),
			 (long long)json_integer_value(json_array_get(holders, 0)));
	text_add(to, "</td><td>%lld</td><td>%lld of %lld</td><td>%lld</td><td>%lld of %lld</td><td class=\"l\">",
		 at_number(r, "epoch"), at_number(r, "step"), at_number(r, "batches_in_epoch"), at_number(r, "lag"),
		 at_number(r, "leases"), at_number(r, "slots"));
	put(to, r, "waits_for");
	text_add(to, "</td><td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%lld</td></tr>\n",
		 at_real(waits, "read"), at_real(waits, "decode"), at_real(waits, "slots"), at_real(waits, "trainer"),
		 at_number(r, "bad"));
}

static void put_group(struct text *to, const json_t *g)
{
	const char *name = at_text(g, "name");
	const json_t *rank;
	size_t i;

	text_add(to, "<h3>Group ");
	text_add_html(to, *name ? name : "(a trainer alone)");
	text_add(to, ", world size %lld</h3><div class=\"scroll\"><table><tr><th>rank</th><th>pid</th><th class=\"l\">state"
		 "</th><th>epoch</th><th>step</th><th>behind</th><th>holds</th><th class=\"l\">waits for</th><th>read s</th>"
		 "<th>decode s</th><th>slots s</th><th>trainer s</th><th>bad</th></tr>\n", at_number(g, "world"));
	json_array_foreach(at(g, "ranks"), i, rank)
		put_rank(to, rank);
	text_add(to, "</table></div>\n");
	put_laggard(to, at(g, "ranks"));
}

static void put_sharing(struct text *to, const json_t *f)
{
	if (at_number(f, "window") == 1)
		text_add(to, "<p>Groups share one pass, in lock-step.</p>\n");
	else if (at_number(f, "window"))
		text_add(to, "<p>Groups share one pass, up to %lld batches apart.</p>\n", at_number(f, "window"));
}

static void put_feed(struct text *to, const json_t *f)
{
	const json_t *group, *count;
	const char *cause;
	size_t i;

	text_add(to, "<section><h2>Feed ");
	put(to, f, "name");
	text_add(to, "</h2><p class=\"limit\">What limits it now: ");
	put(to, f, "limit");
	text_add(to, ".</p><div class=\"facts\">");
	fact(to, (long long)(at_real(f, "samples_per_second") + 0.5), "samples/s");
	text_add(to, "<div><b>%.1f</b>batches/s</div>", at_real(f, "batches_per_second"));
	fact(to, at_number(f, "delivered"), "delivered");
	fact(to, at_number(f, "batches"), "batches");
	fact(to, at_number(f, "bad"), "bad");
	fact(to, at_number(f, "samples"), "samples in an epoch");
	text_add(to, "</div>\n");
	put_sharing(to, f);
	put_slots(to, at(f, "slots"));
	json_object_foreach((json_t *)at(f, "bad_samples"), cause, count) {
		text_add(to, "<span class=\"red\">%lld ", (long long)json_integer_value(count));
		text_add_html(to, cause);
		text_add(to, "</span> ");
	}
	json_array_foreach(at(f, "groups"), i, group)
		put_group(to, group);
	if (!json_array_size(at(f, "groups")))
		text_add(to, "<p class=\"dim\">No trainer is attached.</p>\n");
	text_add(to, "</section>\n");
}

static void put_bad(struct text *to, const json_t *list)
{
	const json_t *b;
	size_t i;

	if (!json_array_size(list))
		return;
	text_add(to, "<section><h2>Bad samples last seen</h2><div class=\"scroll\"><table><tr><th>ago</th><th class=\"l\">feed"
		 "</th><th class=\"l\">cause</th><th class=\"l\">where</th></tr>\n");
	json_array_foreach(list, i, b) {
		text_add(to, "<tr><td>");
		put_time(to, at_real(b, "seconds_ago"));
		text_add(to, "</td><td class=\"l\">");
		put(to, b, "feed");
		text_add(to, "</td><td class=\"l w\">");
		put(to, b, "text");
		text_add(to, "</td><td class=\"l w\">");
		put(to, b, "shard");
		text_add(to, ", key ");
		put(to, b, "key");
		text_add(to, ", offset %lld</td></tr>\n", at_number(b, "offset"));
	}
	text_add(to, "</table></div></section>\n");
}

void page_write(const json_t *status, struct text *to)
{
	const json_t *feed;
	size_t i;

	text_add(to, "%s<h1>ringfeed ", head);
	put(to, status, "version");
	text_add(to, "</h1><p class=\"dim\">up ");
	put_time(to, at_real(status, "uptime_seconds"));
	text_add(to, ", pid %lld, ", at_number(status, "pid"));
	put(to, status, "socket");
	text_add(to, ", reading with %s, pixels with ",
		 strcmp(json_string_value(at(status, "engine")), "uring") == 0 ? "io_uring" : "threads");
	put(to, status, "kernels");
	text_add(to, "; trainers: %lld; <a href=\"/metrics\">metrics</a>, <a href=\"/status.json\">JSON</a></p>\n",
		 at_number(status, "sessions"));
	if (json_is_object(at(status, "reload"))) {
		text_add(to, "<p>Reload ");
		put_time(to, at_real(at(status, "reload"), "seconds_ago"));
		text_add(to, " ago, ");
		put(to, at(status, "reload"), "outcome");
		text_add(to, ": ");
		put(to, at(status, "reload"), "text");
		text_add(to, "</p>\n");
	}
	json_array_foreach(at(status, "feeds"), i, feed)
		put_feed(to, feed);
	put_memory(to, at(status, "memory"));
	put_workers(to, status);
	put_bad(to, at(status, "seen_bad"));
	text_add(to, "</main></body></html>\n");
}
