/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Bad samples: a line of JSON each in daemon.ledger (FOLDER/ringfeed-bad.jsonl), and in the log the first of each
 * kind, then one line a minute. Keys are read from the saved index, for they are not kept in memory.
 *
 * A line is written before the row that it is about is lent, in one piece, and is there as a whole or not at all: what
 * a full disk leaves of one is taken back, what a crash leaves is at the next start. Several daemons may write one
 * ledger; each holds a shared lock on it, and only who is alone with it takes anything back. Who is not begins
 * the next line with a newline.
 *
 * What was damaged when first read and good when read again is no bad sample, and stands in the log alone.
 */
#include "serve/daemon.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MINUTE_NS UINT64_C(60000000000)

enum { TAIL = 64 << 10 }; /* no line is longer */

/* Are we the only ones who have it open? If so nobody else writes it before release(). */
static bool seize(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static void release(int fd)
{
	flock(fd, LOCK_SH | LOCK_NB);
}

/* How many bytes stand behind the last newline; -1: more than a line may have. */
static ssize_t torn_bytes(int fd, off_t size)
{
	char *tail = malloc(TAIL), *newline;
	const off_t from = size > TAIL ? size - TAIL : 0;
	ssize_t n = tail ? pread(fd, tail, TAIL, from) : -1, torn;

	newline = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;
	torn = newline ? tail + n - (newline + 1) : from == 0 ? n : -1;
	free(tail);
	return torn;
}

/* What the end of another daemon, or of the machine, has left of its last line. */
static void mend(struct daemon *d, const char *path)
{
	const bool is_alone = seize(d->ledger);
	struct stat st;
	ssize_t torn = 0;

	if (fstat(d->ledger, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		torn = torn_bytes(d->ledger, st.st_size);
	if (torn > 0 && is_alone && ftruncate(d->ledger, st.st_size - torn) == 0)
		log_warn("ledger", "%s: the last line was torn when its writer ended: its %zd bytes are taken back", path, torn);
	else
		d->is_ledger_torn = torn != 0;
	release(d->ledger);
}

int ledger_open(struct daemon *d, struct reason *why)
{
	char path[4096];

	d->ledger = -1;
	if (!d->config->daemon.ledger)
		return 0;
	snprintf(path, sizeof(path), "%s/ringfeed-bad.jsonl", d->config->daemon.ledger);
	d->ledger = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (d->ledger < 0) {
		reason_set(why, "daemon.ledger: %s: %s", path, strerror(errno));
		return 1;
	}
	mend(d, path);
	return 0;
}

/* n bytes of a line came to lie at the end: they go, or the next line begins on one of its own. */
static void take_back(struct daemon *d, off_t n)
{
	const off_t end = lseek(d->ledger, 0, SEEK_CUR);
	struct stat st;

	d->is_ledger_torn = !(seize(d->ledger) && fstat(d->ledger, &st) == 0 && st.st_size == end &&
			      ftruncate(d->ledger, end - n) == 0);
	release(d->ledger);
}

/* With its newline. */
static void append(struct daemon *d, char *line, size_t n_line)
{
	char newline = '\n';
	const struct iovec parts[2] = {{&newline, d->is_ledger_torn}, {line, n_line}};
	const ssize_t n = writev(d->ledger, parts, 2);
	const int error = n < 0 ? errno : ENOSPC;

	if (n == (ssize_t)(n_line + d->is_ledger_torn)) {
		if (d->n_ledger_lost)
			log_warn("ledger", "lines are written again; %llu are missing", (unsigned long long)d->n_ledger_lost);
		d->is_ledger_torn = false;
		d->n_ledger_lost = 0;
		return;
	}
	if (n > 0)
		take_back(d, n);
	if (d->n_ledger_lost++ == 0)
		log_warn("ledger", "a line could not be written: %s; how many are missing is said when it can be again", strerror(error));
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

static void find_key(struct daemon *d, uint32_t feed, struct place *p)
{
	char key[sizeof(p->key)];
	uint64_t offset;

	if (!keys_find(&d->keys, d->feeds[feed].dataset, p->number, p->in_shard, key, sizeof(key), &offset))
		return;
	memcpy(p->key, key, sizeof(key));
	p->offset = offset;
}

void ledger_name(struct daemon *d, uint32_t feed, uint64_t sample, char *text, size_t n_text)
{
	struct place p;

	find_file(d, feed, sample, &p);
	find_key(d, feed, &p);
	snprintf(text, n_text, "%s, key %s, offset %llu", p.shard, p.key, (unsigned long long)p.offset);
}

static void write_line(struct daemon *d, const struct core_action *a, const struct place *p)
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
		append(d, text, n + 1);
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

void ledger_mended(struct daemon *d, const struct core_action *a)
{
	const struct samples *s = &d->feeds[a->mended.feed].dataset->samples;
	char name[1024];

	if (d->mended_told_ns && d->now_ns - d->mended_told_ns < MINUTE_NS) {
		d->n_mended_untold++;
		return;
	}
	if (a->mended.sample == UINT64_MAX)
		snprintf(name, sizeof(name), "%s, offset %llu", s->shards[a->mended.shard].path,
			 (unsigned long long)a->mended.offset);
	else
		ledger_name(d, a->mended.feed, a->mended.sample, name, sizeof(name));
	log_warn("reads", "%s: %s: was damaged when read first, and was not when read again past the page cache: memory, "
		 "cable or controller of this machine, or its storage, give wrong bytes now and then (%llu more since the last such line)",
		 d->feeds[a->mended.feed].config->name, name, (unsigned long long)d->n_mended_untold);
	d->mended_told_ns = d->now_ns;
	d->n_mended_untold = 0;
}
