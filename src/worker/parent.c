/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * PR_SET_PDEATHSIG covers a daemon that is killed, hang-up of the socket one that closes it. Workers are
 * killed through their parent, which has not reaped them yet, so a pid is never somebody else's.
 */
#include "worker/parent.h"

#include "base/fault.h"
#include "base/packet.h"
#include "worker/lookout.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_PATIENCE_MS = 1000 };
enum order_kind { ORDER_SPAWN, ORDER_KILL, ORDER_LOOK };

struct order_message {
	uint32_t kind, worker; /* LOOK: the number that the answer is to bear */
	uint64_t inode;
};

/* ---- inside the clean parent ---- */

struct nursery {
	const struct worker_setup *setup;
	pid_t *pids;
	unsigned n_workers;
	int fd, signals;
	pid_t daemon;
};

static void send_news(const struct nursery *n, const struct parent_news *news)
{
	if (send(n->fd, news, sizeof(*news), MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void tell(const struct nursery *n, uint32_t kind, uint32_t worker, pid_t pid, int status)
{
	const struct parent_news news = {.kind = kind, .worker = worker, .pid = pid, .status = status};

	send_news(n, &news);
}

static void die_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

/* And stderr, which stands for stdin and stdout too: their numbers stay taken, and nobody else's pipe stays open. */
static void close_all_but(int keep)
{
	dup2(STDERR_FILENO, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (keep > 3)
		syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u);
	syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u);
}

static void fork_worker(struct nursery *n, uint32_t worker, int channel)
{
	pid_t self = getpid(), pid = fork();

	if (pid == 0) {
		sigset_t none;

		die_with_parent(self);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		close_all_but(channel);
		worker_main(n->setup, worker, channel);
	}
	if (pid < 0) {
		tell(n, PARENT_NO_FORK, worker, 0, errno);
		return;
	}
	n->pids[worker] = pid;
	tell(n, PARENT_STARTED, worker, pid, 0);
}

static void reap(struct nursery *n)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(n->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < n->n_workers; i++) {
			if (n->pids[i] != pid)
				continue;
			n->pids[i] = 0;
			tell(n, PARENT_ENDED, i, pid, status);
		}
	}
}

static bool is_ours(void *context, pid_t pid)
{
	const struct nursery *n = context;

	if (pid == n->daemon || pid == getpid())
		return true;
	for (unsigned i = 0; i < n->n_workers; i++)
		if (pid == n->pids[i])
			return true;
	return false;
}

static void look(struct nursery *n, const struct order_message *order)
{
	struct parent_news news = {.kind = PARENT_HOLDERS, .number = order->worker, .inode = order->inode};

	news.n_holders = lookout_find(order->inode, is_ours, n, news.holders, PARENT_HOLDERS_MAX);
	send_news(n, &news);
}

/* One order with at most one descriptor. false: the daemon is gone. */
static bool take_order(struct nursery *n)
{
	struct order_message order;
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&order, sizeof(order)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
			   .msg_controllen = sizeof(room)};
	ssize_t got = recvmsg(n->fd, &m, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int channel = -1;

	if (got < 0 && errno == EINTR)
		return true;
	if (got != sizeof(order))
		return false;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&channel, CMSG_DATA(c), sizeof(channel));
	if (order.kind == ORDER_SPAWN && channel >= 0)
		fork_worker(n, order.worker, channel);
	else if (order.kind == ORDER_KILL && n->pids[order.worker] > 0)
		kill(n->pids[order.worker], SIGKILL);
	else if (order.kind == ORDER_LOOK)
		look(n, &order);
	if (channel >= 0)
		close(channel);
	return true;
}

static void end_workers(struct nursery *n)
{
	for (unsigned i = 0; i < n->n_workers; i++)
		if (n->pids[i] > 0)
			kill(n->pids[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(0);
}

static void nursery_main(const struct worker_setup *setup, unsigned n_workers, int fd, pid_t daemon)
{
	struct nursery n = {.setup = setup, .n_workers = n_workers, .fd = fd, .daemon = daemon};
	const struct sandbox_own none = {.channel = -1};
	struct pollfd polls[2];
	sigset_t child;

	die_with_parent(daemon);
	prctl(PR_SET_NAME, "ringfeed-clean");
	signal(SIGINT, SIG_IGN); /* Ctrl-C is for the daemon; we follow it */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	close_all_but(fd);
	n.pids = calloc(n_workers, sizeof(*n.pids));
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	n.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (!n.pids || n.signals < 0 || sandbox_files(&setup->sandbox, SANDBOX_PARENT, &none) < 0 ||
	    sandbox_calls(&setup->sandbox, SANDBOX_PARENT, &none) < 0)
		_exit(1);
	polls[0] = (struct pollfd){.fd = fd, .events = POLLIN};
	polls[1] = (struct pollfd){.fd = n.signals, .events = POLLIN};
	for (;;) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (polls[1].revents)
			reap(&n);
		if (polls[0].revents && !take_order(&n))
			end_workers(&n);
	}
}

/* ---- the daemon's side ---- */

int parent_start(const struct worker_setup *setup, unsigned n_workers, struct parent *ret)
{
	pid_t self = getpid(), pid;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return fail(-errno);
	pid = fork();
	if (pid < 0) {
		int r = fail(-errno);

		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0)
		nursery_main(setup, n_workers, fds[1], self);
	close(fds[1]);
	*ret = (struct parent){.pid = pid, .fd = fds[0]};
	return 0;
}

static int send_order(const struct parent *p, const struct order_message *order, int fd)
{
	int r = packet_send(p->fd, order, sizeof(*order), fd, 0);

	return r < 0 ? fail(r) : 0;
}

int parent_spawn(const struct parent *p, unsigned worker, int *ret_channel)
{
	const struct order_message order = {.kind = ORDER_SPAWN, .worker = worker};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return fail(-errno);
	r = send_order(p, &order, fds[1]);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return pass(r);
	}
	*ret_channel = fds[0];
	return 0;
}

int parent_kill(const struct parent *p, unsigned worker)
{
	const struct order_message order = {.kind = ORDER_KILL, .worker = worker};

	return send_order(p, &order, -1);
}

int parent_look(const struct parent *p, uint32_t number, uint64_t inode)
{
	const struct order_message order = {.kind = ORDER_LOOK, .worker = number, .inode = inode};

	return send_order(p, &order, -1);
}

int parent_listen(const struct parent *p, struct parent_news *ret)
{
	ssize_t n = recv(p->fd, ret, sizeof(*ret), MSG_DONTWAIT);

	if (n == sizeof(*ret))
		return 0;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -ECONNRESET;
}

/* A clean parent that does not answer (stopped, say) is killed; its workers then follow by themselves. */
void parent_end(struct parent *p)
{
	struct pollfd gone = {.events = POLLIN};

	if (p->pid <= 0)
		return;
	close(p->fd);
	gone.fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (gone.fd < 0 || poll(&gone, 1, END_PATIENCE_MS) == 0)
		kill(p->pid, SIGKILL);
	if (gone.fd >= 0)
		close(gone.fd);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*p = (struct parent){.fd = -1};
}
