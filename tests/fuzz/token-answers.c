/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Texts from stdin, each behind its length as a little-endian u32, read as tokens: a line each, with what the token
 * says, or how it is refused. token_twin.py asks the second implementation the same.
 */
#include "order/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 4096 };

static void answer(const char *text)
{
	struct token t;
	struct reason why = {""};
	int r = token_parse(text, &t, &why);

	if (r == 0)
		printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 " %" PRIu64 "\n", t.fingerprint, t.seed, t.epoch,
		       t.position, t.order_hash, t.bad);
	else
		puts(r == TOKEN_E_MALFORMED ? "malformed" : r == TOKEN_E_VERSION ? "version" : "?");
}

int main(void)
{
	unsigned char length[4];

	while (fread(length, sizeof(length), 1, stdin) == 1) {
		const size_t n = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
		char *text = n <= TEXT_MAX ? calloc(n + 1, 1) : NULL; /* of its size, so that a sanitizer sees its end */

		if (!text || fread(text, 1, n, stdin) != n)
			return 2;
		answer(text);
		free(text);
	}
	return 0;
}
