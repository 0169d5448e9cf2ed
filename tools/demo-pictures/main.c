/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * demo-pictures: writes the demo's dataset, WebDataset tars of procedural pictures.
 *
 *     OUT/train-000000.tar … and OUT/test-000000.tar …, members NUMBER.jpg or NUMBER.png and NUMBER.cls
 *
 * Every byte follows from the options, whatever the number of threads: each picture has random numbers
 * of its own, and a thread writes whole shards.
 */
#include "encode.h"
#include "picture.h"
#include "random.h"
#include "tar.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS_MAX = 16, SPLITS = 2 };

struct job {
	const char *out;
	uint64_t seed;
	uint32_t n_pictures[SPLITS], n_shards[SPLITS];
	bool is_live; /* stderr is a terminal */
	atomic_uint next_shard, n_done;
	atomic_int fault; /* the first -errno */
	atomic_bool is_faulty;
	char fault_path[4096]; /* written by whoever turned is_faulty on */
};

static const char *const split_names[SPLITS] = {"train", "test"};

static int encode(const struct picture *p, uint32_t number, struct random *r, struct bytes *ret)
{
	const struct encode_jpeg how = {
		.quality = 85 + (int)random_below(r, 11),
		.is_444 = random_chance(r, .5),
		.is_progressive = random_chance(r, .2),
	};

	return number % 2 == 0 ? encode_jpeg(p, &how, ret) : encode_png(p, ret);
}

static int add_picture(struct tar *t, const struct job *job, int split, uint32_t number,
		       struct picture *p, struct bytes *file)
{
	struct random random = random_of(job->seed, (uint64_t)split, number);
	enum shape shape = (enum shape)random_below(&random, SHAPE_COUNT);
	char name[64], label[4];
	int r;

	picture_draw(p, shape, &random);
	r = encode(p, number, &random, file);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%08" PRIu32 ".%s", number, number % 2 == 0 ? "jpg" : "png");
	r = tar_add(t, name, file->data, file->n);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%08" PRIu32 ".cls", number);
	snprintf(label, sizeof(label), "%d", (int)shape % SHAPE_COUNT);
	return tar_add(t, name, label, strlen(label));
}

static void progress(struct job *job, uint32_t n_more)
{
	uint32_t n = atomic_fetch_add(&job->n_done, n_more) + n_more;

	if (job->is_live)
		fprintf(stderr, "\rdrawing pictures: %" PRIu32 " of %" PRIu32, n,
			job->n_pictures[0] + job->n_pictures[1]);
}

static int write_shard(struct job *job, int split, uint32_t shard, char *path, size_t n_path,
		       struct picture *p, struct bytes *file)
{
	uint64_t n = job->n_pictures[split], n_shards = job->n_shards[split];
	uint32_t from = (uint32_t)(n * shard / n_shards), to = (uint32_t)(n * (shard + 1) / n_shards);
	struct tar *t = NULL;
	int r;

	if ((size_t)snprintf(path, n_path, "%s/%s-%06" PRIu32 ".tar", job->out, split_names[split],
			     shard) >= n_path)
		return -ENAMETOOLONG;
	r = tar_open(path, &t);
	for (uint32_t i = from; r == 0 && i < to; i++) {
		r = add_picture(t, job, split, i, p, file);
		if ((i - from) % 100 == 99)
			progress(job, 100);
	}
	progress(job, (to - from) % 100);
	if (r == 0)
		r = tar_finish(t);
	tar_free(t);
	return r;
}

static void *write_shards(void *data)
{
	struct job *job = data;
	struct picture *p = malloc(sizeof(*p));
	struct bytes file = {0};
	char path[sizeof(job->fault_path)] = "";
	int r = p ? 0 : -ENOMEM;

	while (r == 0 && !atomic_load(&job->is_faulty)) {
		uint32_t i = atomic_fetch_add(&job->next_shard, 1);
		int split = i >= job->n_shards[0];

		i -= split ? job->n_shards[0] : 0;
		if (i >= job->n_shards[split])
			break;
		r = write_shard(job, split, i, path, sizeof(path), p, &file);
	}
	if (r < 0 && !atomic_exchange(&job->is_faulty, true)) {
		memcpy(job->fault_path, path, sizeof(path));
		atomic_store(&job->fault, r);
	}
	bytes_deinit(&file);
	free(p);
	return NULL;
}

/* This thread writes too; if no other can be started, it writes alone. */
static int write_all(struct job *job)
{
	pthread_t threads[THREADS_MAX];
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int n = 0;

	while (n < THREADS_MAX && n + 1 < n_cpus && pthread_create(&threads[n], NULL, write_shards, job) == 0)
		n++;
	write_shards(job);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	return atomic_load(&job->fault);
}

static const char usage[] =
	"usage: demo-pictures --out FOLDER [--train N] [--test N] [--shards N] [--seed S]\n"
	"\n"
	"Writes WebDataset tars of procedural pictures: ten classes that differ in shape alone\n"
	"(circle square triangle star cross ring heart crescent arrow hourglass), JPEG and PNG in turn.\n"
	"\n"
	"  --out FOLDER  where the tars go; made if it is not there\n"
	"  --train N     pictures to train on, in train-NNNNNN.tar (default 8000)\n"
	"  --test N      held-out pictures, in test-NNNNNN.tar (default 1000)\n"
	"  --shards N    tars of the training pictures, 1 to 9999; a quarter as many of held-out ones (default 8)\n"
	"  --seed S      another number, other pictures (default 1)\n"
	"  --help        this text\n";

static bool parse(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == 0 && errno == 0 && *ret >= least && *ret <= most)
		return true;
	fprintf(stderr, "demo-pictures: --%s %s: a number from %" PRIu64 " to %" PRIu64 " is wanted\n", option,
		text, least, most);
	return false;
}

enum { OPTION_OUT = 256, OPTION_TRAIN, OPTION_TEST, OPTION_SHARDS, OPTION_SEED, OPTION_HELP };

static const struct option options[] = {
	{"out", required_argument, NULL, OPTION_OUT},	    {"train", required_argument, NULL, OPTION_TRAIN},
	{"test", required_argument, NULL, OPTION_TEST},	    {"shards", required_argument, NULL, OPTION_SHARDS},
	{"seed", required_argument, NULL, OPTION_SEED},	    {"help", no_argument, NULL, OPTION_HELP},
	{0},
};

/* 0: go on; else 1 + the exit status. */
static int parse_options(int argc, char **argv, struct job *job)
{
	uint64_t n_train = 8000, n_test = 1000, n_shards = 8;
	bool is_good = true;
	int o, at = 0;

	job->seed = 1;
	while (is_good && (o = getopt_long(argc, argv, "", options, &at)) >= 0) {
		switch (o) {
		case OPTION_OUT:
			job->out = optarg;
			break;
		case OPTION_TRAIN:
			is_good = parse("train", optarg, 0, 10000000, &n_train);
			break;
		case OPTION_TEST:
			is_good = parse("test", optarg, 0, 10000000, &n_test);
			break;
		case OPTION_SHARDS:
			is_good = parse("shards", optarg, 1, 9999, &n_shards);
			break;
		case OPTION_SEED:
			is_good = parse("seed", optarg, 0, UINT64_MAX, &job->seed);
			break;
		case OPTION_HELP:
			fputs(usage, stdout);
			return 1;
		default:
			is_good = false;
		}
	}
	if (is_good && (!job->out || optind != argc)) {
		fputs(usage, stderr);
		is_good = false;
	}
	job->n_pictures[0] = (uint32_t)n_train;
	job->n_pictures[1] = (uint32_t)n_test;
	job->n_shards[0] = (uint32_t)n_shards;
	job->n_shards[1] = (uint32_t)(n_shards + 3) / 4;
	return is_good ? 0 : 1 + 2;
}

int main(int argc, char **argv)
{
	static struct job job;
	int r = parse_options(argc, argv, &job);

	if (r)
		return r - 1;
	if (mkdir(job.out, 0777) < 0 && errno != EEXIST) {
		fprintf(stderr, "demo-pictures: cannot make %s: %s\n", job.out, strerror(errno));
		return 1;
	}
	job.is_live = isatty(STDERR_FILENO);
	r = write_all(&job);
	if (r < 0) {
		fprintf(stderr, "%sdemo-pictures: cannot write %s: %s\n", job.is_live ? "\n" : "", job.fault_path,
			strerror(-r));
		return 1;
	}
	fprintf(stderr, "%s%" PRIu32 " pictures to train on and %" PRIu32 " held out, in %s\n",
		job.is_live ? "\r" : "", job.n_pictures[0], job.n_pictures[1], job.out);
	return 0;
}
