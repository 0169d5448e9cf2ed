/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * systemd's protocol is one datagram (sd_notify(3)). The watchdog is fed by the loop alone, when it has finished a
 * step: what is stuck, or stopped, starves it.
 */
#include "serve/notify.h"

#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, n);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = 0; /* an abstract socket */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_warn("serve", "systemd could not be told %s: %s", state, strerror(errno));
	close(fd);
}

/* The whole number that the variable is, or 0. */
static unsigned long long number_in(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	unsigned long long n;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return errno || *end ? 0 : n;
}

void watchdog_init(struct watchdog *w)
{
	const unsigned long long usec = number_in("WATCHDOG_USEC");

	*w = (struct watchdog){0};
	if (getenv("WATCHDOG_PID") && number_in("WATCHDOG_PID") != (unsigned long long)getpid())
		return; /* it waits for somebody else */
	if (usec > 0 && usec <= UINT64_MAX / 1000)
		w->every_ns = usec * 1000 / 2;
}

uint64_t watchdog_deadline(const struct watchdog *w)
{
	return w->every_ns ? w->fed_ns + w->every_ns : UINT64_MAX;
}

void watchdog_step(struct watchdog *w, uint64_t now_ns)
{
	if (now_ns < watchdog_deadline(w))
		return;
	notify_systemd("WATCHDOG=1");
	w->fed_ns = now_ns;
}
