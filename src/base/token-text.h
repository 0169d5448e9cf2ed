/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A token's values and its text (proto/order.md, "Token"). The daemon reads tokens (order/token.h); the
 * client library writes them from the numbers that come with each batch, and only when it is asked.
 *
 * Threads: any; no state.
 */
#ifndef BASE_TOKEN_TEXT_H
#define BASE_TOKEN_TEXT_H

#include <stdint.h>

enum { TOKEN_MAX = 513, TOKEN_VERSION = 1 };

struct token {
	char fingerprint[33]; /* 32 hex digits */
	uint64_t seed, epoch, position;
	uint64_t order_hash; /* token_order_hash() of the spec */
	uint64_t bad;
};

/* The value of "check". */
uint64_t token_check(const struct token *t);
/* Writes the JSON with its check. */
void token_format(const struct token *t, char ret_text[TOKEN_MAX]);

#endif
