/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * proto/order.md, "Token". Tokens lie in checkpoints and come back from outside: whatever the form
 * does not allow is refused, and `check` shows an edit by hand. A newer version is told from its
 * version alone, since the rest of its form is not known here.
 */
#include "order/token.h"

#include "base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const keys[] = {"version",  "fingerprint", "seed", "epoch",
				   "position", "order",	      "bad",  "check"};
enum { N_KEYS = sizeof(keys) / sizeof(keys[0]) };

static const char *shuffle_name(enum shuffle shuffle)
{
	switch (shuffle) {
	case SHUFFLE_NONE:
		return "none";
	case SHUFFLE_BLOCK:
		return "block";
	case SHUFFLE_FULL:
		return "full";
	}
	assert(!"a shuffle that is none of the three");
	return "";
}

/* Room for what a share adds, and for what stands before the shares. */
enum { SHARE_TEXT = 5, ORDER_TEXT_MAX = 64 + SHARES_ALL * SHARE_TEXT };

static void order_text(const struct order_spec *spec, char text[ORDER_TEXT_MAX])
{
	const struct order_mix *mix = spec->mix;
	size_t n = (size_t)snprintf(text, ORDER_TEXT_MAX, "%s %" PRIu64 " %" PRIu64, shuffle_name(spec->shuffle),
				    spec->window, spec->parts);

	if (!mix)
		return;
	n += (size_t)snprintf(text + n, ORDER_TEXT_MAX - n, " %s", mix->until == UNTIL_FIRST ? "first" : "all");
	for (size_t x = 0; x < mix->n_sources; x++)
		n += (size_t)snprintf(text + n, ORDER_TEXT_MAX - n, " %" PRIu32, mix->shares[x]);
}

uint64_t token_order_hash(const struct order_spec *spec)
{
	char text[ORDER_TEXT_MAX];

	order_text(spec, text);
	return hash_text(text);
}

/* Digits without a sign or a leading zero, at most 2^64 - 1. */
static bool read_decimal(const char *text, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	}
	*ret = n;
	return true;
}

static bool is_hex(const char *text, size_t n_digits)
{
	return strlen(text) == n_digits && strspn(text, "0123456789abcdef") == n_digits;
}

static bool read_decimal_string(const json_t *value, uint64_t *ret)
{
	return json_is_string(value) && read_decimal(json_string_value(value), ret);
}

/* A JSON integer below 2^63, a decimal string from there on. */
static bool read_number(const json_t *value, uint64_t *ret)
{
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*ret = (uint64_t)json_integer_value(value);
		return true;
	}
	return read_decimal_string(value, ret) && *ret > INT64_MAX;
}

static bool read_hash(const json_t *value, uint64_t *ret)
{
	if (!json_is_string(value) || !is_hex(json_string_value(value), 16))
		return false;
	*ret = strtoull(json_string_value(value), NULL, 16);
	return true;
}

static bool read_fingerprint(const json_t *value, char ret[33])
{
	if (!json_is_string(value) || !is_hex(json_string_value(value), 32))
		return false;
	memcpy(ret, json_string_value(value), 33);
	return true;
}

static int read_version(const json_t *object, struct reason *why)
{
	const json_t *value = json_object_get(object, "version");

	if (json_is_integer(value) && json_integer_value(value) > TOKEN_VERSION) {
		reason_set(why,
			   "the token is of version %" JSON_INTEGER_FORMAT
			   ", this ringfeed reads version %d; it needs a newer ringfeed",
			   json_integer_value(value), TOKEN_VERSION);
		return TOKEN_E_VERSION;
	}
	if (!json_is_integer(value) || json_integer_value(value) != TOKEN_VERSION) {
		reason_set(why, "the token has no valid version; this ringfeed reads version %d",
			   TOKEN_VERSION);
		return TOKEN_E_MALFORMED;
	}
	return 0;
}

static int check_keys(json_t *object, struct reason *why)
{
	const char *name;
	json_t *value;

	for (size_t i = 0; i < N_KEYS; i++) {
		if (!json_object_get(object, keys[i])) {
			reason_set(why, "the token has no \"%s\"", keys[i]);
			return TOKEN_E_MALFORMED;
		}
	}
	json_object_foreach(object, name, value)
	{
		bool is_known = false;

		for (size_t i = 0; i < N_KEYS; i++)
			is_known = is_known || strcmp(name, keys[i]) == 0;
		if (!is_known) {
			reason_set(why,
				   "the token has a key \"%s\", which tokens of version %d lack",
				   name, TOKEN_VERSION);
			return TOKEN_E_MALFORMED;
		}
	}
	return 0;
}

static int read_values(const json_t *object, struct token *ret, struct reason *why)
{
	struct token t = {0};
	uint64_t check = 0;
	const char *wrong = NULL, *wanted = NULL;

	if (!read_fingerprint(json_object_get(object, "fingerprint"), t.fingerprint)) {
		wrong = "fingerprint";
		wanted = "a string of 32 lower-case hex digits";
	} else if (!read_decimal_string(json_object_get(object, "seed"), &t.seed)) {
		wrong = "seed";
		wanted = "a decimal number as a string";
	} else if (!read_number(json_object_get(object, "epoch"), &t.epoch)) {
		wrong = "epoch";
	} else if (!read_number(json_object_get(object, "position"), &t.position)) {
		wrong = "position";
	} else if (!read_hash(json_object_get(object, "order"), &t.order_hash)) {
		wrong = "order";
		wanted = "a string of 16 lower-case hex digits";
	} else if (!read_number(json_object_get(object, "bad"), &t.bad)) {
		wrong = "bad";
	} else if (!read_hash(json_object_get(object, "check"), &check)) {
		wrong = "check";
		wanted = "a string of 16 lower-case hex digits";
	}
	if (wrong) {
		reason_set(why, "the token's \"%s\" is not %s", wrong,
			   wanted ? wanted : "a whole number of 0 or more");
		return TOKEN_E_MALFORMED;
	}
	if (check != token_check(&t)) {
		reason_set(why,
			   "the token's check is wrong: it was edited or damaged after ringfeed "
			   "wrote it; resume from a token as it was saved");
		return TOKEN_E_MALFORMED;
	}
	*ret = t;
	return 0;
}

int token_parse(const char *text, struct token *ret, struct reason *why)
{
	size_t n = strnlen(text, TOKEN_MAX);
	json_error_t error;
	json_t *object;
	int r;

	if (n >= TOKEN_MAX) {
		reason_set(why, "the token is longer than %d bytes", TOKEN_MAX - 1);
		return TOKEN_E_MALFORMED;
	}
	object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!object) {
		reason_set(why, "the token is not JSON: line %d, column %d: %s", error.line,
			   error.column, error.text);
		return TOKEN_E_MALFORMED;
	}
	if (json_is_object(object)) {
		r = read_version(object, why);
		if (r == 0)
			r = check_keys(object, why);
		if (r == 0)
			r = read_values(object, ret, why);
	} else {
		reason_set(why, "the token is not a JSON object");
		r = TOKEN_E_MALFORMED;
	}
	json_decref(object);
	return r;
}

int token_fits(const struct token *t, const char *fingerprint, const struct order_spec *spec,
	       uint64_t n_samples, struct reason *why)
{
	char order[ORDER_TEXT_MAX];

	if (strcmp(t->fingerprint, fingerprint) != 0) {
		reason_set(why,
			   "the token is of another dataset (fingerprint %s, this feed's is %s): "
			   "shards were added, removed, changed or listed in another order",
			   t->fingerprint, fingerprint);
		return TOKEN_E_DATASET;
	}
	if (t->seed != spec->seed) {
		reason_set(why, "the token is of seed %" PRIu64 ", this feed has seed %" PRIu64,
			   t->seed, spec->seed);
		return TOKEN_E_ORDER;
	}
	if (t->order_hash != token_order_hash(spec)) {
		order_text(spec, order);
		reason_set(why,
			   "the token is of another order than this feed's (shuffle, window, "
			   "parts%s: %s)",
			   spec->mix ? ", until, and by their weights the sources' shares of 1024" : "", order);
		return TOKEN_E_ORDER;
	}
	if (t->position >= n_samples) {
		reason_set(why,
			   "the token's position %" PRIu64
			   " is past the end: an epoch of this feed has %" PRIu64 " positions",
			   t->position, n_samples);
		return TOKEN_E_POSITION;
	}
	return 0;
}
