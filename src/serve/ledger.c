/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Bad samples: a line of JSON each in daemon.ledger (FOLDER/ringfeed-bad.jsonl), and in the log the first of each
 * kind, then one line a minute. Keys are read from the saved index, for they are not kept in memory.
 */
#include "serve/daemon.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MINUTE_NS UINT64_C(60000000000)

int ledger_open(struct daemon *d, struct reason *why)
{
	char path[4096];

	d->ledger = -1;
	if (!d->config->daemon.ledger)
		return 0;
	snprintf(path, sizeof(path), "%s/ringfeed-bad.jsonl", d->config->daemon.ledger);
	d->ledger = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (d->ledger >= 0)
		return 0;
	reason_set(why, "daemon.ledger: %s: %s", path, strerror(errno));
	return 1;
}

struct place {
	const char *shard;
	char key[512];
	uint64_t offset, in_shard;
	uint32_t number; /* of the shard */
};

/* All but the key, which is in the saved index. */
static void find_file(const struct daemon *d, uint32_t feed, uint64_t sample, struct place *ret)
{
	const struct samples *s = &d->feeds[feed].dataset->samples;
	const struct order_shards shards = samples_shards(s);
	uint32_t least = SAMPLE_REPEATED;

	ret->number = order_shard_of(&shards, sample, &ret->in_shard);
	ret->shard = s->shards[ret->number].path;
	for (unsigned f = 0; f < s->n_fields; f++)
		if (samples_place(s, sample, f)->header_block < least)
			least = samples_place(s, sample, f)->header_block;
	ret->offset = least < SAMPLE_REPEATED ? (uint64_t)least * 512 : 0;
	snprintf(ret->key, sizeof(ret->key), "(sample %llu of the shard)", (unsigned long long)ret->in_shard);
}

static void find_key(const struct daemon *d, uint32_t feed, struct place *p)
{
	char key[sizeof(p->key)];
	uint64_t offset;

	if (dataset_key(d->feeds[feed].dataset, d->config->daemon.index_cache, p->number, p->in_shard, key,
			sizeof(key), &offset) != 0)
		return;
	memcpy(p->key, key, sizeof(key));
	p->offset = offset;
}

void ledger_name(const struct daemon *d, uint32_t feed, uint64_t sample, char *text, size_t n_text)
{
	struct place p;

	find_file(d, feed, sample, &p);
	find_key(d, feed, &p);
	snprintf(text, n_text, "%s, key %s, offset %llu", p.shard, p.key, (unsigned long long)p.offset);
}

static void write_line(const struct daemon *d, const struct core_action *a, const struct place *p)
{
	char when[32];
	time_t now = time(NULL);
	struct tm utc;
	json_t *line;
	char *text;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	line = json_pack("{ss ss ss% ss% sI sI sI ss ss ss%}", "time", when, "feed",
			 d->feeds[a->bad.feed].config->name, "shard", p->shard, strlen(p->shard), "key",
			 p->key, strlen(p->key), "offset", (json_int_t)p->offset, "epoch",
			 (json_int_t)a->bad.epoch, "position", (json_int_t)a->bad.position, "cause",
			 cause_name(a->bad.cause), "text", cause_text(a->bad.cause), "detail",
			 a->bad.detail, strlen(a->bad.detail));
	text = line ? json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (text) {
		size_t n = strlen(text);

		text[n] = '\n'; /* over the closing zero: one write, one line */
		if (write(d->ledger, text, n + 1) < 0)
			log_warn("ledger", "a line could not be written: %s", strerror(errno));
	}
	free(text);
	json_decref(line);
}

static void tell_log(struct daemon *d, const struct core_action *a, const struct place *p)
{
	enum cause cause = a->bad.cause;

	if (d->bad_told_ns[cause] && d->now_ns - d->bad_told_ns[cause] < MINUTE_NS) {
		d->bad_untold[cause]++;
		return;
	}
	log_warn("feeds", "%s: bad sample: %s, key %s, offset %llu: %s: %s%s%s (%llu more of this kind since "
		 "the last such line)", d->feeds[a->bad.feed].config->name, p->shard, p->key,
		 (unsigned long long)p->offset, cause_name(cause), cause_text(cause),
		 *a->bad.detail ? ": " : "", a->bad.detail, (unsigned long long)d->bad_untold[cause]);
	d->bad_told_ns[cause] = d->now_ns;
	d->bad_untold[cause] = 0;
}

/* For the status: no file is read for it. */
static void remember(struct daemon *d, const struct core_action *a, const struct place *p)
{
	struct seen_bad *b = &d->seen_bad[d->n_seen_bad++ % SEEN_BAD_MAX];

	*b = (struct seen_bad){.seen_ns = d->now_ns, .offset = p->offset, .shard = p->shard, .feed = a->bad.feed,
			       .cause = a->bad.cause};
	snprintf(b->key, sizeof(b->key), "%s", p->key);
	memcpy(b->detail, a->bad.detail, sizeof(b->detail));
}

void ledger_write(struct daemon *d, const struct core_action *a)
{
	bool is_told = d->bad_told_ns[a->bad.cause] &&
		       d->now_ns - d->bad_told_ns[a->bad.cause] < MINUTE_NS;
	struct place p;

	find_file(d, a->bad.feed, a->bad.sample, &p);
	if (d->ledger >= 0 || !is_told)
		find_key(d, a->bad.feed, &p);
	if (d->ledger >= 0)
		write_line(d, a, &p);
	remember(d, a, &p);
	tell_log(d, a, &p);
}
