/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the demo's table takes from a daemon's JSON, also from JSON that is cut short anywhere. */
#include "json.h"
#include "state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] =
	"{ \"version\": \"0.1\", \"odd\": [[1, {\"a\": \"]}\\\"\"}], null, true, -1.5e3],\n"
	" \"memory\": {\"budget_bytes\": 268435456, \"resident_bytes\":1, \"peak_bytes\":141000000},"
	" \"feeds\":[{\"name\":\"heldout\",\"groups\":[]},"
	" {\"name\":\"train\",\"groups\":[{\"name\":\"a\",\"ranks\":[{\"waits\":{\"read\":9}}]},"
	" {\"name\":\"b\", \"ranks\":[{\"rank\":0,\"waits\":{\"read\":0.5,\"decode\":1,\"slots\":0,"
	"\"trainer\":3.25e1},\"delivered\":7,\"bad\":0}]}]}]}";

static void finds(void **state)
{
	struct state s;
	double number;

	state_read(text, "train", "b", &s);
	assert_true(s.has_memory && s.has_waits);
	assert_true(s.budget_bytes == 268435456 && s.peak_bytes == 141000000);
	assert_true(s.waits_s[0] == .5 && s.waits_s[1] == 1 && s.waits_s[2] == 0 && s.waits_s[3] == 32.5);
	state_read(text, "train", "a", &s);
	assert_true(s.has_memory && !s.has_waits);
	state_read(text, "heldout", "b", &s);
	assert_false(s.has_waits);
	assert_true(json_number(json_after(json_after(json_after(json_first(
					json_member(json_of(text), "odd"))))), &number));
	assert_true(number == -1500);
	assert_false(json_number(json_member(json_of(text), "version"), &number));
}

/* Every beginning of the text, each in memory of exactly its size, so that a sanitizer sees a step too far. */
static void survives_any_cut(void **state)
{
	size_t n_needed = (size_t)(strstr(text, "3.25e1}") - text) + strlen("3.25e1}");

	for (size_t n = 0; n < sizeof(text); n++) {
		char *cut = strndup(text, n);
		struct state s;

		assert_non_null(cut);
		state_read(cut, "train", "b", &s);
		assert_int_equal(s.has_waits, n >= n_needed);
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(survives_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
