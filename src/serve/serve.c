/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Start, say so, loop, stop. systemd's protocol is one datagram (sd_notify(3)). */
#include "serve/serve.h"

#include "base/fault.h"
#include "base/log.h"
#include "serve/daemon.h"
#include "worker/maker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void notify_systemd(const char *state)
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
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_warn("serve", "systemd could not be told %s: %s", state, strerror(errno));
	close(fd);
}

static void say_ready(struct daemon *d, const struct serve_options *options)
{
	log_info("serve", "ready on %s: %u feeds, %u workers, reading with %s, pixels with %s",
		 d->socket_path, d->n_feeds, d->n_workers,
		 io_engine_kind(d->engine) == IO_URING ? "io_uring" : "threads", maker_kernels());
	notify_systemd("READY=1");
	if (options->ready_fd >= 0) {
		if (write(options->ready_fd, "R", 1) < 0)
			log_warn("serve", "nobody waits for this daemon to be ready");
		close(options->ready_fd);
	}
}

int serve_run(const struct config *config, const struct serve_options *options, struct reason *why)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM);
	log_set_levels(&config->daemon.log);
	r = daemon_start(d, config, options, why);
	if (r == 0) {
		say_ready(d, options);
		r = daemon_loop(d);
		notify_systemd("STOPPING=1");
		if (r == 0 && d->has_failed)
			r = SERVE_E_FAILED;
	}
	daemon_stop(d);
	free(d);
	return r;
}
