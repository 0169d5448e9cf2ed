/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The configuration, read and checked: YAML + --set + RINGFEED_… -> struct config, or a list of faults
 * with file:line:column and what would be accepted. Every key is one row of keys.def.
 *
 * Threads: any; no global state. Reads files of classes, and does not touch shards or the machine.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/log.h"
#include "base/pipeline.h"
#include "base/reason.h"
#include "base/shares.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	CONFIG_E_FAULTS = 1, /* the faults say what is wrong */
};

enum config_format { CONFIG_FORMAT_WEBDATASET };
enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_THREADS };
enum config_sandbox { CONFIG_SANDBOX_AUTO, CONFIG_SANDBOX_REQUIRED, CONFIG_SANDBOX_OFF };
enum config_shuffle { CONFIG_SHUFFLE_NONE, CONFIG_SHUFFLE_BLOCK, CONFIG_SHUFFLE_FULL };
enum config_until { CONFIG_UNTIL_FIRST, CONFIG_UNTIL_ALL };
enum config_last { CONFIG_LAST_DROP, CONFIG_LAST_PAD, CONFIG_LAST_SHORT };
enum config_bad { CONFIG_BAD_FAIL, CONFIG_BAD_SUBSTITUTE, CONFIG_BAD_MASK };
enum config_transient { CONFIG_TRANSIENT_FAIL, CONFIG_TRANSIENT_AS_BAD };

enum { CPUS_MAX = 1024 };

struct config_daemon {
	char *socket;	      /* resolved; NULL: the default path (config_default_socket) */
	uint64_t memory;      /* bytes */
	uint32_t workers;     /* 0 = auto */
	enum config_io io;
	uint64_t read_timeout_ns, sample_cpu_ns;
	char *ledger;	   /* folder, or NULL */
	char *index_cache; /* folder, or NULL */
	struct log_levels log;
	uint32_t nice;	   /* of the workers */
	enum config_sandbox sandbox;
	bool is_sealed;
	char metrics[128]; /* HOST:PORT, "": off */
	uint64_t cpus[CPUS_MAX / 64]; /* a bit each; none: those that the daemon was started on */
};

/* One source of a feed. */
struct config_input {
	enum config_format format;
	char **patterns; /* shards, ${NAME} expanded */
	size_t n_patterns;
	bool is_direct; /* reads: direct */
	double weight;	/* in a mix */
};

/* A view stands here as a feed of its own, "train/small", behind the feed it is a view of: what is not its own
 * pipeline is that feed's, and what that owns is shared. */
struct config_feed {
	char name[FIELD_NAME_MAX];
	size_t base; /* number of the feed it is a view of; else its own */
	struct config_input *inputs;
	size_t n_inputs; /* 1 to SHARES_ALL */
	bool is_mix;	 /* source is a list, be it of one */
	enum config_shuffle shuffle;
	uint64_t seed, window, parts; /* window 0 and parts 1 unless block */
	enum config_until until;      /* of a mix */
	uint64_t batch_size;   /* per rank; 0 when global is set */
	uint64_t batch_global; /* for all ranks; 0 when size is set */
	uint64_t batch_ranks;  /* least number of ranks with global */
	enum config_last last;
	enum config_bad bad_policy;
	double bad_limit; /* share, 0 … 1 */
	enum config_transient transient;
	uint32_t slots; /* batches per rank */
	uint32_t share_window; /* 0: groups share nothing; 1: lockstep; else batches that they are apart at most */
	uint64_t evict_ns;     /* how long a trainer may keep others waiting; 0: for ever */
	struct pipeline pipeline;
};

struct config {
	uint64_t digest; /* equal for equal keys and values, after overrides, before ${NAME} is expanded */
	struct config_daemon daemon;
	struct config_feed *feeds;
	size_t n_feeds; /* with views */
};

struct config_fault {
	/* "FILE:LINE:COLUMN: feeds.train.batch.size: '0' is out of range; accepted: …" */
	struct reason reason;
	unsigned line, column; /* from 1; 0 when it is not in the file */
};

struct config_faults {
	struct config_fault *list;
	size_t n;
};

/* path: the YAML file, "-" for stdin. sets: n_sets strings "daemon.workers=4" from the command line; they
 * win over the environment, which wins over the file. 0, CONFIG_E_FAULTS, or -errno (memory). */
int config_load(const char *path, const char *const *sets, size_t n_sets, struct config **ret,
		struct config_faults *ret_faults);
/* The same from bytes in memory, with no look at the process's environment: what tests and tools call.
 * Everything in it is borrowed. environment: NULL-terminated "NAME=VALUE", as environ; NULL: empty. */
struct config_source {
	const char *name; /* stands for the file in faults */
	const char *text;
	size_t n_text;
	const char *const *sets;
	size_t n_sets;
	char *const *environment;
};
int config_read(const struct config_source *source, struct config **ret, struct config_faults *ret_faults);
struct config *config_free(struct config *c);
void config_faults_deinit(struct config_faults *f);

/* The feed or view of that name, or NULL. */
const struct config_feed *config_feed(const struct config *c, const char *name);

/* Where the socket is when neither config nor RINGFEED_SOCKET says: for root
 * /run/ringfeed/ringfeed.sock, else ${XDG_RUNTIME_DIR}/ringfeed.sock, else
 * TMP/ringfeed-UID/ringfeed.sock. The client library follows the same rule (proto/protocol.md). */
int config_default_socket(char *path, size_t n_path);

/* The commented sample file with every key, from the key table: config/ringfeed.yaml is its output. */
int config_print_sample(FILE *file);

#endif
