/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The table of keys (keys.def, transforms.def) and what can be asked of it. Reading, defaults, messages
 * and the sample file all follow these rows.
 *
 * Threads: any; the tables are constant.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "base/pipeline.h"

#include <stdbool.h>
#include <stddef.h>

enum key_scope {
	SCOPE_ROOT,
	SCOPE_DAEMON,
	SCOPE_FEED,
	SCOPE_SOURCE,
	SCOPE_FIELD,
	SCOPE_STEP, /* + enum step_kind */
	SCOPE_COUNT = SCOPE_STEP + STEP_COUNT,
};

enum key_type {
	KEY_MAP,	/* holds other keys of its scope, or is a scope of its own */
	KEY_NAMED_MAPS, /* a map from names to scopes */
	KEY_VIEWS,	/* a map from names to maps from names of fields to the keys that a view may have */
	KEY_SOURCES,	/* a scope of its own, or a list of them */
	KEY_STEPS,	/* a list of transforms */
	KEY_COUNT,	/* a whole number; the word in accepts means 0 */
	KEY_COUNT_WITHIN, /* a word, or {KEY: a whole number} */
	KEY_SIZE,	/* bytes, with a unit */
	KEY_TIME,	/* nanoseconds, with a unit */
	KEY_TIME_WITHIN, /* a word, or {KEY: a time} */
	KEY_SHARE,	/* 0 … 1, written as a percentage */
	KEY_NUMBER,	/* a real */
	KEY_FLAG,
	KEY_CHOICE,
	KEY_DTYPE,
	KEY_FILTER,
	KEY_PATH,
	KEY_PATHS,	/* one or a list */
	KEY_FROM,	/* extensions, one or a list, or a word: source, extensions of struct field */
	KEY_CLASSES,	/* a path; the file's lines go to classes of struct field */
	KEY_SIDES,	/* n or [h, w]; fills height and width of struct step */
	KEY_SIDE,	/* n or [h, w]; n leaves width 0 */
	KEY_PADDING,	/* one, two or four whole numbers */
	KEY_WORDS,	/* names and numbers with dots between them */
	KEY_SHAPE,	/* a list of whole numbers; fills n_dims and dims of struct field */
	KEY_PAIR,	/* two reals, the second not the smaller */
	KEY_CHANNELS,	/* three reals, or one for all */
	KEY_LOG,	/* a level, or a map of them: struct log_levels */
	KEY_ADDRESS,	/* HOST:PORT or [IPV6]:PORT */
	KEY_CPUS,	/* "0-3,8"; fills a bitmap of CPUS_MAX */
};

struct key {
	enum key_scope scope;
	const char *path; /* within its scope, "batch.size" */
	enum key_type type;
	size_t offset, width; /* of the member in the scope's struct */
	const char *accepts, *min, *max;
	const char *fallback; /* as it would be written; key_required; key_either; or NULL */
	const char *sample;
	const char *sentence;
};

extern const struct key keys[];
extern const size_t n_keys;
extern const char key_required[], key_either[];

struct step_text {
	const char *sentence;
	bool is_active; /* in the sample file */
};
extern const struct step_text step_texts[STEP_COUNT];

const struct key *key_find(int scope, const char *path);
/* Rows below path ("batch" has "batch.size"). */
bool key_has_children(int scope, const char *path);
/* A running daemon takes its new value on SIGHUP. */
bool key_is_live(int scope, const char *path);
/* A view may have its own value of it. */
bool key_is_of_view(int scope, const char *path);
/* Those keys, separated by commas. */
struct key_text key_view_names(void);
/* A later version has this key, value or transform. */
bool key_is_later(int scope, const char *path);
bool key_is_later_value(const struct key *k, const char *value);
bool step_is_later(const char *name);

/* The i-th word that a KEY_CHOICE, KEY_DTYPE, KEY_FILTER or WITHIN can be, in a buffer of the caller's; false past the
 * last. */
struct key_word {
	char text[32];
};
bool key_choice(const struct key *k, unsigned i, struct key_word *word);
bool key_is_within(enum key_type type);
/* The key of a WITHIN's mapping. */
const char *key_within(const struct key *k);

struct key_text {
	char text[600];
};
/* "a size from 16MiB to 64TiB (a whole number with B, KiB, MiB, GiB or TiB)". */
struct key_text key_accepted(const struct key *k);
/* The keys directly below path ("" for the scope's own), separated by commas. */
struct key_text key_names(int scope, const char *path);
/* The names of all transforms, separated by commas. */
struct key_text step_all_names(void);

/* What name was probably meant to be: a key below path in scope, else the same name elsewhere; false: no
 * idea. */
bool key_suggest(int scope, const char *path, const char *name, struct key_text *ret);
bool step_suggest(const char *name, struct key_text *ret);
/* The transform of that name, or -1. */
int step_parse(const char *name);

#endif
