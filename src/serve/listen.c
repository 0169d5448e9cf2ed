/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The socket's path: taken under a lock file that dies with the daemon, so a stale socket needs no
 * cleaning and a second daemon is refused by name. Only processes of the same uid (and root) are heard.
 */
#include "serve/daemon.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define GRACE_NS UINT64_C(100000000) /* for HELLO and ATTACH, when places are scarce */
#define MINUTE_NS UINT64_C(60000000000)

enum {
	BACKLOG = 1024,	    /* a flood of connections does not lock out the next client */
	ACCEPTS_A_TURN = 8,
};

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static void refuse(const struct daemon *d, const char *lock_path, struct reason *why)
{
	const int fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int64_t n;
	char pid[32];

	n = fd < 0 ? 0 : file_read(fd, pid, sizeof(pid) - 1);
	if (fd >= 0)
		close(fd);
	pid[n > 0 ? n : 0] = 0;
	pid[strcspn(pid, "\n")] = 0;
	reason_set(why, "another daemon (pid %s) serves %s: end it, or choose another daemon.socket",
		   *pid ? pid : "unknown", d->socket_path);
}

/* The last daemon removes the file when it ends. */
static int take_lock(struct daemon *d, struct reason *why)
{
	char path[sizeof(d->socket_path) + 8], pid[32];
	int r;

	snprintf(path, sizeof(path), "%s.lock", d->socket_path);
	r = file_lock(path, false, &d->lock);
	if (r == -EWOULDBLOCK) {
		refuse(d, path, why);
		return 1;
	}
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (r == 0 && (ftruncate(d->lock, 0) < 0 || pwrite(d->lock, pid, strlen(pid), 0) < 0))
		r = -errno;
	if (r)
		reason_set(why, "%s: %s", path, strerror(-r));
	return r ? 1 : 0;
}

int listen_open(struct daemon *d, struct reason *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	/* On the default path trainers look without being told, so nobody else may be able to write there. */
	if (folder_make(d->socket_path, d->is_default_socket, why) || take_lock(d, why))
		return 1;
	d->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listener < 0)
		return fail(-errno);
	memcpy(address.sun_path, d->socket_path, sizeof(address.sun_path));
	unlink(d->socket_path); /* of a daemon that is dead: we hold the lock */
	mask = umask(0177);
	r = bind(d->listener, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (r < 0 || listen(d->listener, BACKLOG) < 0) {
		reason_set(why, "%s: %s", d->socket_path, strerror(errno));
		return 1;
	}
	return daemon_watch(d, d->listener, EPOLLIN, WATCH_LISTEN, 0);
}

void listen_close(struct daemon *d)
{
	char path[sizeof(d->socket_path) + 8];

	if (d->listener >= 0) {
		unlink(d->socket_path);
		close(d->listener);
	}
	if (d->lock >= 0 && d->listener >= 0) {
		snprintf(path, sizeof(path), "%s.lock", d->socket_path);
		unlink(path);
	}
	if (d->lock >= 0)
		close(d->lock);
	d->listener = d->lock = -1;
}

/* When all places are taken, the connection that has been without a session for longest gives way. */
static struct session *find_room(struct daemon *d)
{
	struct session *oldest = NULL;

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &d->sessions[i];

		if (s->state == SESSION_NONE)
			return s;
		if ((s->state == SESSION_NEW || s->state == SESSION_GREETED) &&
		    (!oldest || s->since_ns < oldest->since_ns))
			oldest = s;
	}
	if (oldest && d->now_ns - oldest->since_ns >= GRACE_NS) {
		session_close(d, (uint32_t)(oldest - d->sessions));
		return oldest;
	}
	return NULL;
}

static void identify(struct session *s)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	s->exit_fd = -1;
	if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return;
	s->pid = peer.pid;
	n = sizeof(s->exit_fd);
	if (getsockopt(s->fd, SOL_SOCKET, SO_PEERPIDFD, &s->exit_fd, &n) < 0) /* before Linux 6.5 */
		s->exit_fd = peer.pid > 0 ? (int)syscall(SYS_pidfd_open, peer.pid, 0) : -1;
	if (s->exit_fd >= 0)
		fcntl(s->exit_fd, F_SETFD, FD_CLOEXEC);
}

static bool is_allowed(const struct session *s)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	return getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

/* Connections of that process that are neither attached nor on their way out. */
static unsigned count_idle(const struct daemon *d, pid_t pid)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		n += d->sessions[i].pid == pid && (d->sessions[i].state == SESSION_NEW ||
						   d->sessions[i].state == SESSION_GREETED);
	return n;
}

static void turn_away(struct daemon *d, int fd, const char *why)
{
	struct session s = {.fd = fd, .exit_fd = -1, .bell = -1, .is_slow = true}; /* true: it is not watched */

	if (!d->turned_away_ns || d->now_ns - d->turned_away_ns >= MINUTE_NS) {
		log_warn("sessions", "clients are turned away: %s", why);
		d->turned_away_ns = d->now_ns;
	}
	session_say_failed(d, &s, EAGAIN, "Refused", "%s", why);
	free(s.outbox);
	session_hang_up(fd);
}

static void admit(struct daemon *d, int fd)
{
	struct session *s = find_room(d);
	uint32_t number;

	if (!s) {
		turn_away(d, fd, "the daemon has as many connections open as it takes");
		return;
	}
	number = (uint32_t)(s - d->sessions);
	*s = (struct session){.state = SESSION_NEW, .fd = fd, .exit_fd = -1, .bell = -1, .since_ns = d->now_ns};
	if (!is_allowed(s)) {
		session_say_failed(d, s, EPERM, "Refused", "this daemon serves uid %u only", geteuid());
		session_close(d, number);
		return;
	}
	identify(s);
	if (count_idle(d, s->pid) > IDLE_MAX) {
		session_say_failed(d, s, EAGAIN, "Refused", "this process has %u connections open that say nothing",
				   IDLE_MAX);
		session_close(d, number);
		return;
	}
	if (daemon_watch(d, fd, EPOLLIN | EPOLLRDHUP, WATCH_CLIENT, number) < 0 ||
	    (s->exit_fd >= 0 && daemon_watch(d, s->exit_fd, EPOLLIN, WATCH_EXIT, number) < 0))
		session_close(d, number);
}

/* The listener stays readable: look away for a while. A connection that ends brings us back sooner. */
static void look_away(struct daemon *d, int error)
{
	epoll_ctl(d->epoll, EPOLL_CTL_DEL, d->listener, NULL);
	d->is_deaf = true;
	if (d->deaf_told_ns && d->now_ns - d->deaf_told_ns < MINUTE_NS)
		return;
	d->deaf_told_ns = d->now_ns;
	if (error == EMFILE)
		log_warn("sessions", "no descriptor is left for a new client: raise the limit (ulimit -n, systemd: "
			 "LimitNOFILE)");
	else
		log_warn("sessions", "no new client can be let in: %s", strerror(error));
}

void listen_again(struct daemon *d)
{
	int r = d->is_deaf ? daemon_watch(d, d->listener, EPOLLIN, WATCH_LISTEN, 0) : 0;

	if (r == 0 || r == -EEXIST)
		d->is_deaf = false;
}

/* false: nobody waits to be let in. */
static bool accept_one(struct daemon *d)
{
	int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		admit(d, fd);
		return true;
	}
	if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		look_away(d, errno);
	return false;
}

void listen_accept(struct daemon *d)
{
	unsigned n = ACCEPTS_A_TURN;

	while (n > 0 && accept_one(d))
		n--;
}
