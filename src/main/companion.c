/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Whoever wants to start one holds the start lock, so of several ranks one starts it and the others find it.
 * A daemon holds the lock of its socket as long as it lives; that is how it is found, and how files of
 * one that was killed are known and removed by the next start.
 */
#include "main/companion.h"

#include "base/classes.h"
#include "base/file.h"
#include "base/hash.h"
#include "main/command.h"
#include "serve/folder.h"
#include "serve/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "ringfeed-"
#define IDLE_NS UINT64_C(10000000000)

enum {
	LOG_MAX = 1 << 20, /* a longer log begins anew */
	TAIL_LINES = 5,
	STALE_SECONDS = 5, /* younger files may belong to a daemon that is about to lock them */
};

static uint64_t mix(uint64_t a, const char *text)
{
	const uint64_t both[2] = {a, text ? hash_text(text) : 0};

	return hash_bytes(both, sizeof(both));
}

/* What makes trainers one job, as far as the environment says. */
static uint64_t mix_job(uint64_t h)
{
	const char *group = getenv("RINGFEED_GROUP"), *slurm = getenv("SLURM_JOB_ID");

	if (group || slurm)
		return mix(h, group ? group : slurm);
	return mix(mix(h, getenv("MASTER_ADDR")), getenv("MASTER_PORT"));
}

/* What the digest does not see: ${NAME} expanded, and the names in files of classes. */
static uint64_t mix_feed(uint64_t h, const struct config_feed *feed)
{
	for (size_t i = 0; i < feed->n_inputs; i++)
		for (size_t k = 0; k < feed->inputs[i].n_patterns; k++)
			h = mix(h, feed->inputs[i].patterns[k]);
	for (unsigned i = 0; i < feed->pipeline.n_fields; i++)
		if (feed->pipeline.fields[i].classes)
			h ^= classes_hash(feed->pipeline.fields[i].classes) * (2 * i + 1);
	return h;
}

static uint64_t name_of(const struct config *config)
{
	char uid[16], folder[4096];
	uint64_t h = mix(config->digest, getcwd(folder, sizeof(folder)));

	snprintf(uid, sizeof(uid), "%u", geteuid());
	h = mix(mix(mix(h, uid), config->daemon.ledger), config->daemon.index_cache);
	for (size_t i = 0; i < config->n_feeds; i++)
		h = mix_feed(h, &config->feeds[i]);
	return mix_job(h);
}

static int choose_paths(const struct config *config, struct companion *c)
{
	char folder[sizeof(c->socket)], *slash;
	struct reason why;
	int n;

	if (config_default_socket(folder, sizeof(folder)) < 0 || !(slash = strrchr(folder, '/'))) {
		fputs("ringfeed: the folder for sockets has too long a name\n", stderr);
		return STATUS_FAILED;
	}
	if (folder_make(folder, true, &why)) {
		fprintf(stderr, "ringfeed: %s\n", why.text);
		return STATUS_FAILED;
	}
	*slash = 0;
	n = snprintf(c->socket, sizeof(c->socket), "%s/" PREFIX "%016llx.sock", folder,
		     (unsigned long long)name_of(config));
	if (n >= (int)sizeof(c->socket) - 8) {
		fprintf(stderr, "ringfeed: %s: too long for a socket\n", c->socket);
		return STATUS_FAILED;
	}
	snprintf(c->log, sizeof(c->log), "%.*s.log", n - 5, c->socket);
	return STATUS_DONE;
}

static void unlock_file(int fd, const char *path)
{
	unlink(path);
	close(fd);
}

static bool answers(const char *socket_path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool is_there;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", socket_path);
	is_there = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
	if (fd >= 0)
		close(fd);
	return is_there;
}

/* Removes what a daemon left that was killed. stem: its path without an ending. */
static void sweep_one(const char *stem)
{
	static const char *const endings[] = {".sock", ".log"};
	char path[420];
	struct stat st;
	int lock;

	snprintf(path, sizeof(path), "%s.log", stem);
	if (stat(path, &st) < 0 || time(NULL) - st.st_mtime < STALE_SECONDS)
		return;
	snprintf(path, sizeof(path), "%s.sock.lock", stem);
	if (file_lock(path, false, &lock))
		return;
	for (unsigned i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		char file[420];

		snprintf(file, sizeof(file), "%s%s", stem, endings[i]);
		unlink(file);
	}
	unlock_file(lock, path);
}

/* Every private daemon has a log, so logs are what is looked for. mine is left alone. */
static void sweep(const struct companion *mine)
{
	char folder[sizeof(mine->socket)], stem[400];
	DIR *d;

	snprintf(folder, sizeof(folder), "%s", mine->socket);
	*strrchr(folder, '/') = 0;
	d = opendir(folder);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		const size_t n = strlen(e->d_name);

		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0 || n < 5 ||
		    strcmp(e->d_name + n - 4, ".log") != 0)
			continue;
		snprintf(stem, sizeof(stem), "%s/%.*s", folder, (int)(n - 4), e->d_name);
		if (strncmp(stem, mine->log, strlen(stem)) != 0)
			sweep_one(stem);
	}
	if (d)
		closedir(d);
}

/* The last lines of the log from `from` on, on stderr. */
static void quote_log(const struct companion *c, long from)
{
	char text[4096];
	FILE *f = fopen(c->log, "re");
	size_t n, at, n_lines = 0;

	if (!f)
		return;
	fseek(f, 0, SEEK_END);
	if (ftell(f) - from > (long)sizeof(text))
		from = ftell(f) - (long)sizeof(text);
	fseek(f, from, SEEK_SET);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	for (at = n; at > 0; at--)
		if (text[at - 1] == '\n' && at != n && ++n_lines == TAIL_LINES)
			break;
	fwrite(text + at, 1, n - at, stderr);
}

/* In the daemon to be: nothing of the trainer's stays but the environment and the folder. */
static _Noreturn void be_daemon(const struct config *config, const struct companion *c, int log, int ready)
{
	const struct serve_options how = {.socket = c->socket, .ready_fd = 3, .idle_ns = IDLE_NS};
	const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;
	int status;

	setsid();
	if (fork() != 0)
		_exit(0); /* whoever runs this command need not wait for the daemon */
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log = fcntl(log, F_DUPFD_CLOEXEC, 10);
	ready = fcntl(ready, F_DUPFD_CLOEXEC, 10);
	if (nothing < 0 || log < 0 || ready < 0 || dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
	    dup3(ready, 3, O_CLOEXEC) < 0)
		_exit(STATUS_FAILED);
	syscall(SYS_close_range, 4, ~0u, 0);
	status = serve_status(config, &how);
	if (status == STATUS_DONE)
		unlink(c->log);
	_exit(status);
}

/* The caller holds the start lock. */
static int start(const struct config *config, const struct companion *c)
{
	int log = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600), ready[2];
	struct stat st;
	char byte = 0;
	pid_t child;

	if (log < 0 || fstat(log, &st) < 0 || pipe2(ready, O_CLOEXEC) < 0) {
		fprintf(stderr, "ringfeed: %s: %s\n", c->log, strerror(errno));
		return STATUS_FAILED;
	}
	if (st.st_size > LOG_MAX && ftruncate(log, 0) == 0)
		st.st_size = 0;
	child = fork();
	if (child == 0)
		be_daemon(config, c, log, ready[1]);
	close(ready[1]);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	while (child > 0 && read(ready[0], &byte, 1) < 0 && errno == EINTR)
		;
	close(ready[0]);
	close(log);
	if (byte == 'R')
		return STATUS_DONE;
	if (child < 0)
		fprintf(stderr, "ringfeed: the daemon cannot be started: %s\n", strerror(errno));
	quote_log(c, (long)st.st_size);
	unlink(c->log);
	return STATUS_CONFIG; /* all it refuses before it is ready is of that kind */
}

int companion_ensure(const struct config *config, struct companion *ret)
{
	int status = choose_paths(config, ret), lock, r;
	char path[sizeof(ret->socket) + 8];

	if (status != STATUS_DONE)
		return status;
	snprintf(path, sizeof(path), "%s.start", ret->socket);
	r = file_lock(path, true, &lock);
	if (r) {
		fprintf(stderr, "ringfeed: %s: %s\n", path, strerror(-r));
		return STATUS_FAILED;
	}
	if (!answers(ret->socket)) {
		sweep(ret);
		status = start(config, ret);
	}
	unlock_file(lock, path);
	return status;
}
