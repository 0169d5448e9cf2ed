/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The loop: wait, turn what happened into events, carry out the actions. Nothing in it blocks but
 * epoll_wait.
 */
#include "serve/daemon.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EVENTS = 16 /* a turn */, TICK_NS = 100000000 /* 100 ms: footprint, respawns */ };
#define STEPS_NS UINT64_C(10000000000)

int daemon_watch(struct daemon *d, int fd, uint32_t events, enum watch what, uint32_t number)
{
	struct epoll_event e = {.events = events, .data.u64 = (uint64_t)what << 32 | number};

	if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &e) == 0)
		return 0;
	return fail(-errno);
}

static void carry_out(struct daemon *d)
{
	struct core_action a;

	while (core_next(d->core, &a)) {
		switch (a.kind) {
		case CORE_READ:
			reads_start(d, &a);
			break;
		case CORE_TASK:
			workers_task(d, &a);
			break;
		case CORE_KILL_WORKER:
			workers_kill(d, a.task.worker);
			break;
		case CORE_LEND:
			session_lend(d, &a);
			break;
		case CORE_EPOCH_END:
			session_epoch_end(d, &a);
			break;
		case CORE_FAIL:
			session_fail(d, &a);
			break;
		case CORE_BAD:
			ledger_write(d, &a);
			break;
		case CORE_GONE:
			session_gone(d, a.stream);
			break;
		case CORE_PEER_GONE:
			session_peer_gone(d, &a);
			break;
		case CORE_MENDED:
			ledger_mended(d, &a);
			break;
		}
	}
}

void daemon_act(struct daemon *d)
{
	carry_out(d);
	while (d->n_failed_reads) {
		reads_failed(d);
		carry_out(d);
	}
}

void daemon_glance(struct daemon *d)
{
	core_on_time(d->core, d->now_ns);
	daemon_act(d);
}

static void take_signal(struct daemon *d)
{
	struct signalfd_siginfo info;

	if (read(d->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		reload_take(d);
		return;
	}
	if (d->is_ending)
		_exit(1); /* the second one: at once */
	log_info("serve", "ending on signal %u", info.ssi_signo);
	d->is_ending = true;
}

static void handle(struct daemon *d, const struct epoll_event *e)
{
	uint32_t number = (uint32_t)e->data.u64;

	switch ((enum watch)(e->data.u64 >> 32)) {
	case WATCH_LISTEN:
		listen_accept(d);
		break;
	case WATCH_SIGNAL:
		take_signal(d);
		break;
	case WATCH_READS:
		reads_reap(d);
		break;
	case WATCH_PARENT:
		workers_news(d);
		break;
	case WATCH_WORKER:
		workers_answer(d, number);
		break;
	case WATCH_CLIENT:
		session_hear(d, number, e->events);
		break;
	case WATCH_BELL:
		session_hear_bell(d, number);
		break;
	case WATCH_EXIT:
		session_exited(d, number);
		break;
	case WATCH_WEB:
		web_run(d->web, d->now_ns);
		break;
	}
}

/* A daemon of its trainers' own ends when they have gone. */
static void watch_idleness(struct daemon *d)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (d->sessions[i].state != SESSION_NONE)
			d->used_ns = d->now_ns;
	if (d->now_ns - d->used_ns < d->idle_ns)
		return;
	log_info("serve", "ending: no client for %llu s", (unsigned long long)(d->idle_ns / 1000000000));
	d->is_ending = true;
}

static void tick(struct daemon *d)
{
	if (d->now_ns >= core_deadline(d->core))
		daemon_glance(d);
	workers_time(d);
	if (d->now_ns - d->ticked_ns >= TICK_NS) {
		d->ticked_ns = d->now_ns;
		footprint_sample(d);
		workers_clock(d);
		session_time(d);
		listen_again(d);
		snapshot_time(d);
		web_run(d->web, d->now_ns);
		if (d->idle_ns)
			watch_idleness(d);
	}
	holders_look(d);
}

/* What began at d->now_ns is over. */
static void note_step(struct daemon *d, uint64_t now_ns)
{
	if (now_ns - d->step_turned_ns >= STEPS_NS) {
		d->step_turned_ns = now_ns;
		d->step_ns_max[1] = d->step_ns_max[0];
		d->step_ns_max[0] = 0;
	}
	if (now_ns - d->now_ns > d->step_ns_max[0])
		d->step_ns_max[0] = now_ns - d->now_ns;
}

static int until_next(const struct daemon *d, int most_ms)
{
	uint64_t deadline = core_deadline(d->core), tick_at = d->ticked_ns + TICK_NS, ms;

	if (deadline > tick_at)
		deadline = tick_at;
	if (deadline > watchdog_deadline(&d->watchdog))
		deadline = watchdog_deadline(&d->watchdog);
	ms = deadline <= d->now_ns ? 0 : (deadline - d->now_ns) / 1000000 + 1;
	return ms < (uint64_t)most_ms ? (int)ms : most_ms;
}

void daemon_begin(struct daemon *d)
{
	d->used_ns = d->now_ns = d->step_turned_ns = clock_ns();
	watchdog_init(&d->watchdog);
}

int daemon_turn(struct daemon *d, int most_ms)
{
	struct epoll_event events[EVENTS];
	uint64_t now_ns;
	int n;

	io_engine_flush(d->engine);
	now_ns = clock_ns();
	note_step(d, now_ns);
	d->now_ns = now_ns;
	watchdog_step(&d->watchdog, now_ns);
	n = epoll_wait(d->epoll, events, EVENTS, until_next(d, most_ms));
	if (n < 0 && errno != EINTR)
		return fail(-errno);
	d->now_ns = clock_ns();
	for (int i = 0; i < n; i++)
		handle(d, &events[i]);
	tick(d);
	return 0;
}

int daemon_loop(struct daemon *d)
{
	int r = 0;

	daemon_begin(d);
	while (r == 0 && !d->is_ending)
		r = daemon_turn(d, INT_MAX);
	return r < 0 ? pass(r) : 0;
}
