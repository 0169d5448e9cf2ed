/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * demo-train: trains a small classifier on lent batches, and is the example of a trainer in C.
 *
 *     open a session · borrow a batch · use its arrays where they lie · release it · -ENODATA: epoch over
 *
 * A second session feeds the held-out pictures, in file order. With --feed-only it takes the batches
 * of any feed and does nothing with them.
 */
#include "feed.h"
#include "net.h"
#include "table.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_STOPPED = 130, WARM_UP_STEPS = 60 };

struct wishes {
	const char *socket, *feed, *heldout;
	bool is_feed_only;
	int64_t n_epochs, n_threads, seed, least_percent;
	double rate, seconds;
};

/* Where the training is: steps taken, and all that there will be. */
struct course {
	int64_t step, n_steps;
};

struct tally {
	double loss;
	int64_t n, n_right;
	double start_s, shown_s;
};

static volatile sig_atomic_t stop;

static void ask_to_stop(int number)
{
	stop = number;
}

/* The lent arrays of a batch, or NULLs: what the net can train on is checked, not assumed. */
static int lent_pictures(const struct rf_batch *b, const float **ret_pictures, const int64_t **ret_labels)
{
	const uint8_t *is_valid = rf_batch_valid(b);
	int64_t n = rf_batch_n_rows(b);
	struct rf_array image, label;

	if (rf_batch_array(b, "image", &image) < 0 || strcmp(image.dtype, "float32") != 0 ||
	    image.n_dims != 4 || image.shape[1] != NET_CHANNELS || image.shape[2] != NET_SIDE ||
	    image.shape[3] != NET_SIDE || image.shape[0] < n) {
		fprintf(stderr, "demo-train: field image must be float32, chw, %d × %d × %d\n", NET_CHANNELS,
			NET_SIDE, NET_SIDE);
		return FEED_E_FAILED;
	}
	if (rf_batch_array(b, "label", &label) < 0 || strcmp(label.dtype, "int64") != 0 || label.n_dims != 1 ||
	    label.shape[0] < n) {
		fprintf(stderr, "demo-train: field label must be int64, one number a sample\n");
		return FEED_E_FAILED;
	}
	*ret_pictures = image.data;
	*ret_labels = label.data;
	for (int64_t i = 0; i < n; i++) {
		if (is_valid[i] && (*ret_labels)[i] >= 0 && (*ret_labels)[i] < NET_CLASSES)
			continue;
		fprintf(stderr, "demo-train: a sample that cannot be trained on: %s\n",
			is_valid[i] ? "its label is not a class" : "it is not valid");
		return FEED_E_FAILED;
	}
	return 0;
}

static void show(const struct feed *f, int64_t epoch, const struct wishes *w, struct tally *t)
{
	double now = feed_clock_s();
	char a[TABLE_NUMBER], b[TABLE_NUMBER], c[TABLE_NUMBER];

	if (now - t->shown_s < .1 || t->n == 0)
		return;
	t->shown_s = now;
	printf("\repoch %" PRId64 " of %" PRId64 ": %s of %s pictures, loss %.3f, right %.1f %%, %s/s  ", epoch,
	       w->n_epochs, table_number(t->n, a), table_number(f->n_samples, b), t->loss / (double)t->n,
	       100. * (double)t->n_right / (double)t->n,
	       table_number((int64_t)((double)t->n / (now - t->start_s)), c));
	fflush(stdout);
}

/* Up from nothing over the first steps, then down along half a cosine. */
static double rate_at(const struct wishes *w, const struct course *c)
{
	double warm = c->step < WARM_UP_STEPS ? (double)(c->step + 1) / WARM_UP_STEPS : 1;
	double share = c->step < c->n_steps ? (double)c->step / (double)c->n_steps : 1;

	return w->rate * warm * .5 * (1 + cos(M_PI * share));
}

static int train_epoch(struct net *net, struct feed *f, int64_t epoch, const struct wishes *w,
		       struct course *course, struct tally *t)
{
	bool is_live = isatty(STDOUT_FILENO);
	const int64_t *labels;
	const float *pictures;
	struct net_score score;
	struct rf_batch *b;
	int r;

	*t = (struct tally){.start_s = feed_clock_s()};
	while ((r = feed_next(f, &b)) == 0) {
		int64_t n = rf_batch_n_rows(b);

		r = lent_pictures(b, &pictures, &labels);
		if (r == 0 && n > 0) {
			net_gradient(net, pictures, labels, (size_t)n, &score);
			net_update(net, rate_at(w, course));
			course->step++;
			t->loss += score.loss;
			t->n_right += (int64_t)score.n_right;
			t->n += n;
		}
		rf_batch_release(b);
		if (r)
			return r;
		if (is_live)
			show(f, epoch, w, t);
	}
	return r == FEED_E_OVER ? feed_end_epoch(f) : r;
}

static int score_epoch(struct net *net, struct feed *f, struct tally *t)
{
	const int64_t *labels;
	const float *pictures;
	struct net_score score;
	struct rf_batch *b;
	int r;

	*t = (struct tally){0};
	while ((r = feed_next(f, &b)) == 0) {
		r = lent_pictures(b, &pictures, &labels);
		if (r == 0) {
			net_score(net, pictures, labels, (size_t)rf_batch_n_rows(b), &score);
			t->loss += score.loss;
			t->n_right += (int64_t)score.n_right;
			t->n += rf_batch_n_rows(b);
		}
		rf_batch_release(b);
		if (r)
			return r;
	}
	return r == FEED_E_OVER ? feed_end_epoch(f) : r;
}

static double percent(const struct tally *t)
{
	return t->n > 0 ? 100. * (double)t->n_right / (double)t->n : 0;
}

static int train(const struct wishes *w, struct net *net, struct feed *f, struct feed *heldout,
		 const struct feed_place *place)
{
	struct course course = {.n_steps = w->n_epochs * rf_session_n_batches(f->session)};
	struct tally learnt = {0}, held = {0};
	double busy_s = 0;
	char a[TABLE_NUMBER];
	int r = 0;

	for (int64_t epoch = 1; r == 0 && epoch <= w->n_epochs; epoch++) {
		double seconds;

		r = train_epoch(net, f, epoch, w, &course, &learnt);
		seconds = feed_clock_s() - learnt.start_s;
		busy_s += seconds;
		if (r == 0)
			r = score_epoch(net, heldout, &held);
		if (r)
			break;
		printf("%sepoch %" PRId64 " of %" PRId64 ": loss %.3f, right %.1f %%, held out %.1f %%, %s pictures/s"
		       "            \n",
		       isatty(STDOUT_FILENO) ? "\r" : "", epoch, w->n_epochs,
		       learnt.n > 0 ? learnt.loss / (double)learnt.n : 0, percent(&learnt), percent(&held),
		       table_number((int64_t)((double)learnt.n / seconds), a));
		fflush(stdout);
	}
	if (r == 0 || r == FEED_E_STOPPED)
		table_print(place, f, heldout, busy_s);
	if (r == 0 && percent(&held) < (double)w->least_percent) {
		fprintf(stderr, "demo-train: %.1f %% of the held-out pictures are right, %" PRId64 " %% were wanted\n",
			percent(&held), w->least_percent);
		r = FEED_E_FAILED;
	}
	return r;
}

static int run_training(const struct wishes *w, struct feed *f, const struct feed_place *place)
{
	struct feed_place heldout_place = *place;
	struct feed heldout = {0};
	struct net *net = NULL;
	int r;

	heldout_place.name = w->heldout;
	r = feed_open(&heldout_place, &stop, &heldout);
	if (r)
		return r;
	r = net_new((uint64_t)w->seed, (int)w->n_threads, &net);
	if (r < 0)
		fprintf(stderr, "demo-train: %s\n", strerror(-r));
	r = r < 0 ? FEED_E_FAILED : train(w, net, f, &heldout, place);
	net_free(net);
	feed_close(&heldout);
	return r;
}

/* Until the epochs or the seconds are over. */
static int run_feed_only(const struct wishes *w, struct feed *f, const struct feed_place *place)
{
	struct tally t = {.start_s = feed_clock_s()};
	bool is_live = isatty(STDOUT_FILENO);
	char a[TABLE_NUMBER], b[TABLE_NUMBER];
	double now = t.start_s;
	int r = 0;

	while (f->n_epochs < w->n_epochs && (w->seconds <= 0 || now - t.start_s < w->seconds)) {
		struct rf_batch *batch;

		r = feed_next(f, &batch);
		if (r == 0)
			rf_batch_release(batch);
		else if (r == FEED_E_OVER)
			r = feed_end_epoch(f);
		if (r)
			break;
		now = feed_clock_s();
		if (is_live && now - t.shown_s >= .1) {
			printf("\r%s samples, %s/s  ", table_number(f->n_rows, a),
			       table_number((int64_t)((double)f->n_rows / (now - t.start_s)), b));
			fflush(stdout);
			t.shown_s = now;
		}
	}
	if (r == 0 || r == FEED_E_STOPPED)
		table_print(place, f, NULL, feed_clock_s() - t.start_s);
	return r;
}

static const char usage[] =
	"usage: demo-train [OPTION…]\n"
	"\n"
	"Trains a small convolutional classifier on batches lent by a ringfeed daemon: field image float32 chw\n"
	"3 × 48 × 48, field label int64 from 0 to 9.\n"
	"\n"
	"  --socket PATH      of the daemon (default: RINGFEED_SOCKET, else the default socket)\n"
	"  --feed NAME        feed to train on (default train)\n"
	"  --heldout NAME     feed to measure on after each epoch (default heldout)\n"
	"  --epochs N         passes over the feed (default 7; with --feed-only 1)\n"
	"  --rate R           learning rate (default 0.003)\n"
	"  --threads N        threads of the trainer (default: the CPUs it may use, at most 4)\n"
	"  --seed N           of the first weights (default 1)\n"
	"  --least PERCENT    fail when fewer held-out pictures are right in the end\n"
	"  --feed-only        take the batches of any feed and do nothing with them\n"
	"  --seconds S        with --feed-only: stop after so many seconds\n"
	"  --help             this text\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n";

static const struct option options[] = {
	{"socket", required_argument, NULL, 's'},  {"feed", required_argument, NULL, 'f'},
	{"heldout", required_argument, NULL, 'o'}, {"epochs", required_argument, NULL, 'e'},
	{"rate", required_argument, NULL, 'r'},	   {"threads", required_argument, NULL, 't'},
	{"seed", required_argument, NULL, 'n'},	   {"least", required_argument, NULL, 'l'},
	{"feed-only", no_argument, NULL, 'F'},	   {"seconds", required_argument, NULL, 'S'},
	{"help", no_argument, NULL, 'h'},	   {0},
};

static bool parse_whole(const char *text, int64_t least, int64_t most, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	return end != text && *end == 0 && errno == 0 && *ret >= least && *ret <= most;
}

static bool parse_real(const char *text, double least, double most, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	return end != text && *end == 0 && *ret >= least && *ret <= most;
}

static bool parse_option(int o, struct wishes *w)
{
	switch (o) {
	case 's':
		w->socket = optarg;
		return true;
	case 'f':
		w->feed = optarg;
		return true;
	case 'o':
		w->heldout = optarg;
		return true;
	case 'e':
		return parse_whole(optarg, 1, 1000000, &w->n_epochs);
	case 'r':
		return parse_real(optarg, 1e-9, 10, &w->rate);
	case 't':
		return parse_whole(optarg, 1, 64, &w->n_threads);
	case 'n':
		return parse_whole(optarg, 0, INT64_MAX, &w->seed);
	case 'l':
		return parse_whole(optarg, 0, 100, &w->least_percent);
	case 'S':
		return parse_real(optarg, .1, 1e9, &w->seconds);
	case 'F':
		w->is_feed_only = true;
		return true;
	default:
		return false;
	}
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct wishes *w)
{
	int o, at = 0;

	while ((o = getopt_long(argc, argv, "", options, &at)) >= 0) {
		if (o == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (!parse_option(o, w)) {
			if (o != '?')
				fprintf(stderr, "demo-train: --%s %s: not a number in its range\n",
					options[at].name, optarg);
			return EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (w->n_epochs == 0)
		w->n_epochs = w->is_feed_only ? 1 : 7;
	return -1;
}

static int cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

int main(int argc, char **argv)
{
	struct wishes w = {.feed = "train", .heldout = "heldout", .n_threads = cpus(), .rate = .003, .seed = 1};
	const struct sigaction stopping = {.sa_handler = ask_to_stop};
	struct feed_place place;
	struct feed f = {0};
	char group[32];
	int r = parse_options(argc, argv, &w);

	if (r >= 0)
		return r;
	sigaction(SIGINT, &stopping, NULL);
	sigaction(SIGTERM, &stopping, NULL);
	snprintf(group, sizeof(group), "demo-%d", (int)getpid());
	place = (struct feed_place){w.socket, group, w.feed};
	r = feed_open(&place, &stop, &f);
	if (r == 0)
		r = w.is_feed_only ? run_feed_only(&w, &f, &place) : run_training(&w, &f, &place);
	feed_close(&f);
	if (r == FEED_E_STOPPED) {
		fprintf(stderr, "demo-train: stopped\n");
		return EXIT_STOPPED;
	}
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
