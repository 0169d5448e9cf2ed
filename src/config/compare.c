/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Most values are plain bytes in their struct, and equal when these are; the rows that point elsewhere, or fill more
 * than one member, are named one by one.
 */
#include "config/compare.h"

#include "base/classes.h"
#include "config/keys.h"

#include <stdio.h>
#include <string.h>

struct compare {
	config_differs *tell;
	void *context;
};

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_same_patterns(const struct config_input *a, const struct config_input *b)
{
	if (a->n_patterns != b->n_patterns)
		return false;
	for (size_t i = 0; i < a->n_patterns; i++)
		if (!is_same_text(a->patterns[i], b->patterns[i]))
			return false;
	return true;
}

static bool is_same_classes(const struct classes *a, const struct classes *b)
{
	return a && b ? classes_hash(a) == classes_hash(b) : a == b;
}

/* The shape of an image follows from its transforms: it is no key there. */
static bool is_same_shape(const struct field *a, const struct field *b)
{
	return a->decode == DECODE_IMAGE || b->decode == DECODE_IMAGE ||
	       (a->n_dims == b->n_dims && memcmp(a->dims, b->dims, sizeof(a->dims)) == 0);
}

static bool is_same(const struct key *k, const void *a, const void *b)
{
	const void *member_a = (const char *)a + k->offset, *member_b = (const char *)b + k->offset;
	const struct field *field_a = a, *field_b = b;
	const struct step *step_a = a, *step_b = b;

	switch (k->type) {
	case KEY_PATH:
		return is_same_text(*(char *const *)member_a, *(char *const *)member_b);
	case KEY_PATHS:
		return is_same_patterns(a, b);
	case KEY_CLASSES:
		return is_same_classes(field_a->classes, field_b->classes);
	case KEY_FROM:
		return field_a->source == field_b->source && field_a->n_extensions == field_b->n_extensions &&
		       memcmp(member_a, member_b, k->width) == 0;
	case KEY_SHAPE:
		return is_same_shape(field_a, field_b);
	case KEY_SIDES:
	case KEY_SIDE:
		return step_a->height == step_b->height && step_a->width == step_b->width;
	default:
		return memcmp(member_a, member_b, k->width) == 0;
	}
}

static bool is_of_view(const struct key *k)
{
	return key_is_of_view(k->scope, k->path);
}

/* The rows that `counts` says; NULL: all. */
static void compare_rows(const struct compare *c, int scope, const char *prefix, const void *a, const void *b,
			 bool (*counts)(const struct key *k))
{
	char path[400];

	for (size_t i = 0; i < n_keys; i++) {
		const struct key *k = &keys[i];

		if ((int)k->scope != scope || k->type <= KEY_STEPS || (counts && !counts(k)) || is_same(k, a, b))
			continue;
		snprintf(path, sizeof(path), "%s.%s", prefix, k->path);
		c->tell(c->context, path, key_is_live(scope, k->path));
	}
}

static void compare_scope(const struct compare *c, int scope, const char *prefix, const void *a, const void *b)
{
	compare_rows(c, scope, prefix, a, b, NULL);
}

static void compare_steps(const struct compare *c, const char *prefix, const struct field *a, const struct field *b)
{
	char path[300];

	snprintf(path, sizeof(path), "%s.transform", prefix);
	if (a->n_steps != b->n_steps) {
		c->tell(c->context, path, false);
		return;
	}
	for (unsigned i = 0; i < a->n_steps; i++) {
		snprintf(path, sizeof(path), "%s.transform.%u", prefix, i);
		if (a->steps[i].kind != b->steps[i].kind)
			c->tell(c->context, path, false);
		else
			compare_scope(c, SCOPE_STEP + (int)a->steps[i].kind, path, &a->steps[i], &b->steps[i]);
	}
}

static const struct field *find_field(const struct pipeline *p, const char *name)
{
	for (unsigned i = 0; i < p->n_fields; i++)
		if (strcmp(p->fields[i].name, name) == 0)
			return &p->fields[i];
	return NULL;
}

static void compare_sources(const struct compare *c, const struct config_feed *a, const struct config_feed *b)
{
	char path[200];

	snprintf(path, sizeof(path), "feeds.%s.source", a->name);
	if (a->n_inputs != b->n_inputs || a->is_mix != b->is_mix) {
		c->tell(c->context, path, false);
		return;
	}
	for (size_t i = 0; i < a->n_inputs; i++) {
		if (a->is_mix)
			snprintf(path, sizeof(path), "feeds.%s.source.%zu", a->name, i);
		compare_scope(c, SCOPE_SOURCE, path, &a->inputs[i], &b->inputs[i]);
	}
}

static void compare_feed(const struct compare *c, const struct config_feed *a, const struct config_feed *b)
{
	char path[200];

	snprintf(path, sizeof(path), "feeds.%s", a->name);
	compare_sources(c, a, b);
	compare_scope(c, SCOPE_FEED, path, a, b);
	for (unsigned i = 0; i < a->pipeline.n_fields; i++) {
		const struct field *field = &a->pipeline.fields[i], *other = find_field(&b->pipeline, field->name);

		snprintf(path, sizeof(path), "feeds.%s.fields.%s", a->name, field->name);
		if (!other) {
			c->tell(c->context, path, false);
			continue;
		}
		compare_scope(c, SCOPE_FIELD, path, field, other);
		compare_steps(c, path, field, other);
	}
	for (unsigned i = 0; i < b->pipeline.n_fields; i++) {
		snprintf(path, sizeof(path), "feeds.%s.fields.%s", a->name, b->pipeline.fields[i].name);
		if (!find_field(&a->pipeline, b->pipeline.fields[i].name))
			c->tell(c->context, path, false);
	}
}

/* What the feed differs in is told there. */
static void compare_view(const struct compare *c, const char *path, const struct config_feed *a,
			 const struct config_feed *b)
{
	char at[300];

	for (unsigned i = 0; i < a->pipeline.n_fields; i++) {
		const struct field *field = &a->pipeline.fields[i], *other = find_field(&b->pipeline, field->name);

		if (!other)
			continue;
		snprintf(at, sizeof(at), "%s.%s", path, field->name);
		compare_rows(c, SCOPE_FIELD, at, field, other, is_of_view);
		compare_steps(c, at, field, other);
	}
}

static void path_of(const struct config *config, const struct config_feed *f, char *path, size_t n_path)
{
	const char *feed = config->feeds[f->base].name;
	const size_t n = strlen(feed);

	if (f == &config->feeds[f->base])
		snprintf(path, n_path, "feeds.%s", f->name);
	else
		snprintf(path, n_path, "feeds.%s.views.%s", feed, f->name + n + 1);
}

void config_compare(const struct config *a, const struct config *b, config_differs *tell, void *context)
{
	const struct compare c = {tell, context};
	char path[200];

	compare_scope(&c, SCOPE_DAEMON, "daemon", &a->daemon, &b->daemon);
	for (size_t i = 0; i < a->n_feeds; i++) {
		const struct config_feed *feed = &a->feeds[i], *other = config_feed(b, feed->name);

		path_of(a, feed, path, sizeof(path));
		if (!other)
			tell(context, path, false);
		else if (feed->base == i)
			compare_feed(&c, feed, other);
		else
			compare_view(&c, path, feed, other);
	}
	for (size_t i = 0; i < b->n_feeds; i++) {
		path_of(b, &b->feeds[i], path, sizeof(path));
		if (!config_feed(a, b->feeds[i].name))
			tell(context, path, false);
	}
}
