/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * run: a private daemon and N copies of a command as the ranks of one group. The first exit code that is
 * not 0 is passed on, and ends the other copies; so do SIGINT and SIGTERM.
 */
#include "main/command.h"
#include "main/private.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_S = 10, EXEC_FAILED = 127 };

struct copies {
	pid_t *pids;
	unsigned n, n_left;
	int status;
};

/* A port that was free a moment ago, for MASTER_PORT. */
static unsigned free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned port = 29500;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&at, &n) == 0)
		port = ntohs(at.sin_port);
	if (fd >= 0)
		close(fd);
	return port;
}

static void set_number(const char *name, unsigned long n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", n);
	setenv(name, text, 1);
}

static void be_copy(const struct options *o, const struct private_daemon *d, unsigned rank, unsigned n,
		    unsigned port, const sigset_t *mask)
{
	char group[48];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	snprintf(group, sizeof(group), "run-%d", (int)getppid());
	setenv("RINGFEED_SOCKET", d->socket, 1);
	setenv("RINGFEED_GROUP", group, 1);
	setenv("MASTER_ADDR", "127.0.0.1", 1);
	set_number("MASTER_PORT", port);
	set_number("RANK", rank);
	set_number("LOCAL_RANK", rank);
	set_number("WORLD_SIZE", n);
	set_number("LOCAL_WORLD_SIZE", n);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(o->arguments[0], o->arguments);
	fprintf(stderr, "ringfeed: %s: %s\n", o->arguments[0], strerror(errno));
	_exit(EXEC_FAILED);
}

static void signal_all(const struct copies *c, int number)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->pids[i] > 0)
			kill(c->pids[i], number);
}

/* One copy, or the daemon (then all is lost), has ended. */
static void reap(struct copies *c, const struct private_daemon *d)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

		for (unsigned i = 0; i < c->n; i++) {
			if (c->pids[i] != pid)
				continue;
			c->pids[i] = 0;
			c->n_left--;
			if (code && !c->status) {
				c->status = code;
				signal_all(c, SIGTERM);
			}
		}
		if (pid == d->pid)
			fprintf(stderr, "ringfeed: the daemon ended (%d) before its trainers\n", code);
	}
}

static void wait_for_all(struct copies *c, const struct private_daemon *d, const sigset_t *watched)
{
	const struct timespec second = {1, 0};
	double kill_at = 0;

	while (c->n_left > 0) {
		int number = sigtimedwait(watched, NULL, &second);

		if (number == SIGINT || number == SIGTERM) {
			if (!c->status)
				c->status = 128 + number;
			signal_all(c, number);
		}
		reap(c, d);
		if (c->status && !kill_at)
			kill_at = clock_s() + GRACE_S;
		if (kill_at && clock_s() >= kill_at)
			signal_all(c, SIGKILL);
	}
}

static int run(const struct options *o, const struct private_daemon *d)
{
	struct copies c = {.n = o->copies ? (unsigned)o->copies : 1};
	unsigned port = free_port();
	sigset_t watched, before;

	c.pids = calloc(c.n, sizeof(*c.pids));
	if (!c.pids)
		return STATUS_FAILED;
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigprocmask(SIG_BLOCK, &watched, &before);
	for (unsigned i = 0; i < c.n; i++) {
		c.pids[i] = fork();
		if (c.pids[i] == 0)
			be_copy(o, d, i, c.n, port, &before);
		c.n_left += c.pids[i] > 0;
		if (c.pids[i] < 0) {
			fprintf(stderr, "ringfeed: copy %u cannot be started: %s\n", i, strerror(errno));
			c.status = STATUS_FAILED;
			signal_all(&c, SIGTERM);
			break;
		}
	}
	wait_for_all(&c, d, &watched);
	sigprocmask(SIG_SETMASK, &before, NULL);
	free(c.pids);
	return c.status;
}

int cmd_run(int argc, char **argv)
{
	struct private_daemon daemon;
	struct config *config;
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_config(&options, &config, &status))
		return status;
	status = private_start(config, &daemon);
	if (status == 0) {
		status = run(&options, &daemon);
		private_end(&daemon);
	}
	config_free(config);
	return status;
}
