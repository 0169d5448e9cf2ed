/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What a configuration means, value by value; who wins over whom; the sample file. */
#include "read.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct config *accept(const char *text, const char *const *sets, size_t n_sets, char *const *environment)
{
	struct config_faults faults = {NULL, 0};
	struct config *c = NULL;
	int r = read_text(text, sets, n_sets, environment, &c, &faults);

	for (size_t i = 0; i < faults.n; i++)
		print_error("%s\n", faults.list[i].reason.text);
	assert_int_equal(r, 0);
	return c;
}

static void defaults(void **state)
{
	struct config *c = accept(SMALLEST, NULL, 0, NULL);
	const struct config_feed *f = config_feed(c, "train");

	assert_null(c->daemon.socket);
	assert_int_equal(c->daemon.memory, 2147483648);
	assert_int_equal(c->daemon.workers, 0);
	assert_int_equal(c->daemon.io, CONFIG_IO_AUTO);
	assert_int_equal(c->daemon.read_timeout_ns, 30000000000);
	assert_null(c->daemon.ledger);
	assert_null(c->daemon.index_cache);
	assert_int_equal(c->daemon.log.least[LOG_TOPIC_reads], LOG_INFO);
	assert_int_equal(c->n_feeds, 1);
	assert_null(config_feed(c, "trai"));
	assert_string_equal(f->inputs[0].patterns[0], "a.tar");
	assert_true(f->inputs[0].is_direct);
	assert_int_equal(f->shuffle, CONFIG_SHUFFLE_FULL);
	assert_int_equal(f->seed, 0);
	assert_int_equal(f->window, 0);
	assert_int_equal(f->parts, 1);
	assert_int_equal(f->batch_size, 8);
	assert_int_equal(f->batch_global, 0);
	assert_int_equal(f->last, CONFIG_LAST_DROP);
	assert_int_equal(f->bad_policy, CONFIG_BAD_SUBSTITUTE);
	assert_true(f->bad_limit == 0.001);
	assert_int_equal(f->transient, CONFIG_TRANSIENT_FAIL);
	assert_int_equal(f->slots, 4);
	assert_int_equal(f->share_window, 0);
	assert_int_equal(f->evict_ns, 0);
	assert_int_equal(f->pipeline.limits.max_pixels, 178956970);
	assert_int_equal(f->pipeline.limits.max_scans, 100);
	assert_int_equal(f->pipeline.limits.decode_memory, 67108864);
	assert_int_equal(f->pipeline.n_fields, 1);
	assert_int_equal(f->pipeline.fields[0].dtype, DTYPE_int64);
	assert_int_equal(f->pipeline.fields[0].n_dims, 0);
	config_free(c);
}

static void all_given(void **state)
{
	static char variable[] = "ROOT=/data";
	char *const environment[] = {variable, NULL};
	struct config *c = accept(
		"daemon: {socket: /run/x.sock, memory: 512MiB, workers: 3, io: uring, read_timeout: 200ms,\n"
		"         ledger: '${ROOT}/ledger', index_cache: /c, log: debug}\n"
		"feeds:\n"
		"  val-2:\n"
		"    source: {format: webdataset, shards: ['${ROOT}/{0..9}.tar', \"*.tar\"], reads: buffered}\n"
		"    order: {shuffle: block, seed: 18446744073709551615, window: 64, parts: 4}\n"
		"    batch: {global: 96, ranks: 8, last: pad}\n"
		"    bad_samples: {policy: mask, limit: 5%, transient: as_bad}\n"
		"    limits: {max_pixels: 1000, max_scans: 7, decode_memory: 8MiB}\n"
		"    slots: 2\n"
		"    fields: {label: {from: [cls, idx], decode: integer, dtype: int64}}\n",
		NULL, 0, environment);
	const struct config_feed *f = config_feed(c, "val-2");

	assert_string_equal(c->daemon.socket, "/run/x.sock");
	assert_int_equal(c->daemon.memory, 536870912);
	assert_int_equal(c->daemon.workers, 3);
	assert_int_equal(c->daemon.io, CONFIG_IO_URING);
	assert_int_equal(c->daemon.read_timeout_ns, 200000000);
	assert_string_equal(c->daemon.ledger, "/data/ledger");
	assert_string_equal(c->daemon.index_cache, "/c");
	assert_int_equal(c->daemon.log.least[LOG_TOPIC_reads], LOG_DEBUG);
	assert_int_equal(f->inputs[0].n_patterns, 2);
	assert_string_equal(f->inputs[0].patterns[0], "/data/{0..9}.tar");
	assert_string_equal(f->inputs[0].patterns[1], "*.tar");
	assert_false(f->inputs[0].is_direct);
	assert_int_equal(f->shuffle, CONFIG_SHUFFLE_BLOCK);
	assert_int_equal(f->seed, UINT64_MAX);
	assert_int_equal(f->window, 64);
	assert_int_equal(f->parts, 4);
	assert_int_equal(f->batch_size, 0);
	assert_int_equal(f->batch_global, 96);
	assert_int_equal(f->batch_ranks, 8);
	assert_int_equal(f->last, CONFIG_LAST_PAD);
	assert_int_equal(f->bad_policy, CONFIG_BAD_MASK);
	assert_true(f->bad_limit == 0.05);
	assert_int_equal(f->transient, CONFIG_TRANSIENT_AS_BAD);
	assert_int_equal(f->slots, 2);
	assert_int_equal(f->pipeline.limits.max_pixels, 1000);
	assert_int_equal(f->pipeline.limits.max_scans, 7);
	assert_int_equal(f->pipeline.limits.decode_memory, 8388608);
	assert_int_equal(f->pipeline.fields[0].n_extensions, 2);
	assert_string_equal(f->pipeline.fields[0].extensions[1], "idx");
	config_free(c);
}

static void block_window(void **state)
{
	struct config *c = accept(SMALLEST "    order: {shuffle: block}\n", NULL, 0, NULL);

	assert_int_equal(c->feeds[0].window, 4096);
	assert_int_equal(c->feeds[0].parts, 1);
	config_free(c);
}

static void sharing(void **state)
{
	static const struct {
		const char *text, *set;
		uint32_t window;
		uint64_t evict_ns;
	} cases[] = {
		{"    share: independent\n    slow: wait\n", NULL, 0, 0},
		{"    share: lockstep\n", NULL, 1, 0},
		{"    share: {window: 1}\n    slow: {evict: 24h}\n", NULL, 1, 86400000000000},
		{"    share: {window: 64}\n    slow: wait\n", NULL, 64, 0},
		{"    share:\n      window: 7\n    slow:\n      evict: 10ms\n", NULL, 7, 10000000},
		{"    slow: {evict: 30s}\n", "feeds.train.share=lockstep", 1, 30000000000},
		{"", "feeds.train.share.window=3", 3, 0},
		{"    share: lockstep\n", "feeds.train.share={window: 9}", 9, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[600];
		struct config *c;

		snprintf(text, sizeof(text), "%s%s", SMALLEST, cases[i].text);
		c = accept(text, &cases[i].set, cases[i].set ? 1 : 0, NULL);
		assert_int_equal(c->feeds[0].share_window, cases[i].window);
		assert_int_equal(c->feeds[0].evict_ns, cases[i].evict_ns);
		config_free(c);
	}
}

/* The one field of a feed whose image has these keys. */
static struct field image(const char *keys)
{
	char text[1000];
	struct config *c;
	struct field f;

	snprintf(text, sizeof(text), "%s      image: {from: jpg, %s}\n", SMALLEST, keys);
	c = accept(text, NULL, 0, NULL);
	f = c->feeds[0].pipeline.fields[1];
	config_free(c);
	return f;
}

static void assert_dims(const struct field *f, unsigned a, unsigned b, unsigned c)
{
	assert_int_equal(f->n_dims, 3);
	assert_int_equal(f->dims[0], a);
	assert_int_equal(f->dims[1], b);
	assert_int_equal(f->dims[2], c);
}

static void image_steps(void **state)
{
	struct field f = image("decode: image, transform: [random_resized_crop: {size: 224}, "
			       "random_horizontal_flip, normalize: {mean: [0.485, 0.456, 0.406], std: 0.25}]");

	assert_int_equal(f.decode, DECODE_IMAGE);
	assert_false(f.is_fast);
	assert_false(f.has_exif);
	assert_int_equal(f.scale, SCALE_DIVIDE);
	assert_int_equal(f.pass_order, PASS_PILLOW);
	assert_int_equal(f.dtype, DTYPE_float32); /* auto, with normalize */
	assert_dims(&f, 3, 224, 224);
	assert_int_equal(f.n_steps, 3);
	assert_int_equal(f.steps[0].kind, STEP_RANDOM_RESIZED_CROP);
	assert_int_equal(f.steps[0].width, 224);
	assert_true(f.steps[0].scale[0] == 0.08 && f.steps[0].scale[1] == 1.0);
	assert_true(f.steps[0].ratio[0] == 0.75 && f.steps[0].ratio[1] == 4.0 / 3);
	assert_int_equal(f.steps[0].interpolation, FILTER_BILINEAR);
	assert_int_equal(f.steps[1].kind, STEP_RANDOM_HORIZONTAL_FLIP);
	assert_true(f.steps[1].p == 0.5);
	assert_int_equal(f.steps[2].kind, STEP_NORMALIZE);
	assert_true(f.steps[2].mean[1] == 0.456f && f.steps[2].std[0] == 0.25f && f.steps[2].std[2] == 0.25f);
}

static void image_shapes(void **state)
{
	struct field f = image("decode: {image: fast, exif: true}, layout: hwc, dtype: float16, scale: none, "
			       "pass_order: pillow13, transform: [{resize: {size: [30, 40], interpolation: lanczos}}]");

	assert_true(f.is_fast && f.has_exif);
	assert_int_equal(f.scale, SCALE_NONE);
	assert_int_equal(f.pass_order, PASS_PILLOW13);
	assert_int_equal(f.dtype, DTYPE_float16);
	assert_int_equal(f.steps[0].interpolation, FILTER_LANCZOS);
	assert_dims(&f, 30, 40, 3);

	f = image("decode: {exif: true}, transform: [resize: {size: 256}, center_crop: {size: 224}]");
	assert_true(f.has_exif && !f.is_fast);
	assert_int_equal(f.steps[0].height, 256);
	assert_int_equal(f.steps[0].width, 0);
	assert_int_equal(f.dtype, DTYPE_uint8);
	assert_dims(&f, 3, 224, 224);

	/* Of a known size the long side is int(size * long / short). */
	f = image("decode: image, transform: [center_crop: {size: [100, 70]}, resize: {size: 64}]");
	assert_dims(&f, 3, 91, 64);

	f = image("decode: image, transform: [random_crop: {size: 32, padding: [4, 2], fill: 9}]");
	assert_int_equal(f.steps[0].padding[0], 4);
	assert_int_equal(f.steps[0].padding[1], 2);
	assert_int_equal(f.steps[0].padding[2], 4);
	assert_int_equal(f.steps[0].padding[3], 2);
	assert_int_equal(f.steps[0].fill, 9);
	f = image("decode: image, transform: [random_crop: {size: 32, padding: [1, 2, 3, 4]}]");
	assert_int_equal(f.steps[0].padding[2], 3);
	f = image("decode: image, transform: [random_crop: {size: 32, padding: 5}]");
	assert_int_equal(f.steps[0].padding[3], 5);
}

static void who_wins(void **state)
{
	static char a[] = "RINGFEED_DAEMON__WORKERS=5", b[] = "RINGFEED_FEEDS__TRAIN__SLOTS=7",
		    d[] = "RINGFEED_SOCKET=/not/ours", e[] = "RINGFEED_DAEMON__IO=threads";
	char *const environment[] = {a, b, d, e, NULL};
	const char *const sets[] = {"daemon.workers=9", "feeds.train.batch.size=1", "feeds.train.batch.size=2",
				    "feeds.train.source.shards=[x.tar, 'y{0..3}.tar']", "daemon.log=warn"};
	struct config *c = accept("daemon: {workers: 2, memory: 1GiB, io: uring}\n" SMALLEST, sets, 5, environment);

	assert_int_equal(c->daemon.workers, 9);		  /* command line over environment */
	assert_int_equal(c->daemon.io, CONFIG_IO_THREADS); /* environment over file */
	assert_int_equal(c->daemon.memory, 1 << 30);	  /* file over default */
	assert_int_equal(c->daemon.log.least[LOG_TOPIC_reads], LOG_WARN);  /* not in the file at all */
	assert_int_equal(c->feeds[0].slots, 7);
	assert_int_equal(c->feeds[0].batch_size, 2); /* the last one */
	assert_int_equal(c->feeds[0].inputs[0].n_patterns, 2);
	assert_string_equal(c->feeds[0].inputs[0].patterns[1], "y{0..3}.tar");
	config_free(c);
}

/* Several sources, and what reaches into their list. */
static void mixes(void **state)
{
	static char a[] = "RINGFEED_FEEDS__TRAIN__SOURCE__1__WEIGHT=7";
	char *const environment[] = {a, NULL};
	const char *const sets[] = {"feeds.train.source.0.weight=2.5", "feeds.train.order.until=all"};
	struct config *c = accept("feeds:\n"
				  "  train:\n"
				  "    source:\n"
				  "    - {format: webdataset, shards: [a.tar, b.tar], weight: 1}\n"
				  "    - {format: webdataset, shards: c.tar, weight: 1e-3, reads: buffered}\n"
				  "    batch: {size: 8}\n"
				  "    fields: {label: {from: cls, decode: integer}}\n", sets, 2, environment);
	const struct config_feed *f = &c->feeds[0];

	assert_true(f->is_mix);
	assert_int_equal(f->n_inputs, 2);
	assert_int_equal(f->until, CONFIG_UNTIL_ALL);
	assert_true(f->inputs[0].weight == 2.5 && f->inputs[1].weight == 7);
	assert_true(f->inputs[0].is_direct && !f->inputs[1].is_direct);
	assert_int_equal(f->inputs[0].n_patterns, 2);
	assert_string_equal(f->inputs[1].patterns[0], "c.tar");
	config_free(c);
}

/* Keys inside lists, and whole groups, names of any case. */
static void deep_overrides(void **state)
{
	static char a[] = "RINGFEED_FEEDS__TRAIN_A__FIELDS__IMAGE__TRANSFORM__0__CENTER_CROP__SIZE=64";
	char *const environment[] = {a, NULL};
	const char *const sets[] = {"feeds.Train-a.batch={global: 6, ranks: 3}", "feeds.Train-a.fields.image.layout=hwc"};
	struct config *c = accept("feeds:\n  Train-a:\n    source: {format: webdataset, shards: a}\n"
				  "    batch: {size: 3}\n    fields: {image: {from: png, decode: image, "
				  "transform: [center_crop: {size: 32}]}}\n", sets, 2, environment);

	assert_int_equal(c->feeds[0].batch_global, 6);
	assert_int_equal(c->feeds[0].batch_size, 0);
	assert_dims(&c->feeds[0].pipeline.fields[0], 64, 64, 3);
	config_free(c);
}

/* A feed's views stand behind it; what they do not name is the feed's, also what is worked out from it. */
static void views(void **state)
{
	static char a[] = "RINGFEED_FEEDS__TRAIN__VIEWS__SMALL__LABEL__DTYPE=int16";
	char *const environment[] = {a, NULL};
	const char *const sets[] = {"feeds.train.views.small.image.layout=hwc", "feeds.train.slots=7"};
	struct config *c = accept("feeds:\n"
				  "  train:\n"
				  "    source: {format: webdataset, shards: [a.tar, b.tar]}\n"
				  "    batch: {size: 8}\n"
				  "    fields:\n"
				  "      label: {from: cls, decode: integer}\n"
				  "      text: {from: txt, decode: text, max: 8B}\n"
				  "      image: {from: jpg, decode: {image: fast, exif: true}, pass_order: pillow13,\n"
				  "        transform: [center_crop: {size: 8}, normalize: {mean: 0, std: 1}]}\n"
				  "    views:\n"
				  "      small: {image: {transform: [center_crop: {size: [4, 6]}]}, label: {dtype: int8}}\n"
				  "      half-b: {image: {dtype: float16}}\n"
				  "  val:\n"
				  "    source: {format: webdataset, shards: v.tar}\n"
				  "    batch: {size: 3}\n"
				  "    fields: {label: {from: cls, decode: integer}}\n", sets, 2, environment);
	const struct config_feed *feed = &c->feeds[0], *small = &c->feeds[1], *half = &c->feeds[2];
	const struct field *image = &small->pipeline.fields[2];

	assert_int_equal(c->n_feeds, 4);
	assert_string_equal(small->name, "train/small");
	assert_ptr_equal(config_feed(c, "train/half-b"), half);
	assert_string_equal(c->feeds[3].name, "val");
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(c->feeds[i].base, i == 3 ? 3 : 0);
	assert_int_equal(small->slots, 7);
	assert_int_equal(small->batch_size, 8);
	assert_ptr_equal(small->inputs, feed->inputs);
	assert_int_equal(small->pipeline.n_fields, 3);
	assert_string_equal(image->name, "image");
	assert_true(image->is_fast && image->has_exif);
	assert_int_equal(image->pass_order, PASS_PILLOW13);
	assert_int_equal(image->n_steps, 1);
	assert_int_equal(image->dtype, DTYPE_uint8); /* auto, without normalize */
	assert_dims(image, 4, 6, 3);
	assert_int_equal(small->pipeline.fields[0].dtype, DTYPE_int16);
	assert_int_equal(small->pipeline.fields[1].max_bytes, 8);
	assert_int_equal(feed->pipeline.fields[2].dtype, DTYPE_float32);
	assert_dims(&feed->pipeline.fields[2], 3, 8, 8);
	assert_int_equal(half->pipeline.fields[2].dtype, DTYPE_float16);
	assert_int_equal(half->pipeline.fields[2].n_steps, 2);
	assert_int_equal(half->pipeline.fields[0].dtype, DTYPE_int64);
	config_free(c);
}

static char *printed_sample(void)
{
	size_t n;
	char *text;
	FILE *file = open_memstream(&text, &n);

	assert_non_null(file);
	assert_int_equal(config_print_sample(file), 0);
	fclose(file);
	return text;
}

static void sample(void **state)
{
	char *text = printed_sample(), *saved = calloc(1, strlen(text) + 2);
	FILE *file = fopen(SAMPLE_FILE, "r");
	struct config *c = accept(text, NULL, 0, NULL);

	assert_non_null(file);
	assert_int_equal(fread(saved, 1, strlen(text) + 1, file), strlen(text));
	fclose(file);
	assert_string_equal(saved, text); /* else: ringfeed help config > config/ringfeed.yaml */
	assert_int_equal(c->feeds[0].batch_size, 256);
	assert_int_equal(c->feeds[0].pipeline.fields[0].n_steps, 3);
	assert_int_equal(c->feeds[0].pipeline.fields[0].dtype, DTYPE_float32);
	assert_dims(&c->feeds[0].pipeline.fields[0], 3, 224, 224);
	config_free(c);
	free(saved);
	free(text);
}

/* The commented keys of the sample are right as well: without their marks they are accepted or, where
 * they exclude others, refused for that reason alone. */
static void sample_comments(void **state)
{
	const char *const sets[] = {"daemon.ledger=/var/lib/ringfeed/ledger", "daemon.index_cache=/var/cache/ringfeed",
				    "feeds.train.batch={global: 2048, ranks: 8}",
				    "feeds.train.order={shuffle: block, window: 4096, parts: 1}",
				    "feeds.train.views={small: {image: {transform: [{random_resized_crop: {size: 96}}], dtype: uint8, layout: hwc}}}",
				    "daemon.socket='${XDG_RUNTIME_DIR}/ringfeed.sock'"};
	static char folder[] = "XDG_RUNTIME_DIR=/run/user/7";
	char *const environment[] = {folder, NULL};
	char *text = printed_sample();
	struct config *c = accept(text, sets, 6, environment);

	assert_string_equal(c->daemon.socket, "/run/user/7/ringfeed.sock");
	config_free(c);
	free(text);
}

static void files(void **state)
{
	struct config_faults faults = {NULL, 0};
	struct config *c = NULL;

	assert_int_equal(config_load("/nonexistent/f.yaml", NULL, 0, &c, &faults), CONFIG_E_FAULTS);
	assert_int_equal(faults.n, 1);
	assert_string_equal(faults.list[0].reason.text, "/nonexistent/f.yaml: No such file or directory");
	config_faults_deinit(&faults);
	assert_int_equal(config_load("/", NULL, 0, &c, &faults), CONFIG_E_FAULTS);
	assert_string_equal(faults.list[0].reason.text, "/: Is a directory");
	config_faults_deinit(&faults);
	assert_int_equal(config_load(SAMPLE_FILE, NULL, 0, &c, &faults), 0);
	config_free(c);
}

static void default_socket(void **state)
{
	char path[108], wanted[108];

	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_int_equal(config_default_socket(path, sizeof(path)), 0);
	assert_string_equal(path, geteuid() == 0 ? "/run/ringfeed/ringfeed.sock" : "/run/user/7/ringfeed.sock");
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(wanted, sizeof(wanted), "/tmp/ringfeed-%lu/ringfeed.sock", (unsigned long)geteuid());
	assert_int_equal(config_default_socket(path, sizeof(path)), 0);
	assert_string_equal(path, geteuid() == 0 ? "/run/ringfeed/ringfeed.sock" : wanted);
	assert_true(config_default_socket(path, 5) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),	  cmocka_unit_test(all_given),
		cmocka_unit_test(block_window),	  cmocka_unit_test(sharing),	  cmocka_unit_test(image_steps),
		cmocka_unit_test(image_shapes),	  cmocka_unit_test(who_wins),
		cmocka_unit_test(mixes), cmocka_unit_test(views), cmocka_unit_test(deep_overrides), cmocka_unit_test(sample),
		cmocka_unit_test(sample_comments), cmocka_unit_test(files),
		cmocka_unit_test(default_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
