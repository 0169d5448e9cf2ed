/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Sizes on the wire, and what is let through of what arrives. */
#include "client/connection.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

/* Counted by hand from proto/messages.def; version 4 never changes them. */
static const uint32_t sizes[] = {0,   48,  48,  648, 880, 160, 128, 24, 104, 16,
				 32,  544, 48,  16,  16400, 16,  16,  16408, 16};

static void sizes_on_the_wire(void **state)
{
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		assert_int_equal(wire_bytes(i), sizes[i]);
	assert_int_equal(wire_bytes(19), 0);
	assert_int_equal(wire_bytes(UINT32_MAX), 0);
	assert_int_equal(offsetof(struct wire_BATCH, lease), 24);
	assert_int_equal(offsetof(struct wire_BATCH, epoch_after), 48);
	assert_int_equal(offsetof(struct wire_BATCH, trainer_ns), 96);
	assert_int_equal(offsetof(struct wire_ATTACHED, slot_bytes), 32);
	assert_int_equal(offsetof(struct wire_FAILED, text), 48);
	assert_int_equal(offsetof(struct wire_EPOCH_END, n_batches), 24);
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* What becomes of a packet. */
static int arrive(const void *bytes, size_t n, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec from = {(void *)bytes, n};
	struct msghdr h = {.msg_iov = &from, .msg_iovlen = 1};
	static union answer m;
	int fds[2], got = -1, r;

	pair(fds);
	if (fd >= 0) {
		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&h)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&h)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&h)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(fds[0], &h, 0), n);
	r = connection_receive_now(fds[1], &m, sizeof(m), &got);
	if (r == 0 && fd >= 0) {
		assert_true(got >= 0);
		close(got);
	}
	close(fds[0]);
	close(fds[1]);
	return r;
}

static void every_message(void **state)
{
	static char bytes[20000];
	const uint32_t to_daemon = 1u << WIRE_HELLO | 1u << WIRE_ATTACH | 1u << WIRE_RELEASE |
				   1u << WIRE_SEEK | 1u << WIRE_STATUS | 1u << WIRE_DETACH |
				   1u << WIRE_TRACE;
	struct wire_head *head = (void *)bytes;

	for (uint32_t type = 0; type < 20; type++) {
		uint32_t n = type < 18 ? sizes[type] : 8;
		int good = type == 0 || type >= 18 || (to_daemon >> type & 1) ? CONNECTION_E_NONSENSE : 0;

		memset(bytes, 0, sizeof(bytes));
		*head = (struct wire_head){type, n};
		if (n == 0)
			n = 8;
		assert_int_equal(arrive(bytes, n, type == WIRE_SLOT ? 0 : -1), good);
		assert_int_equal(arrive(bytes, n, type == WIRE_SLOT ? -1 : 0),
				 type == WIRE_ATTACHED ? 0 : CONNECTION_E_NONSENSE);
		assert_int_equal(arrive(bytes, n + 8, type == WIRE_SLOT ? 0 : -1), CONNECTION_E_NONSENSE);
		assert_int_equal(arrive(bytes, 4, -1), CONNECTION_E_NONSENSE);
		head->n_bytes += 8;
		assert_int_equal(arrive(bytes, n, type == WIRE_SLOT ? 0 : -1), CONNECTION_E_NONSENSE);
	}
}

/* A text without its closing zero does not get through, whichever of the two it is. */
static void open_texts(void **state)
{
	struct wire_FAILED m = {.head = {WIRE_FAILED, sizeof(m)}};

	memset(m.name, 'n', sizeof(m.name));
	assert_int_equal(arrive(&m, sizeof(m), -1), CONNECTION_E_NONSENSE);
	m.name[31] = '\0';
	assert_int_equal(arrive(&m, sizeof(m), -1), 0);
	memset(m.text, 't', sizeof(m.text));
	assert_int_equal(arrive(&m, sizeof(m), -1), CONNECTION_E_NONSENSE);
}

static void hang_up(void **state)
{
	struct wire_RELEASE m = {0};
	union message got;
	int fds[2], fd;

	pair(fds);
	assert_int_equal(connection_receive_now(fds[0], &got, sizeof(got), &fd), CONNECTION_E_NONE);
	assert_int_equal(connection_wait(fds[0], POLLIN, clock_after_ms(5)), CONNECTION_E_LATE);
	close(fds[1]);
	assert_int_equal(connection_wait(fds[0], POLLIN, clock_after_ms(5)), 0);
	assert_int_equal(connection_receive_now(fds[0], &got, sizeof(got), &fd), CONNECTION_E_GONE);
	assert_int_equal(connection_send(fds[0], WIRE_RELEASE, &m, clock_after_ms(5)), CONNECTION_E_GONE);
	close(fds[0]);
}

/* A peer that reads nothing: the send ends at its deadline. */
static void full_socket(void **state)
{
	struct wire_RELEASE m = {0};
	int fds[2], n = 0;

	pair(fds);
	while (connection_send_now(fds[0], WIRE_RELEASE, &m) == 0)
		n++;
	assert_true(n > 100); /* what batch.c relies on */
	assert_int_equal(connection_send(fds[0], WIRE_RELEASE, &m, clock_after_ms(20)), CONNECTION_E_LATE);
	close(fds[0]);
	close(fds[1]);
}

static volatile sig_atomic_t n_alarms;

static void on_alarm(int signal)
{
	n_alarms++;
}

static void signals_do_not_shorten(void **state)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval every = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
	int64_t began = clock_now_ns();

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
	assert_int_equal(connection_wait(-1, 0, clock_after_ms(60)), CONNECTION_E_LATE);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_true(n_alarms > 2);
	assert_true(clock_now_ns() - began >= 60000000);
}

/* Twenty messages and a hang-up come out one by one, in order, and the end stays the end. */
static void inbox_in_order(void **state)
{
	static struct inbox in;
	static union message m;
	int fds[2];

	pair(fds);
	assert_int_equal(inbox_open(fds[1]), 0);
	memset(&in, 0, sizeof(in));
	assert_int_equal(inbox_take(&in, fds[1], false, &m), CONNECTION_E_NONE);
	for (uint64_t i = 0; i < 20; i++) {
		struct wire_BATCH b = {.head = {WIRE_BATCH, sizeof(b)}, .lease = i};
		struct wire_PEER_GONE p = {.head = {WIRE_PEER_GONE, sizeof(p)}, .rank = (uint32_t)i};

		assert_true(i % 3 ? send(fds[0], &b, sizeof(b), 0) > 0 : send(fds[0], &p, sizeof(p), 0) > 0);
	}
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(inbox_take(&in, fds[1], i % 2, &m), 0);
		assert_int_equal(m.head.type, i % 3 ? WIRE_BATCH : WIRE_PEER_GONE);
		assert_int_equal(i % 3 ? m.batch.lease : m.peer_gone.rank, i);
		if (i == 17)
			close(fds[0]);
	}
	for (int i = 0; i < 10; i++)
		assert_int_equal(inbox_take(&in, fds[1], i % 2, &m), CONNECTION_E_GONE);
	close(fds[1]);
}

/* A good message, then what is none: too long, too short, or with a descriptor. The good one comes out. */
static void inbox_nonsense(void **state)
{
	static struct inbox in;
	static union message m;
	struct wire_PEER_GONE good = {.head = {WIRE_PEER_GONE, sizeof(good)}};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec from = {&good, sizeof(good)};
	struct msghdr h = {.msg_iov = &from, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	static char bytes[sizeof(union message) + 1];
	int fds[2];

	CMSG_FIRSTHDR(&h)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&h)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&h)->cmsg_len = CMSG_LEN(sizeof(int));
	for (int i = 0; i < 3; i++) {
		pair(fds);
		memset(&in, 0, sizeof(in));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &fds[0], sizeof(int));
		assert_true(send(fds[0], &good, sizeof(good), 0) > 0);
		assert_true(i == 2 ? sendmsg(fds[0], &h, 0) > 0
				   : send(fds[0], bytes, i ? sizeof(bytes) : sizeof(good) - 8, 0) > 0);
		assert_int_equal(inbox_take(&in, fds[1], false, &m), 0);
		assert_int_equal(inbox_take(&in, fds[1], false, &m), CONNECTION_E_NONSENSE);
		close(fds[0]);
		close(fds[1]);
	}
}

static void inbox_waits(void **state)
{
	static struct inbox in;
	static union message m;
	int64_t began = clock_now_ns();
	int fds[2];

	pair(fds);
	assert_int_equal(inbox_open(fds[1]), 0);
	memset(&in, 0, sizeof(in));
	assert_int_equal(inbox_take(&in, fds[1], true, &m), CONNECTION_E_NONE);
	assert_true(clock_now_ns() - began >= INBOX_WAIT_NS / 2);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_on_the_wire), cmocka_unit_test(every_message),
		cmocka_unit_test(open_texts),	     cmocka_unit_test(hang_up),
		cmocka_unit_test(inbox_in_order),    cmocka_unit_test(inbox_nonsense),
		cmocka_unit_test(inbox_waits),
		cmocka_unit_test(full_socket),	     cmocka_unit_test(signals_do_not_shorten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
