/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The child dies with its parent (PR_SET_PDEATHSIG), so a killed command leaves nothing running. */
#include "main/private.h"

#include "base/log.h"
#include "main/command.h"
#include "serve/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void private_hush(struct config *config)
{
	*config->daemon.metrics = 0;
	for (unsigned i = 0; i < LOG_TOPICS; i++)
		if (config->daemon.log.least[i] == LOG_INFO)
			config->daemon.log.least[i] = LOG_WARN;
}

static int make_folder(struct private_daemon *d)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (!base || strlen(base) > 30)
		base = "/tmp";
	snprintf(d->folder, sizeof(d->folder), "%s/ringfeed-run-XXXXXX", base);
	if (!mkdtemp(d->folder)) {
		fprintf(stderr, "ringfeed: %s: %s\n", d->folder, strerror(errno));
		return STATUS_FAILED;
	}
	snprintf(d->socket, sizeof(d->socket), "%s/ringfeed.sock", d->folder);
	return 0;
}

static void be_daemon(const struct config *config, const struct private_daemon *d, int ready_fd, pid_t parent)
{
	const struct serve_options how = {.socket = d->socket, .ready_fd = ready_fd};

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(STATUS_FAILED);
	setpgid(0, 0); /* Ctrl-C is for the command, which then ends us */
	_exit(serve_status(config, &how));
}

static void remove_folder(struct private_daemon *d)
{
	unlink(d->socket); /* there only when the daemon was killed */
	rmdir(d->folder);
}

int private_start(const struct config *config, struct private_daemon *ret)
{
	struct private_daemon d = {0};
	pid_t self = getpid();
	int ready[2], status;
	char byte = 0;

	status = make_folder(&d);
	if (status)
		return status;
	if (pipe(ready) < 0 || (d.pid = fork()) < 0) {
		fprintf(stderr, "ringfeed: the daemon cannot be started: %s\n", strerror(errno));
		remove_folder(&d);
		return STATUS_FAILED;
	}
	if (d.pid == 0) {
		close(ready[0]);
		be_daemon(config, &d, ready[1], self);
	}
	close(ready[1]);
	while (read(ready[0], &byte, 1) < 0 && errno == EINTR)
		;
	close(ready[0]);
	if (byte == 'R') {
		*ret = d;
		return 0;
	}
	waitpid(d.pid, &status, 0);
	remove_folder(&d);
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : STATUS_FAILED;
}

void private_end(struct private_daemon *d)
{
	kill(d->pid, SIGTERM);
	while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
		;
	remove_folder(d);
}
