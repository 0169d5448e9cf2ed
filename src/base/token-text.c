/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The form is fixed to the byte, since `check` is over the values as they are written. */
#include "base/token-text.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>

enum { NUMBER_MAX = 23 }; /* 20 digits, two quotes, the closing zero */

uint64_t token_check(const struct token *t)
{
	char text[TOKEN_MAX];

	snprintf(text, sizeof(text),
		 "%d\n%s\n%" PRIu64 "\n%" PRIu64 "\n%" PRIu64 "\n%016" PRIx64 "\n%" PRIu64,
		 TOKEN_VERSION, t->fingerprint, t->seed, t->epoch, t->position, t->order_hash,
		 t->bad);
	return hash_text(text);
}

/* JSON readers keep integers below 2^63 at best; what is larger is written as a string. */
static const char *number_text(uint64_t n, char text[NUMBER_MAX])
{
	const char *quote = n > INT64_MAX ? "\"" : "";

	snprintf(text, NUMBER_MAX, "%s%" PRIu64 "%s", quote, n, quote);
	return text;
}

void token_format(const struct token *t, char ret_text[TOKEN_MAX])
{
	char epoch[NUMBER_MAX], position[NUMBER_MAX], bad[NUMBER_MAX];

	snprintf(ret_text, TOKEN_MAX,
		 "{\"version\":%d,\"fingerprint\":\"%s\",\"seed\":\"%" PRIu64
		 "\",\"epoch\":%s,\"position\":%s,\"order\":\"%016" PRIx64
		 "\",\"bad\":%s,\"check\":\"%016" PRIx64 "\"}",
		 TOKEN_VERSION, t->fingerprint, t->seed, number_text(t->epoch, epoch),
		 number_text(t->position, position), t->order_hash, number_text(t->bad, bad),
		 token_check(t));
}
