/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The .def files become tables here, once. */
#include "config/keys.h"

#include "config/config.h"
#include "config/nearest.h"

#include <stdio.h>
#include <string.h>

const char key_required[] = "(required)", key_either[] = "(either)";

#define REQUIRED key_required
#define EITHER key_either
#define UNSET NULL
#define STRUCT_DAEMON struct config_daemon
#define STRUCT_FEED struct config_feed
#define STRUCT_SOURCE struct config_input
#define STRUCT_FIELD struct field
#define WIDTH(type, member) sizeof(((type *)0)->member)

/* clang-format off */
const struct key keys[] = {
#define GROUP(scope_, path_, type_, sentence_) \
	{.scope = SCOPE_##scope_, .path = path_, .type = type_, .sentence = sentence_},
#define KEY(scope_, path_, type_, member_, accepts_, min_, max_, fallback_, sample_, sentence_) \
	{SCOPE_##scope_, path_, type_, offsetof(STRUCT_##scope_, member_), WIDTH(STRUCT_##scope_, member_), \
	 accepts_, min_, max_, fallback_, sample_, sentence_},
#define LIVE(scope_, path_)
#define OF_VIEW(scope_, path_)
#define LATER(scope_, path_)
#define LATER_VALUE(scope_, path_, value_)
#define STEP(kind_, in_sample_, sentence_)
#define PARAM(kind_, path_, type_, member_, accepts_, min_, max_, fallback_, sample_, sentence_) \
	{(enum key_scope)(SCOPE_STEP + STEP_##kind_), path_, type_, offsetof(struct step, member_), \
	 WIDTH(struct step, member_), accepts_, min_, max_, fallback_, sample_, sentence_},
#define LATER_STEP(name_)
#include "config/keys.def"
#include "config/transforms.def"
#undef GROUP
#undef KEY
#undef LIVE
#undef OF_VIEW
#undef LATER
#undef LATER_VALUE
#undef STEP
#undef PARAM
#undef LATER_STEP
};
const size_t n_keys = sizeof(keys) / sizeof(keys[0]);

#define GROUP(scope_, path_, type_, sentence_)
#define KEY(scope_, path_, type_, member_, accepts_, min_, max_, fallback_, sample_, sentence_)
#define PARAM(kind_, path_, type_, member_, accepts_, min_, max_, fallback_, sample_, sentence_)
struct named {
	int scope;
	const char *path;
};

static const struct named live[] = {
#define LIVE(scope_, path_) {SCOPE_##scope_, path_},
#define OF_VIEW(scope_, path_)
#define LATER(scope_, path_)
#define LATER_VALUE(scope_, path_, value_)
#include "config/keys.def"
#undef LIVE
#undef OF_VIEW
};

static const struct named of_view[] = {
#define LIVE(scope_, path_)
#define OF_VIEW(scope_, path_) {SCOPE_##scope_, path_},
#include "config/keys.def"
#undef OF_VIEW
#undef LATER
#undef LATER_VALUE
};

#define OF_VIEW(scope_, path_)
static const struct {
	int scope;
	const char *path, *value;
} later[] = {
#define LATER(scope_, path_) {SCOPE_##scope_, path_, NULL},
#define LATER_VALUE(scope_, path_, value_) {SCOPE_##scope_, path_, value_},
#include "config/keys.def"
};

const struct step_text step_texts[STEP_COUNT] = {
#define ACTIVE true
#define COMMENTED false
#define STEP(kind_, in_sample_, sentence_) [STEP_##kind_] = {sentence_, in_sample_},
#define LATER_STEP(name_)
#include "config/transforms.def"
#undef STEP
#undef LATER_STEP
};

static const char *const later_steps[] = {
#define STEP(kind_, in_sample_, sentence_)
#define LATER_STEP(name_) name_,
#include "config/transforms.def"
};
/* clang-format on */

/* The part of path below "prefix.", or NULL when it is not below. */
static const char *below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (n == 0)
		return path;
	return strncmp(path, prefix, n) == 0 && path[n] == '.' ? path + n + 1 : NULL;
}

const struct key *key_find(int scope, const char *path)
{
	for (size_t i = 0; i < n_keys; i++)
		if ((int)keys[i].scope == scope && strcmp(keys[i].path, path) == 0)
			return &keys[i];
	return NULL;
}

bool key_has_children(int scope, const char *path)
{
	for (size_t i = 0; i < n_keys; i++)
		if ((int)keys[i].scope == scope && below(keys[i].path, path))
			return true;
	return false;
}

static bool is_listed(const struct named *list, size_t n, int scope, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].scope == scope && strcmp(list[i].path, path) == 0)
			return true;
	return false;
}

bool key_is_live(int scope, const char *path)
{
	return is_listed(live, sizeof(live) / sizeof(live[0]), scope, path);
}

bool key_is_of_view(int scope, const char *path)
{
	return is_listed(of_view, sizeof(of_view) / sizeof(of_view[0]), scope, path);
}

bool key_is_later(int scope, const char *path)
{
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (later[i].scope == scope && !later[i].value && strcmp(later[i].path, path) == 0)
			return true;
	return false;
}

bool key_is_later_value(const struct key *k, const char *value)
{
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (later[i].scope == (int)k->scope && later[i].value &&
		    strcmp(later[i].path, k->path) == 0 && strcmp(later[i].value, value) == 0)
			return true;
	return false;
}

bool step_is_later(const char *name)
{
	for (size_t i = 0; i < sizeof(later_steps) / sizeof(later_steps[0]); i++)
		if (strcmp(later_steps[i], name) == 0)
			return true;
	return false;
}

int step_parse(const char *name)
{
	for (int i = 0; i < STEP_COUNT; i++)
		if (strcmp(name, step_name((enum step_kind)i)) == 0)
			return i;
	return -1;
}

/* The i-th of words parted by bars. */
static bool bar_word(const char *words, unsigned i, struct key_word *word)
{
	for (; i > 0; i--) {
		words = strchr(words, '|');
		if (!words)
			return false;
		words++;
	}
	snprintf(word->text, sizeof(word->text), "%.*s", (int)strcspn(words, "|"), words);
	return true;
}

bool key_is_within(enum key_type type)
{
	return type == KEY_COUNT_WITHIN || type == KEY_TIME_WITHIN;
}

const char *key_within(const struct key *k)
{
	return strrchr(k->accepts, '|') + 1;
}

bool key_choice(const struct key *k, unsigned i, struct key_word *word)
{
	struct key_word after;

	if (key_is_within(k->type)) /* the last one is the key */
		return bar_word(k->accepts, i + 1, &after) && bar_word(k->accepts, i, word);
	if (k->type == KEY_CHOICE || k->type == KEY_LOG)
		return bar_word(k->accepts, i, word);
	if (k->type == KEY_FILTER && i <= FILTER_LANCZOS)
		snprintf(word->text, sizeof(word->text), "%s", filter_name((enum filter)i));
	else if (k->type == KEY_DTYPE && i < DTYPE_COUNT)
		snprintf(word->text, sizeof(word->text), "%s", dtype_name((enum dtype)i));
	else if (k->type == KEY_DTYPE && i == DTYPE_COUNT) /* the number that stands for auto */
		snprintf(word->text, sizeof(word->text), "%s", k->accepts);
	else
		return false;
	return true;
}

static void append(struct key_text *t, const char *between, const char *text)
{
	size_t n = strlen(t->text);

	snprintf(t->text + n, sizeof(t->text) - n, "%s%s", n ? between : "", text);
}

static const char *type_noun(const struct key *k)
{
	switch (k->type) {
	case KEY_MAP:
	case KEY_NAMED_MAPS:
	case KEY_VIEWS:
		return "a mapping";
	case KEY_SOURCES:
		return "a mapping, or a list of mappings";
	case KEY_STEPS:
		return "a list of transforms";
	case KEY_COUNT:
	case KEY_COUNT_WITHIN:
		return "a whole number";
	case KEY_SIZE:
		return "a whole number with B, KiB, MiB, GiB or TiB";
	case KEY_TIME:
	case KEY_TIME_WITHIN:
		return "a whole number with us, ms, s, min or h";
	case KEY_SHARE:
		return "a number with %";
	case KEY_NUMBER:
		return "a number";
	case KEY_FLAG:
		return "true or false";
	case KEY_PATH:
		return "a path";
	case KEY_PATHS:
		return "a path or a list of paths";
	case KEY_CLASSES:
		return "a path to a file with a name in each line";
	case KEY_FROM:
		return "an extension or a list of up to 8, in lower case and without the dot before it; "
		       "__key__; __url__";
	case KEY_SIDES:
	case KEY_SIDE:
		return "a whole number or [height, width]";
	case KEY_PADDING:
		return "one, two or four whole numbers";
	case KEY_WORDS:
		return "names, or numbers from 0, with dots between them";
	case KEY_SHAPE:
		return "a list of at most 4 whole numbers";
	case KEY_PAIR:
		return "[least, greatest], two numbers";
	case KEY_CHANNELS:
		return "a number or a list of three";
	case KEY_LOG:
		return ", or a mapping to these from level (all others)"
#define TOPIC(name, what) ", " #name " (" what ")"
#include "base/topics.def"
#undef TOPIC
			;
	case KEY_ADDRESS:
		return "HOST:PORT, an IPv6 address in brackets, the port from 0 (any) to 65535";
	case KEY_CPUS:
		return "numbers of CPUs and ranges of them, as 0-3,8, below 1024";
	default:
		return "";
	}
}

struct key_text key_accepted(const struct key *k)
{
	struct key_text t = {""};
	struct key_word word;

	for (unsigned i = 0; key_choice(k, i, &word); i++)
		append(&t, ", ", word.text);
	if (k->type == KEY_COUNT && k->accepts) {
		append(&t, "", k->accepts);
		append(&t, " or ", type_noun(k));
	} else if (key_is_within(k->type)) {
		append(&t, " or {", key_within(k));
		append(&t, ": N}, N ", type_noun(k));
	} else {
		append(&t, "", type_noun(k));
	}
	if (k->min) {
		append(&t, ", ", k->min);
		append(&t, " to ", k->max);
	}
	return t;
}

struct key_text key_names(int scope, const char *path)
{
	struct key_text t = {""};

	for (size_t i = 0; i < n_keys; i++) {
		const char *name = (int)keys[i].scope == scope ? below(keys[i].path, path) : NULL;

		if (name && !strchr(name, '.'))
			append(&t, ", ", name);
	}
	return t;
}

struct key_text key_view_names(void)
{
	struct key_text t = {""};

	for (size_t i = 0; i < sizeof(of_view) / sizeof(of_view[0]); i++)
		append(&t, ", ", of_view[i].path);
	return t;
}

struct key_text step_all_names(void)
{
	struct key_text t = {""};

	for (int i = 0; i < STEP_COUNT; i++)
		append(&t, ", ", step_name((enum step_kind)i));
	return t;
}

bool step_suggest(const char *name, struct key_text *ret)
{
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (int i = 0; i < STEP_COUNT; i++)
		nearest_try(&nearest, step_name((enum step_kind)i));
	if (nearest.best)
		snprintf(ret->text, sizeof(ret->text), "%s", nearest.best);
	return nearest.best != NULL;
}

static void say_elsewhere(const struct key *k, struct key_text *ret)
{
	static const char *const prefixes[] = {
		[SCOPE_ROOT] = "",
		[SCOPE_DAEMON] = "daemon.",
		[SCOPE_FEED] = "feeds.NAME.",
		[SCOPE_SOURCE] = "feeds.NAME.source.",
		[SCOPE_FIELD] = "feeds.NAME.fields.NAME.",
	};

	snprintf(ret->text, sizeof(ret->text), "%s%s", prefixes[k->scope], k->path);
}

bool key_suggest(int scope, const char *path, const char *name, struct key_text *ret)
{
	struct nearest nearest;

	nearest_init(&nearest, name);
	for (size_t i = 0; i < n_keys; i++) {
		const char *key = (int)keys[i].scope == scope ? below(keys[i].path, path) : NULL;

		if (key && !strchr(key, '.'))
			nearest_try(&nearest, key);
	}
	if (nearest.best) {
		snprintf(ret->text, sizeof(ret->text), "%s", nearest.best);
		return true;
	}
	for (size_t i = 0; i < n_keys; i++) {
		const char *dot = strrchr(keys[i].path, '.');

		if (keys[i].scope < SCOPE_STEP && strcmp(dot ? dot + 1 : keys[i].path, name) == 0) {
			say_elsewhere(&keys[i], ret);
			return true;
		}
	}
	return false;
}
