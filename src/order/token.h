/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The token: where a run is, as JSON of at most 512 bytes (proto/order.md, "Token"); base/token-text.h writes it.
 *
 * Threads: any; no state.
 */
#ifndef ORDER_TOKEN_H
#define ORDER_TOKEN_H

#include "base/reason.h"
#include "base/token-text.h"
#include "order/order.h"

#include <stdint.h>

enum {
	TOKEN_E_MALFORMED = 1, /* not a token: not JSON, a key missing or of the wrong type, check is wrong */
	TOKEN_E_VERSION,       /* of a newer version */
	TOKEN_E_DATASET,       /* of another dataset */
	TOKEN_E_ORDER,	       /* of another order or seed */
	TOKEN_E_POSITION,      /* past the end of its epoch */
};

/* XXH64 of "shuffle window parts", in a mix of "shuffle window parts until m_0 m_1 ...". */
uint64_t token_order_hash(const struct order_spec *spec);
/* 0 or TOKEN_E_MALFORMED, TOKEN_E_VERSION with the reason. */
int token_parse(const char *text, struct token *ret, struct reason *why);
/* May this token be resumed on that dataset and order? 0 or TOKEN_E_DATASET, _ORDER, _POSITION. */
int token_fits(const struct token *t, const char *fingerprint, const struct order_spec *spec,
	       uint64_t n_samples, struct reason *why);

#endif
