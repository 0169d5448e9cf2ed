/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The daemon's side of the workers: channels, tasks out, answers in, and a new worker for every one that
 * dies. One that dies again and again as soon as it starts is started ever later, up to a second.
 */
#include "serve/daemon.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RESPAWN_LEAST_MS = 5, RESPAWN_MOST_MS = 1000, DEATHS_AT_START_MAX = 10 };

void workers_spawn(struct daemon *d, unsigned worker)
{
	struct helper *h = &d->helpers[worker];

	h->respawn_ns = 0;
	if (parent_spawn(&d->parent, worker, &h->channel) < 0 ||
	    daemon_watch(d, h->channel, EPOLLIN, WATCH_WORKER, worker) < 0) {
		log_error("workers", "worker %u cannot be started: %s", worker, strerror(errno));
		if (h->channel >= 0)
			close(h->channel);
		h->channel = -1;
		h->respawn_ns = d->now_ns + UINT64_C(1000000) * RESPAWN_MOST_MS;
	}
}

static bool is_any_up(const struct daemon *d)
{
	for (unsigned i = 0; i < d->n_workers; i++)
		if (d->helpers[i].is_up)
			return true;
	return false;
}

/* No worker ever gets as far as its first task: waiting longer would only hide why. */
static void give_up(struct daemon *d, unsigned worker)
{
	log_error("workers", "worker %u died %u times while starting and no other one runs: the daemon ends; what the "
		  "workers said is above", worker, d->helpers[worker].n_quick_deaths);
	d->is_ending = true;
	d->has_failed = true;
}

/* The oldest task in its hand is over; it began when it came, or when the one before was answered. */
static void note(struct daemon *d, struct helper *h, bool has_failed)
{
	struct trace_work *w = &h->hands[0];

	if (h->n_hands == 0)
		return;
	if (w->begun_ns < h->answered_ns)
		w->begun_ns = h->answered_ns;
	w->ended_ns = h->answered_ns = d->now_ns;
	w->has_failed = has_failed;
	trace_work(&d->trace, w);
	memmove(&h->hands[0], &h->hands[1], --h->n_hands * sizeof(h->hands[0]));
}

static void lost(struct daemon *d, unsigned worker)
{
	struct helper *h = &d->helpers[worker];
	uint64_t wait_ms = RESPAWN_LEAST_MS;

	close(h->channel);
	h->channel = -1;
	h->n_quick_deaths = h->is_up ? 0 : h->n_quick_deaths + 1;
	for (unsigned i = 0; i < h->n_quick_deaths && wait_ms < RESPAWN_MOST_MS; i++)
		wait_ms *= 2;
	h->respawn_ns = worker < d->n_wanted ? d->now_ns + wait_ms * 1000000 : 0;
	h->pid = 0;
	if (!h->is_up) {
		if (h->n_quick_deaths >= DEATHS_AT_START_MAX && !is_any_up(d))
			give_up(d, worker);
		return;
	}
	h->is_up = false;
	note(d, h, true);
	h->n_hands = 0;
	core_on_worker_dead(d->core, d->now_ns, worker);
	daemon_act(d);
}

/* A worker that is not wanted any more: it ends when its channel does. */
static void retire(struct daemon *d, unsigned worker)
{
	struct helper *h = &d->helpers[worker];

	close(h->channel);
	h->channel = -1;
	h->pid = 0;
	if (!h->is_up)
		return;
	h->is_up = false;
	core_on_worker_dead(d->core, d->now_ns, worker);
	daemon_act(d);
}

static void retire_idle(struct daemon *d)
{
	for (unsigned i = d->n_wanted; i < d->n_workers; i++)
		if (d->helpers[i].channel >= 0 && (!d->helpers[i].is_up || core_worker_is_idle(d->core, i)))
			retire(d, i);
}

void workers_set(struct daemon *d, unsigned n)
{
	d->n_wanted = n;
	core_set_workers(d->core, d->now_ns, n);
	daemon_act(d);
	for (unsigned i = 0; i < n; i++)
		if (d->helpers[i].channel < 0 && !d->helpers[i].respawn_ns)
			workers_spawn(d, i);
	for (unsigned i = n; i < d->n_workers; i++)
		d->helpers[i].respawn_ns = 0;
	retire_idle(d);
}

void workers_time(struct daemon *d)
{
	for (unsigned i = 0; i < d->n_workers; i++)
		if (d->helpers[i].respawn_ns && d->helpers[i].respawn_ns <= d->now_ns)
			workers_spawn(d, i);
}

/* CPU time, not the clock's: a crowded or a sleeping machine makes no sample late. */
void workers_clock(struct daemon *d)
{
	for (unsigned i = 0; i < d->n_workers; i++) {
		const struct helper *h = &d->helpers[i];
		struct timespec used;
		clockid_t clock;

		if (!h->is_up || !h->n_hands || h->pid <= 0 || clock_getcpuclockid(h->pid, &clock) != 0 ||
		    clock_gettime(clock, &used) < 0)
			continue;
		core_on_worker_cpu(d->core, d->now_ns, i, (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec);
	}
	daemon_act(d);
}

void workers_news(struct daemon *d)
{
	struct parent_news news;
	int r;

	while ((r = parent_listen(&d->parent, &news)) == 0) {
		if (news.kind == PARENT_HOLDERS)
			holders_found(d, &news);
		if (news.kind == PARENT_HOLDERS || news.worker >= d->n_workers)
			continue;
		if (news.kind == PARENT_STARTED && d->helpers[news.worker].channel >= 0) {
			d->helpers[news.worker].pid = news.pid;
			log_debug("workers", "worker %u is pid %d", news.worker, news.pid);
		} else if (news.kind == PARENT_NO_FORK) {
			log_error("workers", "worker %u cannot be forked: %s", news.worker,
				  strerror(news.status));
		} else if (WIFSIGNALED(news.status) && !d->is_ending) {
			log_warn("workers", "worker %u (pid %d) was ended by signal %d (%s); another one starts",
				 news.worker, news.pid, WTERMSIG(news.status),
				 strsignal(WTERMSIG(news.status)));
		}
	}
	if (r == -ECONNRESET && !d->is_ending) {
		log_error("workers", "the clean parent is dead: no worker can be started any more");
		d->is_ending = true;
		d->has_failed = true;
	}
}

void workers_answer(struct daemon *d, unsigned worker)
{
	struct helper *h = &d->helpers[worker];
	_Alignas(8) char bytes[WORKER_PACKET_MAX];
	ssize_t n;

	if (h->channel < 0)
		return; /* an event of a channel closed in this same round */
	n = recv(h->channel, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost(d, worker);
	} else if (!h->is_up) {
		h->is_up = true; /* the first packet says so */
		core_on_worker_up(d->core, d->now_ns, worker);
	} else if (!core_on_answer(d->core, d->now_ns, worker, bytes, (size_t)n)) {
		log_warn("workers", "worker %u gave an answer that cannot be: it is replaced", worker);
		workers_kill(d, worker);
	} else {
		note(d, h, false);
	}
	daemon_act(d);
	if (worker >= d->n_wanted)
		retire_idle(d);
}

static struct trace_work taken_up(const struct daemon *d, unsigned worker, const struct task *task)
{
	const struct task_inflate *piece = (const struct task_inflate *)(task + 1);
	struct trace_work w = {.begun_ns = d->now_ns, .who = worker, .feed = task->feed};

	if (task->kind == TASK_INFLATE) {
		w.kind = TRACE_INFLATE;
		w.place = piece->unit;
		w.size = (uint32_t)piece->n_bytes; /* a part of one read */
	} else {
		w.kind = TRACE_TASK;
		w.place = task->slot;
		w.size = task->n_samples;
	}
	return w;
}

void workers_task(struct daemon *d, const struct core_action *a)
{
	_Alignas(8) char bytes[WORKER_PACKET_MAX];
	struct helper *h = &d->helpers[a->task.worker];
	size_t n = core_task_message(d->core, a->task.worker, a->task.id, bytes, sizeof(bytes));

	if (n && h->n_hands < CORE_HAND)
		h->hands[h->n_hands++] = taken_up(d, a->task.worker, (const struct task *)bytes);
	/* A worker that is dying does not take it; its end comes as an event and gives the task back. */
	if (n && send(h->channel, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EAGAIN)
		workers_kill(d, a->task.worker);
}

void workers_kill(struct daemon *d, unsigned worker)
{
	log_warn("workers", "worker %u (pid %d) is ended: it answers late or wrong", worker,
		 d->helpers[worker].pid);
	parent_kill(&d->parent, worker);
}
