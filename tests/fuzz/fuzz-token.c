/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as the text of a token: refused with a sentence, or taken, and then what it says is written and read back
 * to the same. So that the input is spent on forms, the check of what looks like a token is set right, too. Whether
 * it should be taken is what order-compare asks the second implementation.
 */
#include "fuzz.h"
#include "order/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct order_spec spec = {.shuffle = SHUFFLE_FULL, .seed = 42, .parts = 1};

static int parse(const char *text, struct token *ret)
{
	struct reason why = {""};
	int r = token_parse(text, ret, &why);

	CHECK(r == 0 || r == TOKEN_E_MALFORMED || r == TOKEN_E_VERSION || starve_explains(r));
	CHECK(r <= 0 || *why.text);
	return r;
}

static void check(const char *text)
{
	struct token t = {0}, again = {0};
	char written[TOKEN_MAX];
	struct reason why = {""};
	int r, r_full;

	starve_pause();
	r_full = parse(text, &t);
	starve_resume();
	r = parse(text, &again);
	CHECK(r == r_full || starve_explains(r));
	if (r_full != 0)
		return;
	token_format(&t, written);
	CHECK(memchr(written, 0, sizeof(written)));
	starve_pause();
	CHECK(parse(written, &again) == 0 && memcmp(&t, &again, sizeof(t)) == 0);
	r = token_fits(&t, t.fingerprint, &spec, t.position, &why);
	CHECK(r == (t.seed != 42 || t.order_hash != token_order_hash(&spec) ? TOKEN_E_ORDER : TOKEN_E_POSITION) && *why.text);
	starve_resume();
}

/* The same text with the check that its values should have. */
static void check_fixed(char *text)
{
	struct token t = {0};
	char *at = strstr(text, "\"check\":\""), digits[17];
	const char *value;
	int n = 0;

	if (!at || strlen(at) < 9 + 16 + 2)
		return;
	if ((value = strstr(text, "\"fingerprint\":\"")))
		sscanf(value + 15, "%32[0-9a-f]", t.fingerprint);
	if ((value = strstr(text, "\"seed\":\"")))
		n += sscanf(value + 8, "%" SCNu64, &t.seed);
	if ((value = strstr(text, "\"epoch\":")))
		n += sscanf(value + 8 + (value[8] == '"'), "%" SCNu64, &t.epoch);
	if ((value = strstr(text, "\"position\":")))
		n += sscanf(value + 11 + (value[11] == '"'), "%" SCNu64, &t.position);
	if ((value = strstr(text, "\"order\":\"")))
		n += sscanf(value + 9, "%16" SCNx64, &t.order_hash);
	if ((value = strstr(text, "\"bad\":")))
		n += sscanf(value + 6 + (value[6] == '"'), "%" SCNu64, &t.bad);
	if (n < 5)
		return;
	snprintf(digits, sizeof(digits), "%016" PRIx64, token_check(&t));
	memcpy(at + 9, digits, 16);
	check(text);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	char *text = starve_own(n + 1);

	if (n)
		memcpy(text, bytes, n);
	text[n] = '\0';
	check(text);
	check_fixed(text);
	free(text);
}
