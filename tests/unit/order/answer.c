/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "answer.h"

#include "base/draw.h"
#include "base/hash.h"
#include "order/order.h"
#include "order/token.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 4096 };

/* Where the question is read from and the answer written to. */
struct talk {
	char *from;
	char *to;
	size_t n_left;
};

static char *word(struct talk *k)
{
	return strsep(&k->from, " ");
}

static uint64_t number(struct talk *k)
{
	char *text = word(k);

	return text ? strtoull(text, NULL, 10) : 0;
}

static double real(struct talk *k)
{
	char *text = word(k);

	return text ? strtod(text, NULL) : 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct talk *k, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(k->to, k->n_left, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= k->n_left)
		abort();
	k->to += n;
	k->n_left -= (size_t)n;
}

static void say_bits(struct talk *k, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	say(k, "%016" PRIx64, bits);
}

static enum shuffle shuffle(struct talk *k)
{
	const char *text = word(k);

	return strcmp(text, "none") == 0   ? SHUFFLE_NONE
	       : strcmp(text, "full") == 0 ? SHUFFLE_FULL
					   : SHUFFLE_BLOCK;
}

static enum last last(struct talk *k)
{
	const char *text = word(k);

	return strcmp(text, "drop") == 0  ? LAST_DROP
	       : strcmp(text, "pad") == 0 ? LAST_PAD
					  : LAST_SHORT;
}

static void answer_key(struct talk *k)
{
	uint64_t seed = number(k), epoch = number(k), stream = number(k), rest[4];
	unsigned n = 0;

	while (k->from)
		rest[n++] = number(k);
	say(k, "%016" PRIx64, draw_key(seed, epoch, stream, rest, n));
}

static void answer_text(struct talk *k)
{
	say(k, "%016" PRIx64, hash_text(word(k)));
}

static void answer_draw(struct talk *k)
{
	struct draw_source from = {.seed = number(k)};

	from.epoch = number(k);
	from.position = number(k);
	from.field_hash = hash_text(word(k));
	from.path_hash = hash_text(word(k));
	say(k, "%016" PRIx64, draw_number(&from, number(k)));
}

static void answer_real(struct talk *k)
{
	uint64_t u = number(k);
	double a = real(k), b = real(k);

	say_bits(k, draw_unit(u));
	say(k, " ");
	say_bits(k, draw_uniform(u, a, b));
	say(k, " ");
	say_bits(k, draw_log_uniform(u, a, b));
	say(k, " %d", draw_event(u, a));
}

static void answer_below(struct talk *k)
{
	uint64_t u = number(k);

	say(k, "%" PRIu64, draw_below(u, number(k)));
}

static void answer_perm(struct talk *k)
{
	uint64_t n = number(k), key = number(k);

	say(k, "%" PRIu64, order_perm(n, key, number(k)));
}

static void answer_order(struct talk *k, int is_substitute)
{
	static uint64_t starts[SHARDS_MAX + 1];
	struct order_spec spec = {.shuffle = shuffle(k)};
	struct order_shards shards = {.starts = starts};
	struct order o;
	uint64_t epoch, first, count;

	spec.seed = number(k);
	epoch = number(k);
	spec.window = number(k);
	spec.parts = number(k);
	first = number(k);
	count = number(k);
	for (; k->from && shards.n_shards < SHARDS_MAX; shards.n_shards++)
		starts[shards.n_shards + 1] = starts[shards.n_shards] + number(k);
	if (order_init(&o, &spec, &shards, epoch) < 0)
		abort();
	for (uint64_t t = first; t < first + count; t++) {
		uint64_t in_shard;
		uint32_t shard = order_shard_of(&shards, order_sample(&o, t), &in_shard);

		say(k, "%s%" PRIu32 ":%" PRIu64, t > first ? " " : "", shard, in_shard);
		for (unsigned a = 1; is_substitute && a <= ORDER_ATTEMPTS; a++)
			say(k, ",%" PRIu64, order_substitute(&o, t, a));
	}
	order_deinit(&o);
}

static double read_source(char *text, uint64_t *starts, size_t *n_shards)
{
	const double weight = strtod(text, &text);

	for (; *text == ':' || *text == ','; ++*n_shards)
		starts[*n_shards + 1] = starts[*n_shards] + strtoull(text + 1, &text, 10);
	return weight;
}

static void say_mix(struct talk *k, const struct order_spec *spec, const struct order_shards *shards, uint64_t epoch,
		    uint64_t first, uint64_t count)
{
	struct order o;

	say(k, "%" PRIu64, order_length(spec, shards));
	if (order_init(&o, spec, shards, epoch) < 0)
		abort();
	for (uint64_t t = first; t < first + count; t++) {
		say(k, " %" PRIu64, order_sample(&o, t));
		for (unsigned a = 1; a <= ORDER_ATTEMPTS; a++)
			say(k, ",%" PRIu64, order_substitute(&o, t, a));
	}
	order_deinit(&o);
}

static void answer_mix(struct talk *k)
{
	static uint64_t starts[SHARDS_MAX + 1];
	double weights[SHARES_ALL] = {0};
	uint32_t shares[SHARES_ALL];
	size_t first_shards[SHARES_ALL + 1] = {0};
	struct order_mix mix = {.shares = shares, .first_shards = first_shards};
	struct order_spec spec = {.mix = &mix};
	struct order_shards shards = {.starts = starts};
	struct reason why = {""};
	uint64_t epoch, first, count;

	mix.until = strcmp(word(k), "first") == 0 ? UNTIL_FIRST : UNTIL_ALL;
	spec.shuffle = shuffle(k);
	spec.seed = number(k);
	epoch = number(k);
	spec.window = number(k);
	spec.parts = number(k);
	first = number(k);
	count = number(k);
	for (; k->from && mix.n_sources < SHARES_ALL; mix.n_sources++) {
		weights[mix.n_sources] = read_source(word(k), starts, &shards.n_shards);
		first_shards[mix.n_sources + 1] = shards.n_shards;
	}
	shares_make(weights, mix.n_sources, shares);
	if (order_check_mix(&spec, &shards, &why))
		say(k, "%s", why.text[0] ? "refused" : "?");
	else
		say_mix(k, &spec, &shards, epoch, first, count);
}

static void answer_shares(struct talk *k)
{
	double weights[SHARES_ALL] = {0};
	uint32_t shares[SHARES_ALL];
	size_t n = 0;

	while (k->from && n < SHARES_ALL)
		weights[n++] = real(k);
	shares_make(weights, n, shares);
	for (size_t i = 0; i < n; i++)
		say(k, "%s%" PRIu32, i ? " " : "", shares[i]);
}

static void answer_pass(struct talk *k)
{
	struct pass p = {.n_samples = number(k)};
	struct order_spec spec = {.shuffle = SHUFFLE_NONE, .parts = 1};
	struct reason why = {""};
	uint64_t epoch, j, rank, n;

	p.start = number(k);
	p.batch = number(k);
	p.world = number(k);
	p.last = last(k);
	epoch = number(k);
	j = number(k);
	rank = number(k);
	if (order_check(&spec, &p, &why)) {
		say(k, "refused");
		return;
	}
	say(k, "%" PRIu64, pass_n_batches(&p));
	if (j >= pass_n_batches(&p))
		return;
	pass_after(&p, epoch, j, &epoch, &n);
	say(k, " %" PRIu64 " %" PRIu64, epoch, n);
	n = pass_batch_length(&p, j, rank);
	say(k, " %" PRIu64, n);
	for (uint64_t i = 0; i < n && i < 5; i++)
		say(k, " %" PRIu64, pass_position(&p, j, rank, i));
	if (n)
		say(k, " %" PRIu64, pass_position(&p, j, rank, n - 1));
}

static void answer_check(struct talk *k)
{
	struct order_spec spec = {.shuffle = shuffle(k)};
	struct pass p = {.batch = 1, .world = 1, .last = LAST_PAD};
	struct reason why = {""};
	int r;

	spec.window = number(k);
	spec.parts = number(k);
	p.n_samples = number(k);
	r = order_check(&spec, &p, &why);
	say(k, "%s", r == 0 ? "ok" : r == ORDER_E_REFUSED && why.text[0] ? "refused" : "?");
}

static void answer_token(struct talk *k)
{
	uint32_t shares[SHARES_ALL];
	struct order_mix mix = {.shares = shares};
	struct order_spec spec = {0};
	struct token t;
	char text[TOKEN_MAX];

	snprintf(t.fingerprint, sizeof(t.fingerprint), "%s", word(k));
	t.seed = number(k);
	t.epoch = number(k);
	t.position = number(k);
	t.bad = number(k);
	spec.shuffle = shuffle(k);
	spec.window = number(k);
	spec.parts = number(k);
	if (k->from) {
		spec.mix = &mix;
		mix.until = strcmp(word(k), "first") == 0 ? UNTIL_FIRST : UNTIL_ALL;
	}
	while (k->from && mix.n_sources < SHARES_ALL)
		shares[mix.n_sources++] = (uint32_t)number(k);
	t.order_hash = token_order_hash(&spec);
	token_format(&t, text);
	say(k, "%s", text);
}

static void answer_parse(struct talk *k)
{
	struct token t;
	struct reason why = {""};
	int r = token_parse(k->from ? k->from : "", &t, &why);

	if (r == 0)
		say(k, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 " %" PRIu64,
		    t.fingerprint, t.seed, t.epoch, t.position, t.order_hash, t.bad);
	else
		say(k, "%s",
		    !why.text[0]	     ? "?"
		    : r == TOKEN_E_MALFORMED ? "malformed"
		    : r == TOKEN_E_VERSION   ? "version"
					     : "?");
}

int answer(char *question, char ret_text[ANSWER_MAX])
{
	struct talk k = {question, ret_text, ANSWER_MAX};
	const char *verb = word(&k);

	if (strcmp(verb, "key") == 0)
		answer_key(&k);
	else if (strcmp(verb, "text") == 0)
		answer_text(&k);
	else if (strcmp(verb, "draw") == 0)
		answer_draw(&k);
	else if (strcmp(verb, "real") == 0)
		answer_real(&k);
	else if (strcmp(verb, "below") == 0)
		answer_below(&k);
	else if (strcmp(verb, "perm") == 0)
		answer_perm(&k);
	else if (strcmp(verb, "order") == 0)
		answer_order(&k, 0);
	else if (strcmp(verb, "substitutes") == 0)
		answer_order(&k, 1);
	else if (strcmp(verb, "mix") == 0)
		answer_mix(&k);
	else if (strcmp(verb, "shares") == 0)
		answer_shares(&k);
	else if (strcmp(verb, "pass") == 0)
		answer_pass(&k);
	else if (strcmp(verb, "check") == 0)
		answer_check(&k);
	else if (strcmp(verb, "token") == 0)
		answer_token(&k);
	else if (strcmp(verb, "parse") == 0)
		answer_parse(&k);
	else
		return -1;
	return 0;
}
