/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* proto/protocol.md has the form. */
#include "state.h"

#include "json.h"

static const char *const wait_names[STATE_WAITS] = {"read", "decode", "slots", "trainer"};

const char *state_wait_name(int i)
{
	return wait_names[i];
}

static struct json named(struct json array, const char *name)
{
	struct json at = json_first(array);

	while (at.text && !json_is_text(json_member(at, "name"), name))
		at = json_after(at);
	return at;
}

void state_read(const char *text, const char *feed, const char *group, struct state *ret)
{
	struct json all = json_of(text), memory = json_member(all, "memory");
	struct json one = named(json_member(named(json_member(all, "feeds"), feed), "groups"), group);
	struct json waits = json_member(json_first(json_member(one, "ranks")), "waits");

	*ret = (struct state){0};
	ret->has_memory = json_number(json_member(memory, "budget_bytes"), &ret->budget_bytes) &&
			  json_number(json_member(memory, "peak_bytes"), &ret->peak_bytes) &&
			  ret->budget_bytes > 0;
	ret->has_waits = true;
	for (int i = 0; i < STATE_WAITS; i++)
		ret->has_waits &= json_number(json_member(waits, wait_names[i]), &ret->waits_s[i]);
}
