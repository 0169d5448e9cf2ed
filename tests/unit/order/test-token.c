/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Tokens out and in: any edit of one is refused with a sentence, and one that is whole is taken
 * only where it fits. Spelling and check themselves are held against the second implementation. */
#include "order/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct order_spec spec = {SHUFFLE_BLOCK, 7, 4096, 64};

static struct token example(void)
{
	return (struct token){
		.fingerprint = "00112233445566778899aabbccddeeff",
		.seed = 7,
		.epoch = 3,
		.position = 512,
		.order_hash = token_order_hash(&spec),
		.bad = 2,
	};
}

static void there_and_back(void **state)
{
	const uint64_t edges[] = {0, 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};

	for (unsigned i = 0; i < 5; i++) {
		struct token t = example(), back;
		struct reason why = {""};
		char text[TOKEN_MAX];

		t.seed = t.epoch = t.position = t.bad = t.order_hash = edges[i];
		token_format(&t, text);
		assert_in_range(strlen(text), 1, 512);
		assert_int_equal(token_parse(text, &back, &why), 0);
		assert_string_equal(back.fingerprint, t.fingerprint);
		assert_int_equal(back.seed, edges[i]);
		assert_int_equal(back.epoch, edges[i]);
		assert_int_equal(back.position, edges[i]);
		assert_int_equal(back.order_hash, edges[i]);
		assert_int_equal(back.bad, edges[i]);
	}
}

static void refused(const char *text, int code, const char *sentence)
{
	struct reason why = {""};
	struct token t;
	/* A heap copy, so that a sanitizer sees a read past the end. */
	char *copy = strdup(text);

	assert_int_equal(token_parse(copy, &t, &why), code);
	free(copy);
	if (!strstr(why.text, sentence))
		fail_msg("\"%s\" does not say \"%s\"", why.text, sentence);
}

static void respell(char text[800], const char *was, const char *now)
{
	char *at = strstr(text, was);

	assert_non_null(at);
	memmove(at + strlen(now), at + strlen(was), strlen(at + strlen(was)) + 1);
	memcpy(at, now, strlen(now));
}

/* Every byte of the token replaced by every printable byte: never taken, unless nothing changed. */
static void every_edit_is_seen(void **state)
{
	struct token t = example(), back;
	char text[TOKEN_MAX];
	size_t n;

	token_format(&t, text);
	n = strlen(text);
	for (size_t at = 0; at < n; at++) {
		char was = text[at];

		for (int c = 0x20; c < 0x7f; c++) {
			struct reason why = {""};
			int r;

			text[at] = (char)c;
			r = token_parse(text, &back, &why);
			assert_true((r == 0) == (c == was));
			assert_true(r == 0 || why.text[0]);
		}
		text[at] = 0;
		refused(text, TOKEN_E_MALFORMED, "the token is not JSON");
		text[at] = was;
	}
}

static void named_refusals(void **state)
{
	char text[800];
	struct token t = example();

	refused("", TOKEN_E_MALFORMED, "not JSON");
	refused("[1]", TOKEN_E_MALFORMED, "not a JSON object");
	refused("{}", TOKEN_E_MALFORMED, "no valid version");
	refused("{\"version\":0}", TOKEN_E_MALFORMED, "no valid version");
	refused("{\"version\":1}", TOKEN_E_MALFORMED, "no \"fingerprint\"");
	refused("{\"version\":2}", TOKEN_E_VERSION, "of version 2, this ringfeed reads version 1");
	refused("{\"version\":1,\"version\":1}", TOKEN_E_MALFORMED, "duplicate");
	token_format(&t, text);
	memmove(strstr(text, "512"), "513", 3);
	refused(text, TOKEN_E_MALFORMED, "check is wrong: it was edited");
	token_format(&t, text);
	memmove(strstr(text, "512"), "5.2", 3);
	refused(text, TOKEN_E_MALFORMED, "\"position\" is not a whole number");
	/* Other spellings of the same values, for which the check would still be right. */
	token_format(&t, text);
	respell(text, "512", "\"512\"");
	refused(text, TOKEN_E_MALFORMED, "\"position\" is not a whole number");
	token_format(&t, text);
	respell(text, "\"7\"", "\"07\"");
	refused(text, TOKEN_E_MALFORMED, "\"seed\" is not a decimal number");
	token_format(&t, text);
	respell(text, "\"7\"", "7");
	refused(text, TOKEN_E_MALFORMED, "\"seed\" is not a decimal number");
	memset(text, ' ', 600);
	text[600] = 0;
	refused(text, TOKEN_E_MALFORMED, "longer than 512 bytes");
}

static void fits(void **state)
{
	const struct order_spec reseeded = {SHUFFLE_BLOCK, 8, 4096, 64},
				rewindowed = {SHUFFLE_BLOCK, 7, 4095, 64};
	struct token t = example();
	struct reason why = {""};

	assert_int_equal(token_fits(&t, t.fingerprint, &spec, 513, &why), 0);
	assert_int_equal(token_fits(&t, t.fingerprint, &spec, 512, &why), TOKEN_E_POSITION);
	assert_non_null(strstr(why.text, "position 512 is past the end"));
	assert_int_equal(token_fits(&t, "ff", &spec, 513, &why), TOKEN_E_DATASET);
	assert_non_null(strstr(why.text, "another dataset"));
	assert_int_equal(token_fits(&t, t.fingerprint, &reseeded, 513, &why), TOKEN_E_ORDER);
	assert_non_null(strstr(why.text, "seed 7, this feed has seed 8"));
	assert_int_equal(token_fits(&t, t.fingerprint, &rewindowed, 513, &why), TOKEN_E_ORDER);
	assert_non_null(strstr(why.text, "block 4095 64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(every_edit_is_seen),
		cmocka_unit_test(named_refusals),
		cmocka_unit_test(fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
