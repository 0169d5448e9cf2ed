/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The start, in the order that memory and fork demand: datasets (whose engine is gone again when they
 * are open), plan, checks against the machine, memory, the clean parent; only then the ring, the
 * core and the workers. What the sandbox can do is tried out before anything is large, and holds for each process from
 * the moment that it has what it needs. The socket is first of all, so that two daemons never do all that at once;
 * nobody is accepted before the loop.
 */
#include "serve/daemon.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "batch/machine.h"
#include "worker/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	OWN_DESCRIPTORS = 64,	/* engine, signals, log, ledger, status page, workers' own */
	EASY_SESSIONS = 16,	/* for so many there is room; more find it or are turned away */
	SESSION_DESCRIPTORS = 3, /* socket, pidfd, bell */
};

/* ---- before the fork ---- */

static int open_datasets(struct daemon *d, struct reason *why)
{
	d->feeds = calloc(d->config->n_feeds, sizeof(*d->feeds));
	d->datasets = calloc(d->config->n_feeds, sizeof(*d->datasets));
	d->worker_feeds = calloc(d->config->n_feeds, sizeof(*d->worker_feeds));
	if (!d->feeds || !d->datasets || !d->worker_feeds)
		return fail(-ENOMEM);
	d->n_feeds = (unsigned)d->config->n_feeds;
	for (unsigned i = 0; i < d->n_feeds; i++) {
		struct served_feed *f = &d->feeds[i];
		int r = 0;

		f->config = &d->config->feeds[i];
		f->dataset = &d->datasets[f->config->base]; /* a view's is there already */
		if (f->config->base == i)
			r = dataset_open(d->config, f->config, NULL, NULL, f->dataset, why);
		if (r)
			return r;
		dataset_order(f->config, f->dataset, &f->order);
		f->n_positions = dataset_length(f->config, f->dataset);
		f->token.seed = f->order.seed;
		f->token.order_hash = token_order_hash(&f->order);
		memcpy(f->token.fingerprint, f->dataset->samples.fingerprint, sizeof(f->token.fingerprint));
		if (f->config->base == i)
			log_info("serve", "feed %s: %llu samples in %zu shards", f->config->name,
				 (unsigned long long)f->dataset->samples.n_samples, f->dataset->samples.n_shards);
		else
			log_info("serve", "feed %s: a view of %s", f->config->name, d->feeds[f->config->base].config->name);
	}
	return 0;
}

static void print_plan(const struct plan *plan)
{
	int width = plan_name_width(plan);
	char line[300], total[32], budget[32];

	for (size_t i = 0; i < plan->n_lines; i++) {
		plan_line_print(&plan->lines[i], width, line, sizeof(line));
		log_info("memory", "%s", line);
	}
	plan_bytes_print(plan->total, total, sizeof(total));
	plan_bytes_print(plan->memory, budget, sizeof(budget));
	log_info("memory", "%s of %s planned", total, budget);
}

static int plan_memory(struct daemon *d, struct reason *why)
{
	struct machine_limit limit;
	int r = planning_make(d->config, d->datasets, &d->planning, why);

	if (r)
		return r;
	print_plan(&d->planning.plan);
	d->n_workers = d->n_wanted = d->planning.n_workers;
	log_info("serve", "%u workers (%s)", d->n_workers, d->planning.workers_text);
	machine_memory("", &limit);
	return machine_check_memory(&limit, d->planning.plan.total, why) ? SERVE_E_REFUSED : 0;
}

/* Against who is of our own uid: he may not reach the slots through us or our workers (/proc/PID/mem and fd, ptrace) either. */
static int seal_slots(struct daemon *d, struct reason *why)
{
	int r = 0;

	if (!d->config->daemon.is_sealed)
		return 0;
	for (unsigned i = 0; r == 0 && i < d->n_feeds; i++)
		for (uint32_t k = 0; r == 0 && k < d->feeds[i].pool.n; k++)
			r = memory_seal(&d->feeds[i].pool.list[k]);
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0) == 0)
		return 0;
	if (r == 0)
		reason_set(why, "daemon.sealed: memory cannot be hidden from debuggers: %s", strerror(errno));
	else
		reason_set(why, "daemon.sealed: this kernel does not seal memory against writing (Linux 5.1 does): %s",
			   strerror(-r));
	return SERVE_E_REFUSED;
}

static int make_memory(struct daemon *d)
{
	const struct planning *p = &d->planning;
	int r = memory_new("ringfeed-staging", p->read_bytes + p->inflated_bytes, &d->staging);

	for (unsigned i = 0; r == 0 && i < d->n_feeds; i++) {
		struct served_feed *f = &d->feeds[i];

		f->layout = d->planning.layouts[i];
		r = slots_init(d->planning.core_feeds[i].n_slots, f->layout.n_bytes, &f->pool);
		d->worker_feeds[i] = (struct worker_feed){
			.name = f->config->name, .base = d->planning.core_feeds[i].base, .pipeline = &f->config->pipeline, .samples = &f->dataset->samples,
			.layout = f->layout, .slots = f->pool.list, .n_slots = f->pool.n};
	}
	d->shared_bytes = r ? 0 : memory_resident(d->staging.fd);
	for (unsigned i = 0; r == 0 && i < d->n_feeds; i++)
		d->shared_bytes += slots_resident(&d->feeds[i].pool);
	d->setup = (struct worker_setup){.feeds = d->worker_feeds, .n_feeds = d->n_feeds,
					 .area = d->staging, .read_bytes = p->read_bytes,
					 .scratch_bytes = SCRATCH_BYTES,
					 .nice = (int)d->config->daemon.nice, .sandbox = d->sandbox.means};
	return r;
}

/* Raises the limit to the hard one, and refuses to start with less than n. */
static int take_descriptors(uint64_t n, uint64_t n_slots, struct reason *why)
{
	struct rlimit files;
	char slots[80] = "";

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return fail(-errno);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max >= n)
		return 0;
	if (n_slots)
		snprintf(slots, sizeof(slots), ", %llu of them for the slots that daemon.memory gives", (unsigned long long)n_slots);
	reason_set(why, "%llu descriptors are needed%s, and the limit is %llu: raise it (ulimit -Hn, systemd: LimitNOFILE=, Docker: "
		   "--ulimit nofile=)", (unsigned long long)n, slots, (unsigned long long)files.rlim_max);
	return SERVE_E_REFUSED;
}

/* The kernel's table of descriptors grows as they come, and where there are threads each growth waits for all CPUs,
 * 10 ms and more: it grows now, before there are any, to what the loop may ever need. */
static void grow_table(uint64_t n)
{
	struct rlimit files;
	int top;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	n = n < files.rlim_max ? n : files.rlim_max;
	top = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)n - 1);
	if (top >= 0)
		close(top);
}

static int take_all_descriptors(const struct daemon *d, struct reason *why)
{
	uint64_t n_slots = 0, n_shards = 0, others;
	int r;

	for (unsigned i = 0; i < d->n_feeds; i++) {
		n_slots += d->planning.core_feeds[i].n_slots;
		n_shards += d->planning.core_feeds[i].base == i ? d->feeds[i].dataset->samples.n_shards : 0;
	}
	if (n_shards > OPEN_SHARDS_MAX)
		n_shards = OPEN_SHARDS_MAX + FILES_CLOSING_MAX;
	others = OWN_DESCRIPTORS + d->n_workers + n_shards + n_slots;
	r = take_descriptors(others + EASY_SESSIONS * SESSION_DESCRIPTORS, n_slots, why);
	if (r == 0)
		grow_table(others + SESSIONS_MAX * SESSION_DESCRIPTORS);
	return r;
}

/* ---- after it ---- */

static int open_engine(struct daemon *d, struct reason *why)
{
	struct memory read_part = d->staging;
	struct reason refused = {{0}};
	int r;

	read_part.n_bytes = d->planning.read_bytes;
	r = io_engine_new((enum io_kind)d->config->daemon.io, CORE_FLYING_MAX(READS_IN_FLIGHT) + FILES_CLOSING_MAX,
			  &read_part, &d->engine, &refused);
	if (r < 0) {
		if (!*refused.text)
			return pass(r);
		reason_set(why, "daemon.io is uring, but %s", refused.text);
		return SERVE_E_REFUSED;
	}
	snprintf(d->io_reason, sizeof(d->io_reason), "%s", refused.text);
	if (*refused.text)
		log_warn("reads", "reading with threads: %s", refused.text);
	return daemon_watch(d, io_engine_fd(d->engine), EPOLLIN, WATCH_READS, 0);
}

static int open_signals(struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signals < 0)
		return fail(-errno);
	return daemon_watch(d, d->signals, EPOLLIN, WATCH_SIGNAL, 0);
}

static int start_workers(struct daemon *d)
{
	d->helpers = calloc(d->n_workers, sizeof(*d->helpers));
	if (!d->helpers)
		return fail(-ENOMEM);
	for (unsigned i = 0; i < d->n_workers; i++)
		d->helpers[i].channel = -1;
	for (unsigned i = 0; i < d->n_workers; i++)
		workers_spawn(d, i);
	return daemon_watch(d, d->parent.fd, EPOLLIN, WATCH_PARENT, 0);
}

static int choose_socket(struct daemon *d, const struct serve_options *options, struct reason *why)
{
	const char *path = options->socket ? options->socket : d->config->daemon.socket;
	char standard[4096];

	if (!path) {
		if (config_default_socket(standard, sizeof(standard)) < 0)
			return fail(-ENAMETOOLONG);
		path = standard;
		d->is_default_socket = true;
	}
	if (strlen(path) >= sizeof(d->socket_path)) {
		reason_set(why, "daemon.socket: %s is %zu bytes long, a socket's path may have %zu", path,
			   strlen(path), sizeof(d->socket_path) - 1);
		return SERVE_E_REFUSED;
	}
	snprintf(d->socket_path, sizeof(d->socket_path), "%s", path);
	return 0;
}

static int check_kernels(struct reason *why)
{
	char usable[64];

	if (maker_kernels())
		return 0;
	maker_kernels_list(usable, sizeof(usable));
	reason_set(why, "RINGFEED_KERNELS is \"%s\", this CPU has %s", getenv("RINGFEED_KERNELS"), usable);
	return SERVE_E_REFUSED;
}

static int take_cpus(const struct config *config, struct reason *why)
{
	if (machine_stay_on(config->daemon.cpus, CPUS_MAX / 64))
		return 0;
	reason_set(why, "daemon.cpus: this process may run on none of them; `taskset -cp $$` tells on which it may");
	return SERVE_E_REFUSED;
}

static int take_address(struct daemon *d, struct reason *why)
{
	const char *address = d->config->daemon.metrics;
	int r = *address ? web_listen(address, &d->web, why) : 0;

	return r == WEB_E_REFUSED ? SERVE_E_REFUSED : r;
}

static int open_web(struct daemon *d, struct reason *why)
{
	int fd, r;

	if (!d->web)
		return 0;
	r = web_start(d->web, snapshot_take, d, &fd, why);
	if (r)
		return r == WEB_E_REFUSED ? SERVE_E_REFUSED : r;
	log_info("metrics", "http://%s/ is the status page, http://%s/metrics is for Prometheus", web_address(d->web),
		 web_address(d->web));
	return daemon_watch(d, fd, EPOLLIN, WATCH_WEB, 0);
}

static int open_all(struct daemon *d, struct reason *why)
{
	int r = open_engine(d, why);

	if (r == 0)
		r = snapshot_open(d);
	if (r == 0)
		r = core_new(&d->planning.spec, &d->core);
	if (r == 0)
		r = reads_open(d);
	if (r == 0)
		r = keys_init(&d->keys, d->datasets, d->n_feeds, d->config->daemon.index_cache, why);
	if (r == 0)
		r = open_signals(d);
	if (r == 0)
		r = ledger_open(d, why);
	if (r == 0)
		r = open_web(d, why);
	if (r == 0)
		r = start_workers(d);
	return r;
}

int daemon_start(struct daemon *d, const struct config *config, const struct serve_options *options,
		 struct reason *why)
{
	int r;

	d->config = config;
	d->epoll = d->listener = d->signals = d->lock = d->ledger = -1;
	d->staging.fd = d->parent.fd = -1;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		d->sessions[i].fd = d->sessions[i].exit_fd = d->sessions[i].bell = -1;
	d->started_ns = d->now_ns = clock_ns();
	d->idle_ns = options->idle_ns;
	d->reread = options->reread;
	d->reread_context = options->reread_context;
	d->n_cpus = machine_affinity(config->daemon.cpus, CPUS_MAX / 64);
	r = take_descriptors(OWN_DESCRIPTORS, 0, why);
	if (r == 0)
		r = check_kernels(why);
	if (r == 0)
		r = take_cpus(config, why);
	if (r == 0)
		r = choose_socket(d, options, why);
	if (r)
		return r;
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll < 0)
		return fail(-errno);
	r = listen_open(d, why); /* first: two daemons must not both index and plan */
	if (r == 0)
		r = take_address(d, why);
	if (r == 0)
		r = confining_plan(d, why);
	if (r == 0)
		r = open_datasets(d, why);
	if (r == 0)
		r = plan_memory(d, why);
	if (r == 0)
		r = take_all_descriptors(d, why);
	if (r == 0)
		r = make_memory(d);
	if (r == 0)
		r = seal_slots(d, why);
	if (r == 0)
		r = parent_start(&d->setup, d->n_workers, &d->parent);
	if (r == 0)
		r = confining_files(d);
	if (r == 0)
		r = open_all(d, why);
	return r ? r : confining_calls(d);
}

/* From here on a second signal ends the process at once; workers follow by themselves. */
static void let_signals_kill(const struct daemon *d)
{
	sigset_t set;

	if (d->signals < 0)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void daemon_stop(struct daemon *d)
{
	let_signals_kill(d);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (d->sessions[i].fd >= 0)
			close(d->sessions[i].fd);
	listen_close(d);
	d->web = web_free(d->web);
	for (unsigned i = 0; d->helpers && i < d->n_workers; i++)
		if (d->helpers[i].channel >= 0)
			close(d->helpers[i].channel);
	parent_end(&d->parent);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		free(d->sessions[i].outbox);
	free(d->helpers);
	if (!reads_drain(d)) {
		/* Their buffers are the kernel's until they end; leaving is all that is left to do. */
		log_error("serve", "the storage of a shard does not answer: %u of its reads, openings and closings do not end",
			  io_engine_busy(d->engine));
		_exit(1);
	}
	d->engine = io_engine_free(d->engine);
	keys_deinit(&d->keys);
	d->core = core_free(d->core);
	d->files = files_free(d->files);
	memory_deinit(&d->staging);
	for (unsigned i = 0; i < d->n_feeds; i++) {
		slots_deinit(&d->feeds[i].pool);
		dataset_deinit(&d->datasets[i]);
	}
	planning_deinit(&d->planning);
	snapshot_close(d);
	reload_deinit(&d->reload);
	free(d->feeds);
	free(d->datasets);
	free(d->worker_feeds);
	if (d->signals >= 0)
		close(d->signals);
	if (d->ledger >= 0)
		close(d->ledger);
	if (d->epoll >= 0)
		close(d->epoll);
}
