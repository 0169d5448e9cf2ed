/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Numbers are stored by the width of the member, so that one reader serves u8, u32 and u64, float and
 * double. Range ends stand in the table as they would be written and go through the same parser.
 */
#include "config/value.h"

#include "config/class-file.h"
#include "config/nearest.h"
#include "config/number.h"

#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4095 };

struct number {
	uint64_t u;
	double d;
};

static void wrong(struct report *r, const struct key *k, const struct node *n)
{
	report_fault(r, &n->place, "%s is wrong; accepted: %s", quote_node(n).text, key_accepted(k).text);
}

static bool is_real(enum key_type type)
{
	return type == KEY_SHARE || type == KEY_NUMBER || type == KEY_PAIR || type == KEY_CHANNELS;
}

static bool parse(enum key_type type, const char *text, struct number *ret)
{
	if (type == KEY_SIZE)
		return number_size(text, &ret->u);
	if (type == KEY_TIME || type == KEY_TIME_WITHIN)
		return number_time(text, &ret->u);
	if (type == KEY_SHARE)
		return number_share(text, &ret->d);
	if (is_real(type))
		return number_real(text, &ret->d);
	return number_count(text, &ret->u);
}

static bool is_in_range(const struct key *k, const struct number *n)
{
	struct number min = {0}, max = {0};
	bool is_known = parse(k->type, k->min, &min) && parse(k->type, k->max, &max);

	assert(is_known);
	if (is_real(k->type))
		return is_known && n->d >= min.d && n->d <= max.d;
	return is_known && n->u >= min.u && n->u <= max.u;
}

/* "2GB" for "2GiB", "64M" for "64MiB": the slip that everybody makes. */
static bool suggest_size(const char *text, char *ret, size_t n_ret)
{
	size_t n_digits = strspn(text, "0123456789");
	const char *unit = text + n_digits;
	char letter = *unit >= 'a' && *unit <= 'z' ? (char)(*unit - 'a' + 'A') : *unit;
	uint64_t bytes;

	if (n_digits == 0 || n_digits > 18 || !letter || !strchr("KMGT", letter))
		return false;
	snprintf(ret, n_ret, "%.*s%ciB", (int)n_digits, text, letter);
	return number_size(ret, &bytes);
}

/* One number with its range; reports and gives false when it is none. */
static bool read_number(struct report *r, const struct key *k, const struct node *n, struct number *ret)
{
	bool has_unit = k->type == KEY_SIZE || k->type == KEY_TIME || k->type == KEY_TIME_WITHIN || k->type == KEY_SHARE;
	char better[40];

	if (n->kind == NODE_BAD)
		return false;
	if (n->kind != NODE_SCALAR || (!n->is_plain && !has_unit) || !parse(k->type, n->text, ret)) {
		if (n->kind == NODE_SCALAR && k->type == KEY_SIZE &&
		    suggest_size(n->text, better, sizeof(better)))
			report_fault(r, &n->place, "%s is wrong; accepted: %s; did you mean %s?",
				     quote_node(n).text, key_accepted(k).text, better);
		else
			wrong(r, k, n);
		return false;
	}
	if (!is_in_range(k, ret)) {
		report_fault(r, &n->place, "%s is out of range; accepted: %s", quote_node(n).text,
			     key_accepted(k).text);
		return false;
	}
	return true;
}

/* A number alone counts as a list of one. Gives how many there were, 0 after a fault. */
static unsigned read_numbers(struct report *r, const struct key *k, const struct node *n,
			     struct number *ret, unsigned n_max)
{
	unsigned n_read = 0;
	size_t i = 0;

	if (n->kind != NODE_LIST)
		return read_number(r, k, n, ret) ? 1 : 0;
	if (n->n_children == 0 || n->n_children > n_max) {
		report_fault(r, &n->place, "a list of %zu is wrong; accepted: %s", n->n_children,
			     key_accepted(k).text);
		return 0;
	}
	for (const struct node *c = n->first; c; c = c->next, i++) {
		size_t before = report_enter_index(r, i);

		n_read += read_number(r, k, c, &ret[i]) ? 1 : 0;
		report_leave(r, before);
	}
	return n_read == i ? n_read : 0;
}

static void store(const struct key *k, void *member, const struct number *n)
{
	if (is_real(k->type)) {
		memcpy(member, &n->d, sizeof(n->d));
	} else if (k->width == 1) {
		uint8_t small = (uint8_t)n->u;

		memcpy(member, &small, sizeof(small));
	} else if (k->width == 4) {
		uint32_t middle = (uint32_t)n->u;

		memcpy(member, &middle, sizeof(middle));
	} else {
		assert(k->width == 8);
		memcpy(member, &n->u, sizeof(n->u));
	}
}

static void read_scalar_number(struct report *r, const struct key *k, const struct node *n, void *member)
{
	struct number number = {0};

	if (k->accepts && n->kind == NODE_SCALAR && strcmp(n->text, k->accepts) == 0)
		store(k, member, &number);
	else if (read_number(r, k, n, &number))
		store(k, member, &number);
}

static bool parse_cpus(const char *text, uint64_t *ret_bits)
{
	for (;;) {
		size_t n_digits = strspn(text, "0123456789");
		unsigned from, to;

		if (n_digits == 0 || n_digits > 4)
			return false;
		from = to = (unsigned)strtoul(text, NULL, 10);
		text += n_digits;
		if (*text == '-') {
			n_digits = strspn(++text, "0123456789");
			if (n_digits == 0 || n_digits > 4)
				return false;
			to = (unsigned)strtoul(text, NULL, 10);
			text += n_digits;
		}
		if (to < from || to >= CPUS_MAX)
			return false;
		for (; from <= to; from++)
			ret_bits[from / 64] |= UINT64_C(1) << from % 64;
		if (*text == 0)
			return true;
		if (*text++ != ',')
			return false;
	}
}

/* The bits of CPUS_MAX CPUs. */
static void read_cpus(struct report *r, const struct key *k, const struct node *n, void *member)
{
	uint64_t bits[CPUS_MAX / 64] = {0};

	if (n->kind != NODE_SCALAR || !parse_cpus(n->text, bits))
		wrong(r, k, n);
	else
		memcpy(member, bits, sizeof(bits));
}

/* One level, by its word; reports and gives false when it is none. */
static bool read_level(struct report *r, const struct key *k, const struct node *n, uint8_t *ret)
{
	struct key_word word;

	if (n->kind == NODE_BAD)
		return false;
	for (unsigned i = 0; n->kind == NODE_SCALAR && key_choice(k, i, &word); i++) {
		if (strcmp(word.text, n->text) != 0)
			continue;
		*ret = (uint8_t)i;
		return true;
	}
	wrong(r, k, n);
	return false;
}

static void read_topic(struct report *r, const struct key *k, const struct node *n, struct log_levels *log)
{
	struct nearest nearest;

	nearest_init(&nearest, n->key->text);
	for (unsigned i = 0; log_topic_name(i); i++) {
		if (strcmp(log_topic_name(i), n->key->text) == 0) {
			read_level(r, k, n, &log->least[i]);
			return;
		}
		nearest_try(&nearest, log_topic_name(i));
	}
	report_fault(r, &n->key->place, "unknown topic%s%s%s; accepted: %s", nearest.best ? "; did you mean " : "",
		     nearest.best ? nearest.best : "", nearest.best ? "?" : "", key_accepted(k).text);
}

/* The others' level first, wherever it stands. */
static void read_log(struct report *r, const struct key *k, const struct node *n, void *member)
{
	const struct node *general = n->kind == NODE_MAP ? node_child(n, "level", 5) : n;
	struct log_levels log;
	uint8_t level = LOG_INFO;

	if (general && !read_level(r, k, general, &level))
		return;
	memset(log.least, level, sizeof(log.least));
	for (const struct node *c = n->kind == NODE_MAP ? n->first : NULL; c; c = c->next) {
		size_t before = report_enter(r, c->key->text);

		if (c != general)
			read_topic(r, k, c, &log);
		report_leave(r, before);
	}
	memcpy(member, &log, sizeof(log));
}

/* Its form alone; whether there is such a host is seen when it is used. */
static bool is_address(const char *text, size_t most)
{
	static const char digits[] = "0123456789";
	const char *colon = strrchr(text, ':');
	size_t n_host = colon ? (size_t)(colon - text) : 0, n_port = colon ? strspn(colon + 1, digits) : 0;

	if (n_host == 0 || n_port == 0 || n_port > 5 || colon[1 + n_port] || strlen(text) >= most ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		return false;
	if (*text == '[')
		return n_host > 2 && strspn(text + 1, "0123456789abcdefABCDEF:.") == n_host - 2 && colon[-1] == ']';
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == n_host;
}

static void read_address(struct report *r, const struct key *k, const struct node *n, char *member)
{
	if (n->kind != NODE_SCALAR || !is_address(n->text, k->width))
		wrong(r, k, n);
	else
		memcpy(member, n->text, strlen(n->text) + 1);
}

static void read_flag(struct report *r, const struct key *k, const struct node *n, void *member)
{
	bool is_true = n->kind == NODE_SCALAR && n->is_plain && strcmp(n->text, "true") == 0;

	if (!is_true && (n->kind != NODE_SCALAR || !n->is_plain || strcmp(n->text, "false") != 0))
		wrong(r, k, n);
	else
		memcpy(member, &is_true, sizeof(is_true));
}

static void read_choice(struct report *r, const struct key *k, const struct node *n, void *member)
{
	struct nearest nearest;
	struct key_word word, best;

	if (n->kind != NODE_SCALAR) {
		wrong(r, k, n);
		return;
	}
	nearest_init(&nearest, n->text);
	for (unsigned i = 0; key_choice(k, i, &word); i++) {
		if (strcmp(word.text, n->text) == 0) {
			store(k, member, &(struct number){.u = i});
			return;
		}
		nearest_try(&nearest, word.text);
		if (nearest.best == word.text) {
			best = word;
			nearest.best = best.text;
		}
	}
	if (key_is_later_value(k, n->text))
		report_fault(r, &n->place, "%s is not in this version; accepted: %s", quote_node(n).text,
			     key_accepted(k).text);
	else if (nearest.best)
		report_fault(r, &n->place, "%s is wrong; accepted: %s; did you mean %s?", quote_node(n).text,
			     key_accepted(k).text, nearest.best);
	else
		wrong(r, k, n);
}

/* A word, or the one key with its number. */
static void read_within(struct report *r, const struct key *k, const struct node *n, void *member)
{
	const struct node *inner = n->kind == NODE_MAP && n->n_children == 1 ? n->first : NULL;
	struct number number;
	size_t before;

	if (n->kind != NODE_MAP) {
		read_choice(r, k, n, member);
		return;
	}
	if (!inner || strcmp(inner->key->text, key_within(k)) != 0) {
		report_fault(r, inner ? &inner->key->place : &n->place, "%s is wrong; accepted: %s",
			     inner ? quote_text(inner->key->text).text : "this mapping", key_accepted(k).text);
		return;
	}
	before = report_enter(r, key_within(k));
	if (read_number(r, k, inner, &number))
		store(k, member, &number);
	report_leave(r, before);
}

const char *environment_value(char *const *environment, const char *name, size_t n_name)
{
	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, n_name) == 0 && (*environment)[n_name] == '=')
			return *environment + n_name + 1;
	return NULL;
}

static size_t name_length(const char *c)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

	return *c >= '0' && *c <= '9' ? 0 : strspn(c, letters);
}

/* Expands ${NAME} into out (PATH_BYTES_MAX + 1 bytes); reports and gives false when it cannot. */
static bool expand(struct report *r, const struct node *n, char *const *environment, char *out)
{
	size_t used = 0;

	for (const char *c = n->text; *c;) {
		const char *piece = c;
		size_t n_piece = strcspn(c, "$"), n_name;

		if (n_piece == 0) {
			n_name = c[1] == '{' ? name_length(c + 2) : 0;
			if (n_name == 0 || c[2 + n_name] != '}') {
				report_fault(r, &n->place, "%s: a $ begins a variable; accepted: ${NAME}",
					     quote_node(n).text);
				return false;
			}
			piece = environment_value(environment, c + 2, n_name);
			if (!piece || !*piece) {
				report_fault(r, &n->place, "${%.*s} is %s; accepted: a variable with a value",
					     (int)(n_name < 60 ? n_name : 60), c + 2,
					     piece ? "empty" : "not set in the environment");
				return false;
			}
			n_piece = strlen(piece);
			c += n_name + 3;
		} else {
			c += n_piece;
		}
		if (n_piece > PATH_BYTES_MAX - used) {
			report_fault(r, &n->place, "the path is longer than %d bytes", PATH_BYTES_MAX);
			return false;
		}
		memcpy(out + used, piece, n_piece);
		used += n_piece;
	}
	out[used] = '\0';
	return true;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

/* A new string with the path, or NULL after a fault. */
static char *read_path(struct report *r, const struct key *k, const struct node *n, char *const *environment)
{
	char out[PATH_BYTES_MAX + 1], *copy;

	if (n->kind == NODE_BAD)
		return NULL;
	if (n->kind != NODE_SCALAR || node_is_null(n) || !*n->text) {
		wrong(r, k, n);
		return NULL;
	}
	if (!expand(r, n, environment, out))
		return NULL;
	if (has_control(out)) {
		report_fault(r, &n->place, "%s has control characters; accepted: %s", quote_node(n).text,
			     key_accepted(k).text);
		return NULL;
	}
	if (strncmp(out, "pipe:", 5) == 0 || strstr(out, "://")) {
		report_fault(r, &n->place, "%s is not a file: no shell is run, and remote sources are not "
			     "in this version; accepted: %s", quote_node(n).text, key_accepted(k).text);
		return NULL;
	}
	copy = strdup(out);
	if (!copy)
		r->r = fail(-ENOMEM);
	return copy;
}

/* The names of a file, into the field; a file that is none is a fault at the place of its path. */
static void read_classes(struct report *r, const struct key *k, const struct node *n, struct field *f,
			 char *const *environment)
{
	char *path = read_path(r, k, n, environment);
	struct reason why;
	int code;

	if (!path)
		return;
	code = class_file_read(path, &f->classes, &why);
	if (code < 0)
		r->r = pass(code);
	else if (code > 0)
		report_fault(r, &n->place, "%.200s: %s", path, why.text);
	free(path);
}

static void read_one_path(struct report *r, const struct key *k, const struct node *n, void *member,
			  char *const *environment)
{
	char *path = read_path(r, k, n, environment);

	if (path)
		memcpy(member, &path, sizeof(path));
}

static void read_paths(struct report *r, const struct key *k, const struct node *n,
		       struct config_input *input, char *const *environment)
{
	size_t n_paths = n->kind == NODE_LIST ? n->n_children : 1, i = 0;

	if (n_paths == 0) {
		report_fault(r, &n->place, "an empty list is wrong; accepted: %s", key_accepted(k).text);
		return;
	}
	input->patterns = calloc(n_paths, sizeof(*input->patterns));
	if (!input->patterns) {
		r->r = fail(-ENOMEM);
		return;
	}
	if (n->kind != NODE_LIST) {
		input->patterns[0] = read_path(r, k, n, environment);
		input->n_patterns = 1;
		return;
	}
	for (const struct node *c = n->first; c; c = c->next, i++) {
		size_t before = report_enter_index(r, i);

		input->patterns[input->n_patterns++] = read_path(r, k, c, environment);
		report_leave(r, before);
	}
}

static void read_extension(struct report *r, const struct key *k, const struct node *n, struct field *f)
{
	const char *text = n->kind == NODE_SCALAR ? n->text : "";
	size_t length = strlen(text);

	if (n->kind == NODE_BAD)
		return;
	if (length == 0 || strncmp(text, "__", 2) == 0 || node_is_null(n) || length >= EXTENSION_MAX || *text == '.' ||
	    strpbrk(text, "/ABCDEFGHIJKLMNOPQRSTUVWXYZ") || has_control(text)) {
		wrong(r, k, n);
		return;
	}
	for (unsigned i = 0; i < f->n_extensions; i++) {
		if (strcmp(f->extensions[i], text) == 0) {
			report_fault(r, &n->place, "%s is given twice", quote_node(n).text);
			return;
		}
	}
	memcpy(f->extensions[f->n_extensions++], text, length + 1);
}

static void read_from(struct report *r, const struct key *k, const struct node *n, struct field *f)
{
	const char *text = n->kind == NODE_SCALAR ? n->text : "";
	size_t i = 0;

	if (strcmp(text, "__key__") == 0 || strcmp(text, "__url__") == 0) {
		f->source = text[2] == 'k' ? SOURCE_KEY : SOURCE_URL;
		return;
	}
	if (n->kind != NODE_LIST) {
		read_extension(r, k, n, f);
		return;
	}
	if (n->n_children == 0 || n->n_children > EXTENSIONS_MAX) {
		report_fault(r, &n->place, "a list of %zu is wrong; accepted: %s", n->n_children,
			     key_accepted(k).text);
		return;
	}
	for (const struct node *c = n->first; c; c = c->next, i++) {
		size_t before = report_enter_index(r, i);

		read_extension(r, k, c, f);
		report_leave(r, before);
	}
}

static void read_sides(struct report *r, const struct key *k, const struct node *n, struct step *step)
{
	struct number side[2];
	unsigned n_read = read_numbers(r, k, n, side, 2);

	if (n->kind == NODE_LIST && n_read == 1) {
		report_fault(r, &n->place, "a list of 1 is wrong; accepted: %s", key_accepted(k).text);
	} else if (n_read > 0) {
		step->height = (uint32_t)side[0].u;
		step->width = n_read == 2 ? (uint32_t)side[1].u : k->type == KEY_SIDE ? 0 : step->height;
	}
}

static void read_padding(struct report *r, const struct key *k, const struct node *n, struct step *step)
{
	struct number side[4];
	unsigned n_read = read_numbers(r, k, n, side, 4);

	if (n_read == 3 || (n_read == 1 && n->kind == NODE_LIST))
		report_fault(r, &n->place, "a list of %u is wrong; accepted: %s", n_read, key_accepted(k).text);
	else if (n_read > 0)
		for (unsigned i = 0; i < 4; i++)
			step->padding[i] = (uint32_t)side[i % n_read].u;
}

static void read_shape(struct report *r, const struct key *k, const struct node *n, struct field *f)
{
	struct number side[DIMS_MAX];

	if (n->kind != NODE_LIST) {
		wrong(r, k, n);
		return;
	}
	f->n_dims = n->n_children == 0 ? 0 : read_numbers(r, k, n, side, DIMS_MAX);
	for (unsigned i = 0; i < f->n_dims; i++)
		f->dims[i] = (uint32_t)side[i].u;
}

static void read_words(struct report *r, const struct key *k, const struct node *n, char *member)
{
	const char *text = n->kind == NODE_SCALAR ? n->text : "";
	const size_t length = strlen(text);

	if (length == 0 || length >= k->width || node_is_null(n) || has_control(text) || *text == '.' ||
	    text[length - 1] == '.' || strstr(text, ".."))
		wrong(r, k, n);
	else
		memcpy(member, text, length + 1);
}

static void read_reals(struct report *r, const struct key *k, const struct node *n, void *member)
{
	struct number number[3];
	unsigned n_wanted = k->type == KEY_PAIR ? 2 : 3;
	unsigned n_read = read_numbers(r, k, n, number, n_wanted);
	bool is_one_for_all = k->type == KEY_CHANNELS && n->kind != NODE_LIST;
	float channels[3];
	double pair[2];

	if (n_read == 0)
		return;
	if (n_read != n_wanted && !is_one_for_all) {
		wrong(r, k, n);
		return;
	}
	if (k->type == KEY_CHANNELS) {
		for (unsigned i = 0; i < 3; i++)
			channels[i] = (float)number[i % n_read].d;
		memcpy(member, channels, sizeof(channels));
		return;
	}
	if (number[0].d > number[1].d) {
		report_fault(r, &n->place, "the first is greater than the second; accepted: %s",
			     key_accepted(k).text);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		pair[i] = number[i].d;
	memcpy(member, pair, sizeof(pair));
}

/* A flat switch over the types. */
void value_read(struct report *r, const struct key *k, const struct node *n, void *base,
		char *const *environment)
{
	void *member = (char *)base + k->offset;

	if (n->kind == NODE_BAD)
		return;
	switch (k->type) {
	case KEY_COUNT:
	case KEY_SIZE:
	case KEY_TIME:
	case KEY_SHARE:
	case KEY_NUMBER:
		read_scalar_number(r, k, n, member);
		break;
	case KEY_COUNT_WITHIN:
	case KEY_TIME_WITHIN:
		read_within(r, k, n, member);
		break;
	case KEY_FLAG:
		read_flag(r, k, n, member);
		break;
	case KEY_CHOICE:
	case KEY_DTYPE:
	case KEY_FILTER:
		read_choice(r, k, n, member);
		break;
	case KEY_PATH:
		read_one_path(r, k, n, member, environment);
		break;
	case KEY_PATHS:
		read_paths(r, k, n, base, environment);
		break;
	case KEY_CLASSES:
		read_classes(r, k, n, base, environment);
		break;
	case KEY_FROM:
		read_from(r, k, n, base);
		break;
	case KEY_SIDES:
	case KEY_SIDE:
		read_sides(r, k, n, base);
		break;
	case KEY_PADDING:
		read_padding(r, k, n, base);
		break;
	case KEY_WORDS:
		read_words(r, k, n, member);
		break;
	case KEY_SHAPE:
		read_shape(r, k, n, base);
		break;
	case KEY_PAIR:
	case KEY_CHANNELS:
		read_reals(r, k, n, member);
		break;
	case KEY_LOG:
		read_log(r, k, n, member);
		break;
	case KEY_ADDRESS:
		read_address(r, k, n, member);
		break;
	case KEY_CPUS:
		read_cpus(r, k, n, member);
		break;
	case KEY_MAP:
	case KEY_NAMED_MAPS:
	case KEY_VIEWS:
	case KEY_SOURCES:
	case KEY_STEPS:
		assert(!"read.c reads these");
	}
}
