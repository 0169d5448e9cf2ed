/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What a trainer in C spends beside a running daemon: bench-attach SOCKET FEED COUNT. One number a
 * line on stdout, in nanoseconds, behind the name of what it is; tools/bench/attach makes tables of
 * them.
 *
 *   attach   rf_session_open(): connect to attached, slots mapped (wall)
 *   clock    two looks at the thread's clock with nothing between them (CPU; it is in busy and slept)
 *   busy     rf_session_next() and rf_batch_release() of a batch already sent (CPU), the thread working meanwhile
 *   slept    the same, the thread asleep meanwhile
 *   calls    recv() of a message already there and send() of one to a process that sleeps for it, over a
 *            SOCK_SEQPACKET pair (CPU), the thread working meanwhile
 *   bell     write() to an eventfd that a process sleeps for: the one system call of most turns (CPU), the same
 *   wakeups  a message of 64 bytes to another process and one back, over a SOCK_SEQPACKET pair (wall)
 *   credit   rf_batch_release() and rf_session_next() with credit 1, where the next batch is ready (wall)
 *
 * wakeups and credit take turns, each after PAUSE_NS asleep, so that both find the machine in the
 * same state. Threads: one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ringfeed/ringfeed.h>

enum { PAUSE_NS = 3000000, MESSAGE = 64 };

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void tell(const char *what, int64_t ns)
{
	printf("%s %" PRId64 "\n", what, ns);
}

static void give_up(const char *what, const struct rf_error *e)
{
	fprintf(stderr, "bench-attach: %s: %s: %s\n", what, e->name, e->text);
	exit(1);
}

/* PAUSE_NS, asleep or at work. */
static void rest(int is_busy)
{
	const int64_t end = now_ns(CLOCK_MONOTONIC) + PAUSE_NS;

	if (!is_busy)
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	while (now_ns(CLOCK_MONOTONIC) < end)
		;
}

static struct rf_session *open_session(const char *socket, const char *feed, int credit)
{
	const struct rf_options how = {.size = sizeof(how),
				       .feed = feed,
				       .socket = socket,
				       .credit = credit,
				       .has_rank = 1,
				       .world_size = 1};
	struct rf_session *s;
	struct rf_error error;

	if (rf_session_open(&how, &s, &error) < 0)
		give_up("attach", &error);
	return s;
}

/* The ends of epochs are passed over. */
static struct rf_batch *next_batch(struct rf_session *s)
{
	struct rf_batch *b;
	int r;

	do
		r = rf_session_next(s, -1, &b);
	while (r == -ENODATA);
	if (r < 0)
		give_up("next", rf_session_error(s));
	return b;
}

static void measure_attach(const char *socket, const char *feed, int count)
{
	for (int i = 0; i < count; i++) {
		const int64_t began = now_ns(CLOCK_MONOTONIC);
		struct rf_session *s = open_session(socket, feed, 0);

		tell("attach", now_ns(CLOCK_MONOTONIC) - began);
		rf_session_close(s);
		rest(0);
	}
}

static void measure_turns(const char *socket, const char *feed, int count)
{
	struct rf_session *s = open_session(socket, feed, 0);

	for (int i = 0; i < 2 * count; i++) {
		int64_t began;

		rest(i % 2);
		began = now_ns(CLOCK_THREAD_CPUTIME_ID);
		tell("clock", now_ns(CLOCK_THREAD_CPUTIME_ID) - began);
		rest(i % 2);
		began = now_ns(CLOCK_THREAD_CPUTIME_ID);
		rf_batch_release(next_batch(s));
		tell(i % 2 ? "busy" : "slept", now_ns(CLOCK_THREAD_CPUTIME_ID) - began);
	}
	rf_session_close(s);
}

/* A process that sends back what comes until the pair is closed. */
static void echo(int fd)
{
	char text[MESSAGE];
	ssize_t n;

	while ((n = recv(fd, text, sizeof(text), 0)) > 0)
		if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
			_exit(1);
	_exit(0);
}

/* Returns our end of its pair. */
static int start_echo(pid_t *ret_pid)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    fflush(stdout) != 0 || (*ret_pid = fork()) < 0) {
		perror("bench-attach: a second process");
		exit(1);
	}
	if (*ret_pid == 0) {
		close(pair[0]);
		echo(pair[1]);
	}
	close(pair[1]);
	return pair[0];
}

static void send_or_exit(int fd)
{
	static const char text[MESSAGE];

	if (send(fd, text, sizeof(text), MSG_NOSIGNAL) != (ssize_t)sizeof(text))
		exit(1);
}

static void receive_or_exit(int fd)
{
	char text[MESSAGE];

	if (recv(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text))
		exit(1);
}

static void measure_calls(int echoing, int count)
{
	send_or_exit(echoing);
	for (int i = 0; i < count; i++) {
		int64_t began;

		rest(1);
		began = now_ns(CLOCK_THREAD_CPUTIME_ID);
		receive_or_exit(echoing);
		send_or_exit(echoing);
		tell("calls", now_ns(CLOCK_THREAD_CPUTIME_ID) - began);
	}
	receive_or_exit(echoing);
}

static void ring_or_exit(int bell, uint64_t n)
{
	if (write(bell, &n, sizeof(n)) != sizeof(n))
		exit(1);
}

/* A second process sleeps in read() until it is rung for the last time. */
static void measure_bell(int count)
{
	const int bell = eventfd(0, EFD_CLOEXEC);
	const pid_t pid = bell < 0 || fflush(stdout) != 0 ? -1 : fork();
	uint64_t n = 1;

	if (pid < 0) {
		perror("bench-attach: a second process");
		exit(1);
	}
	if (pid == 0) {
		while (n == 1)
			if (read(bell, &n, sizeof(n)) != sizeof(n))
				_exit(1);
		_exit(0);
	}
	for (int i = 0; i < count; i++) {
		int64_t began;

		rest(1);
		began = now_ns(CLOCK_THREAD_CPUTIME_ID);
		ring_or_exit(bell, 1);
		tell("bell", now_ns(CLOCK_THREAD_CPUTIME_ID) - began);
	}
	rest(0);
	ring_or_exit(bell, 2);
	waitpid(pid, NULL, 0);
	close(bell);
}

static void measure_credit(const char *socket, const char *feed, int echoing, int count)
{
	struct rf_session *s = open_session(socket, feed, 1);
	struct rf_batch *b = next_batch(s);

	for (int i = 0; i < count; i++) {
		int64_t began;

		rest(0);
		began = now_ns(CLOCK_MONOTONIC);
		send_or_exit(echoing);
		receive_or_exit(echoing);
		tell("wakeups", now_ns(CLOCK_MONOTONIC) - began);
		rest(0);
		began = now_ns(CLOCK_MONOTONIC);
		rf_batch_release(b);
		b = next_batch(s);
		tell("credit", now_ns(CLOCK_MONOTONIC) - began);
	}
	rf_batch_release(b);
	rf_session_close(s);
}

int main(int argc, char **argv)
{
	const int count = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
	pid_t pid;
	int echoing;

	if (count < 1) {
		fprintf(stderr, "usage: bench-attach SOCKET FEED COUNT\n");
		return 2;
	}
	measure_attach(argv[1], argv[2], count);
	measure_turns(argv[1], argv[2], count);
	echoing = start_echo(&pid);
	measure_calls(echoing, count);
	measure_bell(count);
	measure_credit(argv[1], argv[2], echoing, count);
	close(echoing);
	waitpid(pid, NULL, 0);
	return fflush(stdout) != 0;
}
