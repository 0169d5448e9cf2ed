/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the values mean together: which go with which, and the shape that a field has in every batch. */
#include "config/keys.h"
#include "config/read.h"

#include "base/classes.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define SAMPLE_BYTES_MAX (UINT64_C(1) << 30)

/* Reports under the path of one key of n; the place is the key's node, or n without it. */
#define fault_at(r, n, key, ...)                                                                   \
	do {                                                                                       \
		const struct node *at_ = read_find((n), (key));                                    \
		size_t before_ = report_enter((r), (key));                                         \
                                                                                                   \
		report_fault((r), at_ ? &at_->place : &(n)->place, __VA_ARGS__);                   \
		report_leave((r), before_);                                                        \
	} while (0)

static bool has(const struct node *n, const char *path)
{
	return read_find(n, path) != NULL;
}

/* Given and without a fault of its own. */
static bool is_good(const struct node *n, const char *path, uint64_t value)
{
	return has(n, path) && value > 0;
}

void check_daemon(struct report *r, const struct node *n, const struct config_daemon *d)
{
	struct sockaddr_un address;
	size_t room = sizeof(address.sun_path) - 1;

	if (d->socket && strlen(d->socket) > room)
		fault_at(r, n, "socket", "the path has %zu bytes; accepted: at most %zu, as the kernel has it",
			 strlen(d->socket), room);
}

static void check_order(struct report *r, const struct node *n, struct config_feed *f)
{
	static const char *const only_block[] = {"order.window", "order.parts"};
	const struct node *shuffle = read_find(n, "order.shuffle");
	bool is_known = !shuffle || (shuffle->kind == NODE_SCALAR && (strcmp(shuffle->text, "none") == 0 ||
								      strcmp(shuffle->text, "full") == 0));

	if (f->shuffle == CONFIG_SHUFFLE_BLOCK)
		return;
	for (unsigned i = 0; i < 2; i++)
		if (is_known && has(n, only_block[i]))
			fault_at(r, n, only_block[i], "goes with shuffle: block alone; here shuffle is %s",
				 f->shuffle == CONFIG_SHUFFLE_FULL ? "full" : "none");
	f->window = 0;
	f->parts = 1;
}

/* What belongs to a list of sources alone. */
static void check_mix(struct report *r, const struct node *n, const struct config_feed *f)
{
	static const char *const keys_of_mix[] = {"source.weight", "order.until"};

	for (unsigned i = 0; i < 2 && !f->is_mix; i++)
		if (has(n, keys_of_mix[i]))
			fault_at(r, n, keys_of_mix[i], "goes with a list of sources alone; accepted: without it, or source "
				 "as a list of mappings, each with weight");
}

void check_weights(struct report *r, const struct node *n, const struct config_feed *f, bool is_good)
{
	double weights[SHARES_ALL], sum = 0;
	uint32_t shares[SHARES_ALL];
	const struct node *c = n->first;

	for (size_t i = 0; i < f->n_inputs; i++, c = c->next) {
		size_t before = report_enter_index(r, i);

		weights[i] = f->inputs[i].weight;
		sum += weights[i];
		if (c->kind == NODE_MAP && !has(c, "weight")) {
			fault_at(r, c, "weight", "is missing: every source of a list needs one; accepted: %s",
				 key_accepted(key_find(SCOPE_SOURCE, "weight")).text);
			is_good = false;
		}
		report_leave(r, before);
	}
	if (!is_good)
		return;
	shares_make(weights, f->n_inputs, shares);
	c = n->first;
	for (size_t i = 0; i < f->n_inputs; i++, c = c->next) {
		size_t before = report_enter_index(r, i);

		if (shares[i] == 0)
			fault_at(r, c, "weight", "%g of %g together is too little: of every %d samples none would be its "
				 "own; accepted: more weight, or no such source", weights[i], sum, SHARES_ALL);
		report_leave(r, before);
	}
}

static void check_batch(struct report *r, const struct node *n, const struct config_feed *f)
{
	const struct node *batch = read_find(n, "batch");
	bool has_size = has(n, "batch.size"), has_global = has(n, "batch.global");

	if (batch && batch->kind != NODE_MAP)
		return; /* reported already */
	if (has_size && has_global)
		fault_at(r, n, "batch.global", "does not go with size; accepted: size (per rank), or global and "
			 "ranks");
	else if (!has_size && !has_global)
		fault_at(r, n, "batch", "says no size; accepted: size (samples per rank), or global (samples of "
			 "all ranks) and ranks");
	else if (has_global && !has(n, "batch.ranks"))
		fault_at(r, n, "batch.global", "needs ranks: the least number of ranks that share it");
	else if (!has_global && has(n, "batch.ranks"))
		fault_at(r, n, "batch.ranks", "goes with global alone; accepted: size, or global and ranks");
	else if (is_good(n, "batch.global", f->batch_global) && is_good(n, "batch.ranks", f->batch_ranks) &&
		 f->batch_global % f->batch_ranks != 0)
		fault_at(r, n, "batch.ranks", "%llu does not divide global: %llu",
			 (unsigned long long)f->batch_ranks, (unsigned long long)f->batch_global);
}

/* Nobody waits for a trainer that shares with nobody. */
static void check_sharing(struct report *r, const struct node *n, const struct config_feed *f)
{
	const struct node *share = read_find(n, "share");
	bool is_known = !share || (share->kind == NODE_SCALAR && strcmp(share->text, "independent") == 0);

	if (f->evict_ns > 0 && is_known)
		fault_at(r, n, "slow", "evict goes with a shared pass alone: nobody waits for a trainer of another group "
			 "here; accepted: slow: wait, or share: lockstep or {window: N}");
}

void check_feed(struct report *r, const struct node *n, struct config_feed *f)
{
	check_sharing(r, n, f);
	check_order(r, n, f);
	check_mix(r, n, f);
	check_batch(r, n, f);
}

/* The size of the image between steps; 0 while it is each image's own. */
struct size {
	uint64_t height, width;
};

static void shrink(const struct step *s, struct size *size)
{
	uint64_t h = size->height, w = size->width, side = s->height;

	if (s->width) {
		*size = (struct size){s->height, s->width};
	} else if (h > 0) { /* torchvision: the long side is int(size * long / short) */
		size->height = h <= w ? side : side * h / w;
		size->width = h <= w ? side * w / h : side;
	}
}

/* Reports under the path of step i. */
static void fault_step(struct report *r, const struct node *n, const struct field *f, unsigned i,
		       const char *message)
{
	const struct node *steps = read_find(n, "transform"), *at = steps ? node_at(steps, i) : NULL;
	char path[40];
	size_t before;

	snprintf(path, sizeof(path), "transform.%u", i);
	before = report_enter(r, path);
	report_fault(r, at ? &at->place : &n->place, "%s: %s", step_name(f->steps[i].kind), message);
	report_leave(r, before);
}

static void random_crop(struct report *r, const struct node *n, const struct field *f, unsigned i,
			struct size *size)
{
	const struct step *s = &f->steps[i];

	if (size->height > 0 && (size->height + s->padding[1] + s->padding[3] < s->height ||
				 size->width + s->padding[0] + s->padding[2] < s->width))
		fault_step(r, n, f, i, "larger than every image that comes from the step before it; "
				       "accepted: a smaller size, or padding");
	*size = (struct size){s->height, s->width};
}

/* Follows the size through the steps and refuses what cannot be. */
static struct size follow_steps(struct report *r, const struct node *n, const struct field *f)
{
	struct size size = {0, 0};

	for (unsigned i = 0; i < f->n_steps; i++) {
		const struct step *s = &f->steps[i];

		switch (s->kind) {
		case STEP_RESIZE:
			shrink(s, &size);
			break;
		case STEP_RANDOM_CROP:
			random_crop(r, n, f, i, &size);
			break;
		case STEP_PAD:
			if (size.height > 0)
				size = (struct size){size.height + s->padding[1] + s->padding[3],
						     size.width + s->padding[0] + s->padding[2]};
			break;
		case STEP_CENTER_CROP:
		case STEP_RANDOM_RESIZED_CROP:
			size = (struct size){s->height, s->width};
			break;
		case STEP_NORMALIZE:
			if (i + 1 < f->n_steps)
				fault_step(r, n, f, i, "must be the last step: the others work on 8-bit pixels");
			break;
		case STEP_RANDOM_HORIZONTAL_FLIP:
		case STEP_RANDOM_VERTICAL_FLIP:
		case STEP_GRAYSCALE:
		case STEP_COUNT:
			break;
		}
	}
	return size;
}

static void check_shape(struct report *r, const struct node *n, struct field *f)
{
	struct size size = follow_steps(r, n, f);
	const char *why = "every image keeps its own size";

	for (unsigned i = 0; i < f->n_steps; i++)
		if (f->steps[i].kind == STEP_RESIZE)
			why = "resize to one number leaves the long side to each image";
	if (size.height == 0) {
		fault_at(r, n, "transform", "%s, and a batch needs one shape; accepted: end with center_crop, "
			 "random_crop or random_resized_crop, or resize to [height, width]", why);
		return;
	}
	if (size.height > 65535 || size.width > 65535) {
		fault_at(r, n, "transform", "the image becomes %llu x %llu; accepted: sides of at most 65535",
			 (unsigned long long)size.height, (unsigned long long)size.width);
		return;
	}
	f->n_dims = 3;
	f->dims[0] = f->layout == LAYOUT_CHW ? 3 : (uint32_t)size.height;
	f->dims[1] = f->layout == LAYOUT_CHW ? (uint32_t)size.height : (uint32_t)size.width;
	f->dims[2] = f->layout == LAYOUT_CHW ? (uint32_t)size.width : 3;
}

static void check_image(struct report *r, const struct node *n, struct field *f)
{
	bool is_normalized = false;

	for (unsigned i = 0; i < f->n_steps; i++)
		is_normalized |= f->steps[i].kind == STEP_NORMALIZE;
	if (f->dtype == DTYPE_COUNT)
		f->dtype = is_normalized ? DTYPE_float32 : DTYPE_uint8;
	if (!dtype_is_for_images(f->dtype))
		fault_at(r, n, "dtype", "%s does not fit an image; accepted: uint8, float16, bfloat16, float32",
			 dtype_name(f->dtype));
	else if (f->dtype == DTYPE_uint8 && is_normalized)
		fault_at(r, n, "dtype", "uint8 cannot hold what normalize gives; accepted: float16, bfloat16, "
			 "float32");
	else if (f->dtype == DTYPE_uint8 && has(n, "scale") && f->scale != SCALE_NONE)
		fault_at(r, n, "scale", "goes with a float dtype; uint8 stays 0 to 255");
	check_shape(r, n, f);
}

/* Which keys go with which ways to decode. */
static const struct {
	const char *key;
	unsigned kinds; /* a bit for each enum decode_kind */
	const char *names;
} partners[] = {
	{"transform", 1u << DECODE_IMAGE, "image"},
	{"scale", 1u << DECODE_IMAGE, "image"},
	{"pass_order", 1u << DECODE_IMAGE, "image"},
	{"layout", 1u << DECODE_IMAGE, "image"},
	{"key", 1u << DECODE_JSON, "json"},
	{"shape", 1u << DECODE_JSON | 1u << DECODE_RAW | 1u << DECODE_NPY, "json, raw or npy"},
	{"max", 1u << DECODE_TEXT | 1u << DECODE_BYTES, "text or bytes"},
	{"classes", 1u << DECODE_TEXT, "text"},
};

static struct key_word decode_word(const struct field *f)
{
	struct key_word word = {""};

	key_choice(key_find(SCOPE_FIELD, "decode"), f->decode, &word);
	return word;
}

/* The keys that are given go with the way to decode. */
static void check_partners(struct report *r, const struct node *n, const struct field *f)
{
	for (unsigned i = 0; i < sizeof(partners) / sizeof(partners[0]); i++)
		if (has(n, partners[i].key) && !(partners[i].kinds & 1u << f->decode))
			fault_at(r, n, partners[i].key, "goes with decode: %s alone; here it is %s",
				 partners[i].names, decode_word(f).text);
}

static bool is_float(enum dtype dtype)
{
	return dtype == DTYPE_float16 || dtype == DTYPE_bfloat16 || dtype == DTYPE_float32 || dtype == DTYPE_float64;
}

static void check_sample_bytes(struct report *r, const struct node *n, const struct field *f)
{
	uint64_t bytes = dtype_bytes(f->dtype);

	for (unsigned i = 0; i < f->n_dims; i++)
		if (__builtin_mul_overflow(bytes, f->dims[i], &bytes))
			bytes = UINT64_MAX;
	if (bytes > SAMPLE_BYTES_MAX)
		fault_at(r, n, "shape", "a sample would have more than 1 GiB; accepted: a smaller shape");
}

static void check_number(struct report *r, const struct node *n, struct field *f)
{
	const bool is_open = f->dtype == DTYPE_COUNT;

	if (is_open && f->decode == DECODE_INTEGER)
		f->dtype = DTYPE_int64;
	else if (is_open && f->decode == DECODE_FLOAT)
		f->dtype = DTYPE_float32;
	else if (is_open)
		fault_at(r, n, "dtype", "decode: %s needs one; accepted: %s", decode_word(f).text,
			 f->decode == DECODE_NPY ? "the dtype that the arrays have" : "the name of a dtype");
	if (f->dtype == DTYPE_COUNT)
		return;
	if (f->decode == DECODE_FLOAT && !is_float(f->dtype))
		fault_at(r, n, "dtype", "%s does not hold every number; accepted: float16, bfloat16, float32, "
			 "float64, or decode: integer", dtype_name(f->dtype));
	if (f->decode == DECODE_NPY && f->dtype == DTYPE_bfloat16)
		fault_at(r, n, "dtype", "NumPy's files have no bfloat16; accepted: another dtype, or decode: raw");
	check_sample_bytes(r, n, f);
}

/* How many numbers from 0 the dtype holds; 0: it is no dtype for counting. */
static uint64_t countable(enum dtype dtype)
{
	switch (dtype) {
	case DTYPE_int8:
		return UINT64_C(1) << 7;
	case DTYPE_uint8:
		return UINT64_C(1) << 8;
	case DTYPE_int16:
		return UINT64_C(1) << 15;
	case DTYPE_uint16:
		return UINT64_C(1) << 16;
	case DTYPE_int32:
	case DTYPE_uint32:
	case DTYPE_int64:
	case DTYPE_uint64:
		return UINT32_MAX; /* more than CLASSES_MAX */
	default:
		return 0;
	}
}

static void check_classes(struct report *r, const struct node *n, struct field *f)
{
	const size_t n_classes = classes_count(f->classes);

	if (has(n, "max"))
		fault_at(r, n, "max", "does not go with classes, which are numbers");
	if (f->dtype == DTYPE_COUNT)
		f->dtype = DTYPE_int64;
	if (countable(f->dtype) < n_classes)
		fault_at(r, n, "dtype", "%s does not hold the numbers of %zu classes; accepted: an "
			 "integer dtype that does", dtype_name(f->dtype), n_classes);
}

static void check_text(struct report *r, const struct node *n, struct field *f)
{
	if (f->classes) {
		check_classes(r, n, f);
		return;
	}
	if (f->dtype != DTYPE_COUNT)
		fault_at(r, n, "dtype", "goes with numbers alone; here decode is %s", decode_word(f).text);
	if (!has(n, "max"))
		fault_at(r, n, "max", "decode: %s needs it: the most bytes that a sample may have, as 1KiB",
			 decode_word(f).text);
	f->dtype = DTYPE_uint8;
	f->n_dims = 1;
	f->dims[0] = (uint32_t)f->max_bytes;
}

static void check_source(struct report *r, const struct node *n, const struct field *f)
{
	if (f->source != SOURCE_MEMBER && f->decode != DECODE_TEXT && f->decode != DECODE_BYTES &&
	    f->decode != DECODE_INTEGER)
		fault_at(r, n, "decode", "does not go with from: %s; accepted: text, bytes, integer",
			 f->source == SOURCE_KEY ? "__key__" : "__url__");
}

void check_field(struct report *r, const struct node *n, struct field *f)
{
	check_partners(r, n, f);
	check_source(r, n, f);
	if (f->decode == DECODE_IMAGE)
		check_image(r, n, f);
	else if (f->decode == DECODE_TEXT || f->decode == DECODE_BYTES)
		check_text(r, n, f);
	else
		check_number(r, n, f);
}
