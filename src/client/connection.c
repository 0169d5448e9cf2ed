/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One packet is one message, so there is nothing to reassemble. The socket is non-blocking and every wait
 * is a ppoll with what is left until the deadline, begun again after a signal. */
#include "client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

enum { FDS_MAX = 4 }; /* room for more than may come, so that a surplus is seen and closed */

int64_t clock_now_ns(void)
{
	return (int64_t)clock_ns();
}

int64_t clock_after_ms(int64_t ms)
{
	return clock_now_ns() + ms * 1000000;
}

int connection_open(const char *path, int *ret_fd)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(to.sun_path))
		return fail(-ENAMETOOLONG);
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(-errno);
	/* A Unix socket connects at once or fails; EAGAIN is a full backlog. */
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		r = fail(-errno);
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int connection_wait(int fd, short events, int64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline_ns - clock_now_ns();
		struct timespec t;
		int n;

		if (left < 0)
			left = 0;
		t = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
		n = ppoll(&p, 1, &t, NULL);
		if (n > 0)
			return 0;
		if (n == 0)
			return CONNECTION_E_LATE;
		if (errno != EINTR)
			return fail(-errno);
	}
}

int connection_send_now(int fd, uint32_t type, void *message)
{
	struct wire_head *head = message;
	ssize_t n;

	head->type = type;
	head->n_bytes = wire_bytes(type);
	do
		n = send(fd, message, head->n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	if (errno == EAGAIN || errno == ENOBUFS)
		return CONNECTION_E_NONE;
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return CONNECTION_E_GONE;
	return fail(-errno);
}

int connection_send(int fd, uint32_t type, void *message, int64_t deadline_ns)
{
	for (;;) {
		int r = connection_send_now(fd, type, message);

		if (r != CONNECTION_E_NONE)
			return r;
		if (clock_now_ns() >= deadline_ns) /* room alone is not enough: ENOBUFS */
			return CONNECTION_E_LATE;
		r = connection_wait(fd, POLLOUT, deadline_ns);
		if (r != 0)
			return r;
	}
}

/* Is it a message that a daemon may send, whole, its texts closed by a zero? */
static bool is_sound(const struct wire_head *head, size_t n_bytes)
{
	bool is_ours = false, is_closed = true;

	if (n_bytes < sizeof(*head) || head->n_bytes != n_bytes || wire_bytes(head->type) != n_bytes)
		return false;
	enum { TO_DAEMON = 0, TO_CLIENT = 1 };
	switch (head->type) {
#define MESSAGE(name, number, direction) case number: { \
		const struct wire_##name *w = (const void *)head; \
		is_ours = direction; \
		(void)w;
#define U32(name)
#define U64(name)
#define I32(name)
#define TEXT(name, n) is_closed = is_closed && memchr(w->name, 0, n);
#define END(name) break; }
#include "messages.def"
	}
	/* These count their bytes instead. */
	return is_ours && (is_closed || head->type == WIRE_STATUS_TEXT || head->type == WIRE_TRACE_TEXT);
}

/* Closes what came beyond the one descriptor that may; the one, or -1. n: how many came. */
static int take_fd(struct msghdr *h, int *n)
{
	int fd = -1;

	*n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n_fds; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
			if ((*n)++ == 0)
				fd = one;
			else
				close(one);
		}
	}
	return fd;
}

int connection_receive_now(int fd, void *ret, size_t n_ret, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec to = {.iov_base = ret, .iov_len = n_ret};
	struct msghdr h = {.msg_iov = &to, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int n_fds, memfd;
	const struct wire_head *head = ret;
	ssize_t n;

	do
		n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return CONNECTION_E_NONE;
	if (n < 0 && (errno == ECONNRESET || errno == ENOTCONN))
		return CONNECTION_E_GONE;
	if (n < 0)
		return fail(-errno);
	memfd = take_fd(&h, &n_fds);
	if (n == 0 && n_fds == 0)
		return CONNECTION_E_GONE;
	if (h.msg_flags & (MSG_CTRUNC | MSG_TRUNC) || !is_sound(ret, (size_t)n) ||
	    n_fds > (head->type == WIRE_SLOT || head->type == WIRE_ATTACHED) ||
	    n_fds < (head->type == WIRE_SLOT)) {
		if (memfd >= 0)
			close(memfd);
		/* The kernel drops descriptors for which the process has no number left. */
		return h.msg_flags & MSG_CTRUNC ? fail(-EMFILE) : CONNECTION_E_NONSENSE;
	}
	*ret_fd = memfd;
	return 0;
}

/* Waiting in the receive saves a poll before it. Everything else asks the socket with MSG_DONTWAIT. */
int inbox_open(int fd)
{
	const struct timeval most = {.tv_usec = INBOX_WAIT_NS / 1000};

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) < 0 || fcntl(fd, F_SETFL, 0) < 0
		       ? fail(-errno) : 0;
}

/* Takes what is there, as much as there is room for. 0, NONE, GONE or -errno. */
static int fill(struct inbox *in, int fd, bool may_wait)
{
	struct iovec to[INBOX_MESSAGES];
	struct mmsghdr h[INBOX_MESSAGES];
	int n;

	for (unsigned i = 0; i < INBOX_MESSAGES; i++) {
		to[i] = (struct iovec){.iov_base = &in->list[i].message, .iov_len = sizeof(in->list[i].message)};
		h[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &to[i], .msg_iovlen = 1}};
	}
	n = recvmmsg(fd, h, INBOX_MESSAGES, may_wait ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CONNECTION_E_NONE;
	if (n < 0)
		return errno == ECONNRESET || errno == ENOTCONN ? CONNECTION_E_GONE : fail(-errno);
	for (int i = 0; i < n; i++) {
		in->list[i].n_bytes = h[i].msg_len;
		in->list[i].flags = h[i].msg_hdr.msg_flags;
	}
	in->n = (unsigned)n;
	in->next = 0;
	return 0;
}

int inbox_take(struct inbox *in, int fd, bool may_wait, union message *ret)
{
	size_t n;
	int r = in->next < in->n ? 0 : fill(in, fd, may_wait);

	if (r != 0)
		return r;
	n = in->list[in->next].n_bytes;
	if (n == 0)
		return CONNECTION_E_GONE; /* and so it stays */
	if (in->list[in->next].flags & (MSG_CTRUNC | MSG_TRUNC))
		return CONNECTION_E_NONSENSE;
	memcpy(ret, &in->list[in->next++].message, n);
	return is_sound(&ret->head, n) ? 0 : CONNECTION_E_NONSENSE;
}
