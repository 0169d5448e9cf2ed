/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Whatever bytes come in, a reason is printable, well-formed UTF-8. */
#include "base/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void says(const char *in, const char *out)
{
	struct reason why;

	reason_set(&why, "%s", in);
	assert_string_equal(why.text, out);
}

static void keeps_utf8(void **state)
{
	says("plain", "plain");
	says("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x99", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x99");
}

static void replaces_the_rest(void **state)
{
	says("a\nb\x1b[0m\x7f", "a?b?[0m?");
	says("\xff\xfe", "??");
	says("\xc3(", "?(");
	says("\xc0\xaf", "??");	     /* overlong */
	says("\xed\xa0\x80", "???");   /* a surrogate */
	says("\xf4\x90\x80\x80", "????"); /* above U+10FFFF */
	says("end \xe2\x82", "end ??");   /* cut short */
}

static void cuts(void **state)
{
	struct reason why;
	char longer[1200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	reason_set(&why, "%s", longer);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	memset(longer, 0xc3, 1);
	longer[1] = (char)0xbc;
	for (size_t i = 2; i + 1 < sizeof(longer); i += 2)
		memcpy(longer + i, "\xc3\xbc", 2);
	longer[sizeof(longer) - 1] = 0;
	reason_set(&why, "%s", longer); /* 599 bytes: the last character is cut in half */
	assert_int_equal(why.text[598], '?');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_utf8),
		cmocka_unit_test(replaces_the_rest),
		cmocka_unit_test(cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
