/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Start, say so, loop, stop. */
#include "serve/serve.h"

#include "base/fault.h"
#include "base/log.h"
#include "serve/daemon.h"
#include "serve/notify.h"
#include "worker/maker.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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
