/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Faulty configurations and, word for word, what is said about them; positions were counted by hand. */
#include "read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DAEMON_KEYS                                                                                \
	"socket, memory, workers, io, read_timeout, sample_cpu, ledger, index_cache, nice, cpus, sandbox, sealed, metrics, log"
#define STEPS                                                                                      \
	"resize, center_crop, random_crop, random_resized_crop, pad, random_horizontal_flip, random_vertical_flip, "        \
	"grayscale, normalize"
#define DECODES "image, integer, float, json, raw, npy, text, bytes"
#define FROM "an extension or a list of up to 8, in lower case and without the dot before it; __key__; __url__"
#define SIZE_OF_MEMORY "a whole number with B, KiB, MiB, GiB or TiB, 16MiB to 64TiB"
/* Line 7. */
#define IMAGE(keys) SMALLEST "      image: {from: jpg, " keys "}\n"
#define AT_IMAGE(column, path) "f.yaml:7:" column ": feeds.train.fields.image." path ": "

struct sample {
	const char *text, *faults; /* joined by newlines */
};

static void refuse(const char *text, const char *const *sets, size_t n_sets, char *const *environment,
		   const char *wanted)
{
	struct config_faults faults = {NULL, 0};
	struct config *c = NULL;
	int r = read_text(text, sets, n_sets, environment, &c, &faults);
	char *got = calloc(faults.n + 1, sizeof(faults.list[0].reason.text));

	for (size_t i = 0; i < faults.n; i++) {
		strcat(got, faults.list[i].reason.text);
		strcat(got, "\n");
	}
	assert_string_equal(got, wanted);
	assert_int_equal(r, CONFIG_E_FAULTS);
	assert_null(c);
	free(got);
	config_faults_deinit(&faults);
}

static void refuse_all(const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++)
		refuse(samples[i].text, NULL, 0, NULL, samples[i].faults);
}

#define REFUSE_ALL(samples) refuse_all(samples, sizeof(samples) / sizeof((samples)[0]))

static void yaml(void **state)
{
	static const struct sample samples[] = {
		{"", "f.yaml:1:1: is empty; accepted: a mapping with the keys daemon and feeds\n"},
		{"- 1\n", "f.yaml:1:1: a list is wrong; accepted: a mapping with the keys daemon and feeds\n"},
		{"a: [1\nb: 2\n",
		 "f.yaml:2:2: a: not YAML: did not find expected ',' or ']' while parsing a flow sequence\n"},
		{"\tdaemon: 1\n", "f.yaml:1:1: not YAML: found character that cannot start any token while "
				  "scanning for the next token\n"},
		{"daemon: \xff\n", "f.yaml: byte 8: invalid leading UTF-8 octet; accepted: YAML in UTF-8\n"},
		{SMALLEST "daemon: {io: &a auto, log: *a, workers: !!int 3, ? [x] : y}\n",
		 "f.yaml:7:14: daemon.io: anchors (&a) are not accepted; write the value out\n"
		 "f.yaml:7:28: daemon.log: aliases (*a) are not accepted; write the value out, or put a pattern "
		 "that begins with * in quotes\n"
		 "f.yaml:7:41: daemon.workers: tags (tag:yaml.org,2002:int) are not accepted; write the bare value\n"
		 "f.yaml:7:52: daemon: a list as a key is not accepted; a key is a word\n"},
		{"daemon: {log: info,\n  log: warn}\n" SMALLEST,
		 "f.yaml:2:3: daemon.log: the key is given twice, first in line 1\n"},
		{SMALLEST "---\nfeeds: {}\n", "f.yaml:7:1: a second document begins; accepted: one document\n"},
		{"daemon: {log: \"a\\0b\"}\n" SMALLEST,
		 "f.yaml:1:15: daemon.log: a zero byte is not accepted in a text\n"},
		{"<<: {a: 1}\n" SMALLEST, "f.yaml:1:1: <<: unknown key; accepted here: daemon, feeds\n"},
	};

	REFUSE_ALL(samples);
}

#define SHARES "independent, lockstep or {window: N}, N a whole number, 1 to 64"
#define SLOW "wait or {evict: N}, N a whole number with us, ms, s, min or h, 10ms to 24h"

static void sharing(void **state)
{
	static const struct sample samples[] = {
		{SMALLEST "    share: lock-step\n",
		 "f.yaml:7:12: feeds.train.share: 'lock-step' is wrong; accepted: " SHARES "; did you mean lockstep?\n"},
		{SMALLEST "    share: window\n", "f.yaml:7:12: feeds.train.share: 'window' is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: 4\n", "f.yaml:7:12: feeds.train.share: '4' is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: [lockstep]\n",
		 "f.yaml:7:12: feeds.train.share: a list is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: {}\n",
		 "f.yaml:7:12: feeds.train.share: this mapping is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: {windows: 4}\n",
		 "f.yaml:7:13: feeds.train.share: 'windows' is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: {window: 4, evict: 3s}\n",
		 "f.yaml:7:12: feeds.train.share: this mapping is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: {window: 0}\n",
		 "f.yaml:7:21: feeds.train.share.window: '0' is out of range; accepted: " SHARES "\n"},
		{SMALLEST "    share: {window: 65}\n",
		 "f.yaml:7:21: feeds.train.share.window: '65' is out of range; accepted: " SHARES "\n"},
		{SMALLEST "    share: {window: lockstep}\n",
		 "f.yaml:7:21: feeds.train.share.window: 'lockstep' is wrong; accepted: " SHARES "\n"},
		{SMALLEST "    share: lockstep\n    slow: evict\n",
		 "f.yaml:8:11: feeds.train.slow: 'evict' is wrong; accepted: " SLOW "\n"},
		{SMALLEST "    share: lockstep\n    slow: {evict: 30}\n",
		 "f.yaml:8:19: feeds.train.slow.evict: '30' is wrong; accepted: " SLOW "\n"},
		{SMALLEST "    share: lockstep\n    slow: {evict: 25h}\n",
		 "f.yaml:8:19: feeds.train.slow.evict: '25h' is out of range; accepted: " SLOW "\n"},
		{SMALLEST "    slow: {evict: 30s}\n",
		 "f.yaml:7:11: feeds.train.slow: evict goes with a shared pass alone: nobody waits for a trainer of another "
		 "group here; accepted: slow: wait, or share: lockstep or {window: N}\n"},
		{SMALLEST "    share: independent\n    slow: {evict: 30s}\n",
		 "f.yaml:8:11: feeds.train.slow: evict goes with a shared pass alone: nobody waits for a trainer of another "
		 "group here; accepted: slow: wait, or share: lockstep or {window: N}\n"},
		{SMALLEST "    share: both\n    slow: {evict: 30s}\n",
		 "f.yaml:7:12: feeds.train.share: 'both' is wrong; accepted: " SHARES "\n"},
	};

	REFUSE_ALL(samples);
}

static void depth(void **state)
{
	char text[101] = "";
	char wanted[400] = "f.yaml:1:34: 0";

	memset(text, '[', 100);
	for (int i = 1; i < 33; i++)
		strcat(wanted, ".0");
	strcat(wanted, ": nested deeper than 32 levels\n");
	refuse(text, NULL, 0, NULL, wanted);
}

static void daemon_keys(void **state)
{
	static const struct sample samples[] = {
		{"daemon: {wrokers: 4}\n" SMALLEST,
		 "f.yaml:1:10: daemon.wrokers: unknown key; did you mean workers? accepted here: " DAEMON_KEYS "\n"},
		{"daemon: {metrics: 9464}\n" SMALLEST,
		 "f.yaml:1:19: daemon.metrics: '9464' is wrong; accepted: HOST:PORT, an IPv6 address in brackets, "
		 "the port from 0 (any) to 65535\n"},
		{"daemon: {sample_cpu: 10ms}\n" SMALLEST,
		 "f.yaml:1:22: daemon.sample_cpu: '10ms' is out of range; accepted: a whole number with us, ms, s, min "
		 "or h, 100ms to 1h\n"},
		{"workers: 4\n" SMALLEST,
		 "f.yaml:1:1: workers: unknown key; did you mean daemon.workers? accepted here: daemon, feeds\n"},
		{"daemon: 4\n" SMALLEST,
		 "f.yaml:1:9: daemon: '4' is wrong; accepted: a mapping with the keys " DAEMON_KEYS "\n"},
		{"daemon: {memory: 2GB}\n" SMALLEST,
		 "f.yaml:1:18: daemon.memory: '2GB' is wrong; accepted: " SIZE_OF_MEMORY "; did you mean 2GiB?\n"},
		{"daemon: {memory: 2147483648}\n" SMALLEST,
		 "f.yaml:1:18: daemon.memory: '2147483648' is wrong; accepted: " SIZE_OF_MEMORY "\n"},
		{"daemon: {memory: 1MiB}\n" SMALLEST,
		 "f.yaml:1:18: daemon.memory: '1MiB' is out of range; accepted: " SIZE_OF_MEMORY "\n"},
		{"daemon: {memory: }\n" SMALLEST,
		 "f.yaml:1:18: daemon.memory: an empty value is wrong; accepted: " SIZE_OF_MEMORY "\n"},
		{"daemon: {workers: 0}\n" SMALLEST, "f.yaml:1:19: daemon.workers: '0' is out of range; accepted: "
						    "auto or a whole number, 1 to 1024\n"},
		{"daemon: {workers: '4'}\n" SMALLEST, "f.yaml:1:19: daemon.workers: '4' is wrong; accepted: "
						      "auto or a whole number, 1 to 1024\n"},
		{"daemon: {workers: [4]}\n" SMALLEST, "f.yaml:1:19: daemon.workers: a list is wrong; accepted: "
						      "auto or a whole number, 1 to 1024\n"},
		{"daemon: {io: urign}\n" SMALLEST,
		 "f.yaml:1:14: daemon.io: 'urign' is wrong; accepted: auto, uring, threads; did you mean uring?\n"},
		{"daemon: {read_timeout: 5m}\n" SMALLEST,
		 "f.yaml:1:24: daemon.read_timeout: '5m' is wrong; accepted: a whole number with us, ms, s, min "
		 "or h, 100ms to 1h\n"},
		{"daemon: {ledger: '${NOT_SET}/x', index_cache: $HOME}\n" SMALLEST,
		 "f.yaml:1:18: daemon.ledger: ${NOT_SET} is not set in the environment; accepted: a variable "
		 "with a value\n"
		 "f.yaml:1:47: daemon.index_cache: '$HOME': a $ begins a variable; accepted: ${NAME}\n"},
		{"daemon:\n  socket: /a1234567890123456789012345678901234567890123456789012345678901234567890"
		 "12345678901234567890123456789/x.sock\n" SMALLEST,
		 "f.yaml:2:11: daemon.socket: the path has 108 bytes; accepted: at most 107, as the kernel has it\n"},
	};

	REFUSE_ALL(samples);
}

static void feed_keys(void **state)
{
	static const struct sample samples[] = {
		{"daemon: {}\n", "f.yaml:1:1: feeds: is missing; accepted: a mapping from names to feeds, at least one\n"},
		{"feeds: {}\n", "f.yaml:1:8: feeds: 0 feeds; accepted: 1 to 256\n"},
		{"feeds:\n  a: {}\n",
		 "f.yaml:2:6: feeds.a.batch: says no size; accepted: size (samples per rank), or global (samples "
		 "of all ranks) and ranks\n"
		 "f.yaml:2:6: feeds.a.fields: is missing; accepted: a mapping from names to fields, at least one\n"
		 "f.yaml:2:6: feeds.a.source.format: is missing: How the shards are written. Accepted: webdataset\n"
		 "f.yaml:2:6: feeds.a.source.shards: is missing: The shards, tars as they are or compressed with zstd or gzip: a path or a list of paths, with brace "
		 "ranges and globs; ${NAME} is taken from the environment. Accepted: a path or a list of paths\n"},
		{"feeds:\n  1a: {}\n",
		 "f.yaml:2:3: feeds.1a: '1a' is no name for a feed; accepted: at most 63 letters, digits, - and "
		 "single _, beginning with a letter or _\n"},
		{"feeds:\n  a:\n    source: x\n    batch: {size: 1}\n    fields: {l: {from: c, decode: integer}}\n",
		 "f.yaml:3:13: feeds.a.source: 'x' is wrong; accepted: a mapping with the keys format, shards, "
		 "reads, weight, or a list of such mappings\n"},
		{"feeds:\n  a:\n    source: {format: mds, shards: [], weight: 2}\n    batch: {size: 1}\n"
		 "    fields: {l: {from: c, decode: integer}}\n",
		 "f.yaml:3:22: feeds.a.source.format: 'mds' is not in this version; accepted: webdataset\n"
		 "f.yaml:3:35: feeds.a.source.shards: an empty list is wrong; accepted: a path or a list of paths\n"
		 "f.yaml:3:47: feeds.a.source.weight: goes with a list of sources alone; accepted: without it, or source "
		 "as a list of mappings, each with weight\n"},
		{"feeds:\n  a:\n    source: {format: webdataset, shards: ['pipe:cat x', 'http://a/b', '']}\n"
		 "    batch: {size: 1}\n    fields: {l: {from: c, decode: integer}}\n",
		 "f.yaml:3:43: feeds.a.source.shards.0: 'pipe:cat x' is not a file: no shell is run, and remote "
		 "sources are not in this version; accepted: a path or a list of paths\n"
		 "f.yaml:3:57: feeds.a.source.shards.1: 'http://a/b' is not a file: no shell is run, and remote "
		 "sources are not in this version; accepted: a path or a list of paths\n"
		 "f.yaml:3:71: feeds.a.source.shards.2: '' is wrong; accepted: a path or a list of paths\n"},
		{SMALLEST "    slots: 1\n", "f.yaml:7:12: feeds.train.slots: '1' is out of range; accepted: a whole "
					    "number, 2 to 1024\n"},
		{SMALLEST "    order: {shuffle: ful, seed: -1}\n",
		 "f.yaml:7:22: feeds.train.order.shuffle: 'ful' is wrong; accepted: none, block, full; did you "
		 "mean full?\n"
		 "f.yaml:7:33: feeds.train.order.seed: '-1' is wrong; accepted: a whole number, 0 to "
		 "18446744073709551615\n"},
		{SMALLEST "    order: {shuffle: full, window: 64, parts: 2}\n",
		 "f.yaml:7:36: feeds.train.order.window: goes with shuffle: block alone; here shuffle is full\n"
		 "f.yaml:7:47: feeds.train.order.parts: goes with shuffle: block alone; here shuffle is full\n"},
		{SMALLEST "    order: {shuffle: blok, window: 64}\n",
		 "f.yaml:7:22: feeds.train.order.shuffle: 'blok' is wrong; accepted: none, block, full; did you "
		 "mean block?\n"},
		{SMALLEST "    bad_samples: {limit: 0.1, policy: skip}\n",
		 "f.yaml:7:26: feeds.train.bad_samples.limit: '0.1' is wrong; accepted: a number with %, 0% to "
		 "100%\n"
		 "f.yaml:7:39: feeds.train.bad_samples.policy: 'skip' is wrong; accepted: fail, substitute, mask\n"},
		{SMALLEST "    limits: {max_pixel: 3}\n",
		 "f.yaml:7:14: feeds.train.limits.max_pixel: unknown key; did you mean max_pixels? accepted here: "
		 "max_pixels, max_scans, decode_memory\n"},
		{SMALLEST "    batch.size: 3\n",
		 "f.yaml:7:5: feeds.train.batch.size: unknown key; accepted here: source, order, batch, "
		 "bad_samples, limits, slots, share, slow, fields, views\n"},
	};

	REFUSE_ALL(samples);
}

#define FEED(batch)                                                                                \
	"feeds:\n  a:\n    source: {format: webdataset, shards: x}\n    batch: " batch "\n"        \
	"    fields: {l: {from: c, decode: integer}}\n"

#define MIX(list, order) "feeds:\n  a:\n    batch: {size: 1}\n    fields: {l: {from: c, decode: integer}}\n"       \
			 "    order: {" order "}\n    source:\n" list
#define WEIGHTS "a number, 0.000001 to 1000000000"

/* Lists of sources; the first item is in line 7. */
static void mixes(void **state)
{
	static const struct sample samples[] = {
		{"feeds:\n  a:\n    source: []\n    batch: {size: 1}\n    fields: {l: {from: c, decode: integer}}\n",
		 "f.yaml:3:13: feeds.a.source: a list of 0 is wrong; accepted: 1 to 1024 sources\n"},
		{"feeds:\n  a:\n    source: {format: webdataset, shards: x}\n    order: {until: all}\n    batch: {size: 1}\n"
		 "    fields: {l: {from: c, decode: integer}}\n",
		 "f.yaml:4:20: feeds.a.order.until: goes with a list of sources alone; accepted: without it, or source as a "
		 "list of mappings, each with weight\n"},
		{MIX("    - {format: webdataset, shards: x}\n    - {format: webdataset, shards: y, weight: 1}\n", ""),
		 "f.yaml:7:7: feeds.a.source.0.weight: is missing: every source of a list needs one; accepted: " WEIGHTS "\n"},
		{MIX("    - {format: webdataset, shards: x, weight: 0}\n    - {format: webdataset, shards: y, weight: -1}\n"
		     "    - {format: webdataset, shards: z, weight: 1e99}\n    - {format: webdataset, shards: z, weight: nan}\n",
		     ""),
		 "f.yaml:7:47: feeds.a.source.0.weight: '0' is out of range; accepted: " WEIGHTS "\n"
		 "f.yaml:8:47: feeds.a.source.1.weight: '-1' is out of range; accepted: " WEIGHTS "\n"
		 "f.yaml:9:47: feeds.a.source.2.weight: '1e99' is out of range; accepted: " WEIGHTS "\n"
		 "f.yaml:10:47: feeds.a.source.3.weight: 'nan' is wrong; accepted: " WEIGHTS "\n"},
		{MIX("    - {format: webdataset, shards: x, weight: 10000}\n    - {format: webdataset, shards: y, weight: 1}\n",
		     "until: all"),
		 "f.yaml:8:47: feeds.a.source.1.weight: 1 of 10001 together is too little: of every 1024 samples none would be "
		 "its own; accepted: more weight, or no such source\n"},
		{MIX("    - x.tar\n    - {format: webdataset, shard: y, weight: 1}\n", "until: longest"),
		 "f.yaml:5:20: feeds.a.order.until: 'longest' is wrong; accepted: first, all\n"
		 "f.yaml:7:7: feeds.a.source.0: 'x.tar' is wrong; accepted: a mapping with the keys format, shards, reads, "
		 "weight\n"
		 "f.yaml:8:7: feeds.a.source.1.shards: is missing: The shards, tars as they are or compressed with zstd or "
		 "gzip: a path or a list of paths, with brace ranges and globs; ${NAME} is taken from the environment. "
		 "Accepted: a path or a list of paths\n"
		 "f.yaml:8:28: feeds.a.source.1.shard: unknown key; did you mean shards? accepted here: format, shards, reads, "
		 "weight\n"},
	};

	REFUSE_ALL(samples);
}

static void batches(void **state)
{
	static const struct sample samples[] = {
		{FEED("{size: 8, global: 16, ranks: 2}"),
		 "f.yaml:4:30: feeds.a.batch.global: does not go with size; accepted: size (per rank), or global "
		 "and ranks\n"},
		{FEED("{last: drop}"),
		 "f.yaml:4:12: feeds.a.batch: says no size; accepted: size (samples per rank), or global (samples "
		 "of all ranks) and ranks\n"},
		{FEED("{global: 16}"),
		 "f.yaml:4:21: feeds.a.batch.global: needs ranks: the least number of ranks that share it\n"},
		{FEED("{global: 16, ranks: 3}"), "f.yaml:4:32: feeds.a.batch.ranks: 3 does not divide global: 16\n"},
		{FEED("{size: 16, ranks: 2}"),
		 "f.yaml:4:30: feeds.a.batch.ranks: goes with global alone; accepted: size, or global and ranks\n"},
		{FEED("{size: 0}"), "f.yaml:4:19: feeds.a.batch.size: '0' is out of range; accepted: a whole number, 1 "
				    "to 1048576\n"},
		{FEED("7"), "f.yaml:4:12: feeds.a.batch: '7' is wrong; accepted: a mapping with the keys size, "
			    "global, ranks, last\n"},
	};

	REFUSE_ALL(samples);
}

static void field_keys(void **state)
{
	static const struct sample samples[] = {
		{SMALLEST "      index: {from: cls, decode: integer}\n",
		 "f.yaml:7:7: feeds.train.fields.index: every batch has a 'index' of its own; accepted: a name "
		 "other than index, position, valid, epoch and step\n"},
		{SMALLEST "      a-b: {from: cls, decode: integer}\n",
		 "f.yaml:7:7: feeds.train.fields.a-b: 'a-b' is no name for a field; accepted: at most 63 letters, "
		 "digits and _, not beginning with a digit\n"},
		{SMALLEST "      b: {from: [.x, JPG, c, c, __key__], decode: integer}\n",
		 "f.yaml:7:18: feeds.train.fields.b.from.0: '.x' is wrong; accepted: " FROM "\n"
		 "f.yaml:7:22: feeds.train.fields.b.from.1: 'JPG' is wrong; accepted: " FROM "\n"
		 "f.yaml:7:30: feeds.train.fields.b.from.3: 'c' is given twice\n"
		 "f.yaml:7:33: feeds.train.fields.b.from.4: '__key__' is wrong; accepted: " FROM "\n"},
		{SMALLEST "      b: {from: __path__, decode: text, max: 3}\n",
		 "f.yaml:7:17: feeds.train.fields.b.from: '__path__' is wrong; accepted: " FROM "\n"
		 "f.yaml:7:46: feeds.train.fields.b.max: '3' is wrong; accepted: a whole number with B, KiB, MiB, GiB "
		 "or TiB, 1B to 256MiB\n"},
		{SMALLEST "      b: {from: __url__, decode: float}\n      c: {from: txt, decode: text}\n"
			  "      d: {from: cls, decode: integer, max: 8B, classes: /dev/null}\n"
			  "      e: {from: txt, decode: bytes, max: 8B, dtype: int8, shape: [3]}\n",
		 "f.yaml:7:34: feeds.train.fields.b.decode: does not go with from: __url__; accepted: text, bytes, integer\n"
		 "f.yaml:8:10: feeds.train.fields.c.max: decode: text needs it: the most bytes that a sample may have, as "
		 "1KiB\n"
		 "f.yaml:9:57: feeds.train.fields.d.classes: /dev/null: it has 0 lines; accepted: 1 to 16777216\n"
		 "f.yaml:10:53: feeds.train.fields.e.dtype: goes with numbers alone; here decode is bytes\n"
		 "f.yaml:10:66: feeds.train.fields.e.shape: goes with decode: json, raw or npy alone; here it is bytes\n"},
		{SMALLEST "      b: {from: cls, decode: integer, max: 8B}\n"
			  "      c: {from: txt, decode: text, classes: " SAMPLE_FILE ", max: 8B}\n",
		 "f.yaml:7:44: feeds.train.fields.b.max: goes with decode: text or bytes alone; here it is integer\n"
		 "f.yaml:8:45: feeds.train.fields.c.classes: " SAMPLE_FILE ": line 7 is empty\n"},
		{SMALLEST "      b: {from: cls}\n", "f.yaml:7:10: feeds.train.fields.b.decode: is missing: What the "
						    "bytes are; an image may be written with its options, as here. "
						    "Accepted: " DECODES "\n"},
		{SMALLEST "      b: {from: cls, decode: txt}\n",
		 "f.yaml:7:30: feeds.train.fields.b.decode: 'txt' is wrong; accepted: " DECODES "; did you mean text?\n"},
		{SMALLEST "      b: {from: cls, decode: float, dtype: int32, shape: [2], key: a}\n",
		 "f.yaml:7:44: feeds.train.fields.b.dtype: int32 does not hold every number; accepted: float16, "
		 "bfloat16, float32, float64, or decode: integer\n"
		 "f.yaml:7:58: feeds.train.fields.b.shape: goes with decode: json, raw or npy alone; here it is float\n"
		 "f.yaml:7:68: feeds.train.fields.b.key: goes with decode: json alone; here it is float\n"},
		{SMALLEST "      b: {from: json, decode: json, key: a..b}\n      c: {from: x, decode: raw, shape: 4}\n"
			  "      d: {from: x, decode: npy}\n      e: {from: x, decode: npy, dtype: bfloat16, shape: [0, 1]}\n",
		 "f.yaml:7:42: feeds.train.fields.b.key: 'a..b' is wrong; accepted: names, or numbers from 0, with dots "
		 "between them\n"
		 "f.yaml:8:40: feeds.train.fields.c.shape: '4' is wrong; accepted: a list of at most 4 whole numbers, 1 "
		 "to 1073741824\n"
		 "f.yaml:9:10: feeds.train.fields.d.dtype: decode: npy needs one; accepted: the dtype that the arrays "
		 "have\n"
		 "f.yaml:10:58: feeds.train.fields.e.shape.0: '0' is out of range; accepted: a list of at most 4 whole "
		 "numbers, 1 to 1073741824\n"},
		{SMALLEST "      b: {from: x, decode: npy, dtype: bfloat16, shape: [1, 2, 3, 4]}\n"
			  "      c: {from: x, decode: raw, dtype: float64, shape: [65536, 65536]}\n"
			  "      d: {from: x, decode: raw, dtype: int8, shape: [1, 2, 3, 4, 5]}\n",
		 "f.yaml:7:40: feeds.train.fields.b.dtype: NumPy's files have no bfloat16; accepted: another dtype, or "
		 "decode: raw\n"
		 "f.yaml:8:56: feeds.train.fields.c.shape: a sample would have more than 1 GiB; accepted: a smaller "
		 "shape\n"
		 "f.yaml:9:53: feeds.train.fields.d.shape: a list of 5 is wrong; accepted: a list of at most 4 whole "
		 "numbers, 1 to 1073741824\n"},
		{SMALLEST "      b: {from: cls, decode: integer, dtype: int3}\n",
		 "f.yaml:7:46: feeds.train.fields.b.dtype: 'int3' is wrong; accepted: uint8, int64, float16, bfloat16, "
		 "float32, int32, int8, int16, uint16, uint32, uint64, float64, bool, auto; did you mean int32?\n"},
		{SMALLEST "      b: {from: cls, decode: integer, layout: chw, transform: []}\n",
		 "f.yaml:7:47: feeds.train.fields.b.layout: goes with decode: image alone; here it is integer\n"
		 "f.yaml:7:63: feeds.train.fields.b.transform: goes with decode: image alone; here it is integer\n"},
		{SMALLEST "      b: {from: cls, decode: integer, with: label}\n",
		 "f.yaml:7:39: feeds.train.fields.b.with: not in this version; accepted here: from, decode, "
		 "transform, scale, pass_order, dtype, layout, key, shape, max, classes\n"},
		{IMAGE("decode: {image: exakt, exif: yes}, transform: [center_crop: {size: 8}]"),
		 AT_IMAGE("42", "decode.image") "'exakt' is wrong; accepted: exact, fast; did you mean exact?\n"
		 AT_IMAGE("55", "decode.exif") "'yes' is wrong; accepted: true or false\n"},
		{IMAGE("decode: {integer: 3}, transform: [center_crop: {size: 8}]"),
		 AT_IMAGE("35", "decode.integer") "unknown key; accepted here: image, exif\n"},
		{IMAGE("decode: image, dtype: int64, transform: [center_crop: {size: 8}]"),
		 AT_IMAGE("48", "dtype") "int64 does not fit an image; accepted: uint8, float16, bfloat16, float32\n"},
		{IMAGE("decode: image, dtype: uint8, transform: [center_crop: {size: 8}, normalize: {mean: 0, std: 1}]"),
		 AT_IMAGE("48", "dtype") "uint8 cannot hold what normalize gives; accepted: float16, bfloat16, "
					 "float32\n"},
		{IMAGE("decode: image, scale: divide, transform: [center_crop: {size: 8}]"),
		 AT_IMAGE("48", "scale") "goes with a float dtype; uint8 stays 0 to 255\n"},
	};

	REFUSE_ALL(samples);
}

#define ONE_SHAPE                                                                                  \
	", and a batch needs one shape; accepted: end with center_crop, random_crop or "           \
	"random_resized_crop, or resize to [height, width]\n"

static void transforms(void **state)
{
	static const struct sample samples[] = {
		{IMAGE("decode: image"),
		 AT_IMAGE("14", "transform") "every image keeps its own size" ONE_SHAPE},
		{IMAGE("decode: image, transform: [resize: {size: 256}]"),
		 AT_IMAGE("52", "transform") "resize to one number leaves the long side to each image" ONE_SHAPE},
		{IMAGE("decode: image, transform: [random_flip]"),
		 AT_IMAGE("53", "transform.0") "'random_flip' is no transform; accepted: " STEPS "\n"},
		{IMAGE("decode: image, transform: [centercrop: {size: 3}]"),
		 AT_IMAGE("53", "transform.0") "'centercrop' is no transform; did you mean center_crop? accepted: "
					       STEPS "\n"},
		{IMAGE("decode: image, transform: [random_erasing]"),
		 AT_IMAGE("53", "transform.0") "'random_erasing' is not in this version; accepted: " STEPS "\n"},
		{IMAGE("decode: image, transform: center_crop"),
		 AT_IMAGE("52", "transform") "'center_crop' is wrong; accepted: a list of transforms: " STEPS "\n"},
		{IMAGE("decode: image, transform: [{a: 1, b: 2}, [], center_crop]"),
		 AT_IMAGE("53", "transform.0") "more than one key is wrong; accepted: one transform, as NAME or as "
					       "NAME: {PARAMETER: VALUE}\n"
		 AT_IMAGE("67", "transform.1") "a list is wrong; accepted: one transform, as NAME or as NAME: "
					       "{PARAMETER: VALUE}\n"
		 AT_IMAGE("71", "transform.2.center_crop.size") "is missing: [height, width]; one number is both. "
								"Accepted: a whole number or [height, width], 1 to "
								"16384\n"},
		{IMAGE("decode: image, transform: [center_crop: {size: [3], sise: 1}]"),
		 AT_IMAGE("73", "transform.0.center_crop.size") "a list of 1 is wrong; accepted: a whole number or "
								"[height, width], 1 to 16384\n"
		 AT_IMAGE("78", "transform.0.center_crop.sise") "unknown key; did you mean size? accepted here: size\n"},
		{IMAGE("decode: image, transform: [random_resized_crop: {size: 8, scale: [0.5, 0.1], ratio: 1}]"),
		 AT_IMAGE("91", "transform.0.random_resized_crop.scale") "the first is greater than the second; "
			"accepted: [least, greatest], two numbers, 0.000001 to 1\n"
		 AT_IMAGE("110", "transform.0.random_resized_crop.ratio") "'1' is wrong; accepted: [least, "
			"greatest], two numbers, 0.001 to 1000\n"},
		{IMAGE("decode: image, transform: [center_crop: {size: 8}, normalize: {mean: [1, 2], std: [1, 0, 1]}]"),
		 AT_IMAGE("95", "transform.1.normalize.mean") "a list is wrong; accepted: a number or a list of "
			"three, -65536 to 65536\n"
		 AT_IMAGE("112", "transform.1.normalize.std.1") "'0' is out of range; accepted: a number or a list "
			"of three, 0.000001 to 65536\n"},
		{IMAGE("decode: image, transform: [center_crop: {size: 8}, grayscale: {num_output_channels: 1}, pad]"),
		 AT_IMAGE("110", "transform.1.grayscale.num_output_channels") "'1' is out of range; accepted: a whole "
		 "number, 3 to 3\n"
		 AT_IMAGE("114", "transform.2.pad.padding") "is missing: One number, [left and right, top and bottom] or "
		 "[left, top, right, bottom]. Accepted: one, two or four whole numbers, 0 to 16384\n"},
		{IMAGE("decode: image, transform: [pad: {padding: 4}, random_vertical_flip]"),
		 AT_IMAGE("52", "transform") "every image keeps its own size" ONE_SHAPE},
		{IMAGE("decode: image, transform: [normalize: {mean: 0, std: 1}, center_crop: {size: 8}]"),
		 AT_IMAGE("53", "transform.0") "normalize: must be the last step: the others work on 8-bit pixels\n"},
		{IMAGE("decode: image, transform: [center_crop: {size: 8}, random_crop: {size: 9}]"),
		 AT_IMAGE("77", "transform.1") "random_crop: larger than every image that comes from the step before "
			"it; accepted: a smaller size, or padding\n"},
		{IMAGE("decode: image, transform: [random_crop: {size: 9, padding: [1, 2, 3], fill: 256}]"),
		 AT_IMAGE("85", "transform.0.random_crop.padding") "a list of 3 is wrong; accepted: one, two or four "
			"whole numbers, 0 to 16384\n"
		 AT_IMAGE("102", "transform.0.random_crop.fill") "'256' is out of range; accepted: a whole number, 0 "
			"to 255\n"},
		{IMAGE("decode: image, transform: [random_horizontal_flip: {p: 1.5}, resize: {size: 8, "
		       "interpolation: cubic}]"),
		 AT_IMAGE("81", "transform.0.random_horizontal_flip.p") "'1.5' is out of range; accepted: a number, 0 "
			"to 1\n"
		 AT_IMAGE("120", "transform.1.resize.interpolation") "'cubic' is wrong; accepted: nearest, box, "
			"bilinear, hamming, bicubic, lanczos; did you mean bicubic?\n"},
	};

	REFUSE_ALL(samples);
}

#define OF_VIEW "transform, scale, pass_order, dtype, layout"
/* Lines 7 to 9: an image, a text, and the first line of views. */
#define VIEWS(views)                                                                               \
	IMAGE("decode: image, layout: hwc, transform: [center_crop: {size: 8}, normalize: {mean: 0, std: 1}]")                      \
	"      text: {from: txt, decode: text, max: 8B}\n    views: " views "\n"
#define AT_VIEW(column, path) "f.yaml:9:" column ": feeds.train.views" path ": "

static void views(void **state)
{
	static const struct sample samples[] = {
		{VIEWS("small"), AT_VIEW("12", "") "'small' is wrong; accepted: a mapping from names to views\n"},
		{VIEWS("{}"), AT_VIEW("12", "") "0 views; accepted: 1 to 15\n"},
		{VIEWS("{a: {}, b: 3}"),
		 AT_VIEW("16", ".a") "an empty mapping is wrong; accepted: a mapping from names of the feed's fields to what is "
				     "another there: " OF_VIEW "\n"
		 AT_VIEW("23", ".b") "'3' is wrong; accepted: a mapping from names of the feed's fields to what is another there: "
				     OF_VIEW "\n"},
		{VIEWS("{a__b: {image: {dtype: float16}}, a/b: {image: {dtype: float16}}}"),
		 AT_VIEW("13", ".a__b") "'a__b' is no name for a view; accepted: letters, digits, - and single _, beginning with a "
					"letter or _, with the feed's name and / at most 63\n"
		 AT_VIEW("46", ".a/b") "'a/b' is no name for a view; accepted: letters, digits, - and single _, beginning with a "
				       "letter or _, with the feed's name and / at most 63\n"},
		{VIEWS("{a23456789012345678901234567890123456789012345678901234567x: {image: {dtype: float16}}}"),
		 AT_VIEW("13", ".a23456789012345678901234567890123456789012345678901234567x")
		 "'a23456789012345678901234567890123456789012345678901234567x' is no name for a view; accepted: letters, digits, - "
		 "and single _, beginning with a letter or _, with the feed's name and / at most 63\n"},
		{VIEWS("{a: {imag: {dtype: float16}, other: {}, image: {}, label: hwc}}"),
		 AT_VIEW("17", ".a.imag") "the feed has no such field; did you mean image? accepted: label, image, text\n"
		 AT_VIEW("41", ".a.other") "the feed has no such field; accepted: label, image, text\n"
		 AT_VIEW("59", ".a.image") "an empty mapping is wrong; accepted: a mapping with some of the keys " OF_VIEW "\n"
		 AT_VIEW("70", ".a.label") "'hwc' is wrong; accepted: a mapping with some of the keys " OF_VIEW "\n"},
		{VIEWS("{a: {image: {from: png, decode: {exif: true}, dtpe: uint8}, text: {max: 9B}}}"),
		 AT_VIEW("25", ".a.image.from") "is the feed's alone: a field is decoded once for all views; accepted here: "
						OF_VIEW "\n"
		 AT_VIEW("36", ".a.image.decode") "is the feed's alone: a field is decoded once for all views; accepted here: "
						  OF_VIEW "\n"
		 AT_VIEW("58", ".a.image.dtpe") "unknown key; did you mean dtype? accepted here: " OF_VIEW "\n"
		 AT_VIEW("79", ".a.text.max") "is the feed's alone: a field is decoded once for all views; accepted here: "
					      OF_VIEW "\n"},
		{VIEWS("{a: {text: {dtype: int8}, label: {layout: hwc, dtype: int3}}}"),
		 AT_VIEW("24", ".a.text.dtype") "a view has its own with decode: image, integer or float alone\n"
		 AT_VIEW("66", ".a.label.dtype") "'int3' is wrong; accepted: uint8, int64, float16, bfloat16, float32, int32, int8, "
						 "int16, uint16, uint32, uint64, float64, bool, auto; did you mean int32?\n"},
		/* What the view has goes with what the feed has. */
		{VIEWS("{a: {image: {dtype: uint8}, label: {layout: hwc}}, b: {image: {transform: [resize: {size: 4}]}}}"),
		 AT_VIEW("32", ".a.image.dtype") "uint8 cannot hold what normalize gives; accepted: float16, bfloat16, float32\n"
		 AT_VIEW("56", ".a.label.layout") "goes with decode: image alone; here it is integer\n"
		 AT_VIEW("86", ".b.image.transform") "resize to one number leaves the long side to each image" ONE_SHAPE},
		/* Of a feed that has faults itself, the names alone are looked at. */
		{SMALLEST "    slots: 1\n    views: {a: {label: {dtype: int3}, lable: {dtype: int8}}}\n",
		 "f.yaml:7:12: feeds.train.slots: '1' is out of range; accepted: a whole number, 2 to 1024\n"
		 "f.yaml:8:39: feeds.train.views.a.lable: the feed has no such field; did you mean label? accepted: label\n"},
	};
	const char *const sets[] = {"feeds.train.views.b.label.dtype=int8"};

	REFUSE_ALL(samples);
	refuse(SMALLEST "    views: {a: {label: {dtype: int8}}}\n", sets, 1, NULL,
	       "--set feeds.train.views.b.label.dtype=int8: feeds.train.views.b: the file has no 'b'\n");
}

static void too_many_feeds(void **state)
{
	char *text = calloc(1, 60000), *end = text + sprintf(text, "feeds:\n");

	for (int i = 0; i < 129; i++)
		end += sprintf(end, "  f%d:\n    source: {format: webdataset, shards: a.tar}\n    batch: {size: 8}\n    fields:\n"
			       "      label: {from: cls, decode: integer}\n    views: {a: {label: {dtype: int8}}}\n", i);
	refuse(text, NULL, 0, NULL, "f.yaml:2:3: feeds: 258 feeds and views; accepted: 1 to 256\n");
	free(text);
}

static void overrides(void **state)
{
	static char a[] = "RINGFEED_DAEMON__WORKERS=x", b[] = "RINGFEED_DAEMON__WROKERS=1", d[] = "RINGFEED_DAEMON__IO=",
		    e[] = "RINGFEED_FEEDS__VAL__SLOTS=3";
	char *const environment[] = {a, b, d, e, NULL};
	const char *const sets[] = {"feeds.trian.slots=3", "daemon.log", "slots=[", "feeds.train.batch.size.x=1",
				    "feeds.train.fields.lable.dtype=int64"};

	refuse(SMALLEST, NULL, 0, environment,
	       "RINGFEED_DAEMON__IO: the value is empty; accepted: KEY=VALUE\n"
	       "RINGFEED_DAEMON__WORKERS: daemon.workers: 'x' is wrong; accepted: auto or a whole number, 1 to 1024\n"
	       "RINGFEED_DAEMON__WROKERS: daemon.wrokers: unknown key; did you mean workers? accepted here: "
	       DAEMON_KEYS "\n"
	       "RINGFEED_FEEDS__VAL__SLOTS: feeds.VAL: the file has no 'VAL'\n");
	refuse(SMALLEST, sets, 5, NULL,
	       "--set daemon.log: accepted: KEY=VALUE, as daemon.workers=4\n"
	       "--set feeds.train.batch.size.x=1: feeds.train.batch.size.x: nothing can be set below '8'; set the "
	       "whole\n"
	       "--set feeds.train.fields.lable.dtype=int64: feeds.train.fields.lable: the file has no 'lable'; did "
	       "you mean label?\n"
	       "--set feeds.trian.slots=3: feeds.trian: the file has no 'trian'; did you mean train?\n"
	       "--set slots=[: not YAML: did not find expected node content while parsing a flow node\n");
}

/* A long list of faults ends with their number, and quoted bytes are cut between characters. */
static void bounds(void **state)
{
	char *text = calloc(1, 20000), *end;
	struct config_faults faults = {NULL, 0};
	struct config *c = NULL;

	end = text + sprintf(text, "%s", SMALLEST);
	for (int i = 0; i < 250; i++)
		end += sprintf(end, "k%d: 1\n", i);
	assert_int_equal(read_text(text, NULL, 0, NULL, &c, &faults), CONFIG_E_FAULTS);
	assert_int_equal(faults.n, 200);
	assert_string_equal(faults.list[199].reason.text, "and 51 more faults");
	config_faults_deinit(&faults);
	end = text + sprintf(text, "%sdaemon: {io: ", SMALLEST);
	for (int i = 0; i < 60; i++)
		end += sprintf(end, "\xc3\xa4");
	sprintf(end, "}\n");
	assert_int_equal(read_text(text, NULL, 0, NULL, &c, &faults), CONFIG_E_FAULTS);
	assert_non_null(strstr(faults.list[0].reason.text, "\xc3\xa4...' is wrong"));
	config_faults_deinit(&faults);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yaml),	     cmocka_unit_test(depth),	   cmocka_unit_test(daemon_keys),
		cmocka_unit_test(feed_keys), cmocka_unit_test(sharing), cmocka_unit_test(mixes), cmocka_unit_test(batches),	   cmocka_unit_test(field_keys),
		cmocka_unit_test(transforms), cmocka_unit_test(overrides), cmocka_unit_test(bounds),
		cmocka_unit_test(views),     cmocka_unit_test(too_many_feeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
