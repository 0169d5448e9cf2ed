/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One buffer, one write per line, so that lines of several processes never mix.
 *
 * Whoever reads stderr must not be able to stop the trainers by reading no more: a line that would have to wait for
 * room in a pipe, a socket or a terminal is lost, and the next one that gets through is told how many were. stderr's
 * flags are shared with other programs, so it stays blocking and each write says for itself that it does not wait.
 */
#include "base/log.h"

#include "base/reason.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static const char *const topics[] = {
#define TOPIC(name, what) #name,
#include "base/topics.def"
#undef TOPIC
};
static struct log_levels current = {{[0 ... LOG_TOPICS - 1] = LOG_INFO}};
static _Atomic unsigned n_lost; /* lines, since the last one that got through */
static _Atomic bool is_cut;	/* the last one did not get through whole */

void log_set_levels(const struct log_levels *levels)
{
	current = *levels;
}

const char *log_topic_name(unsigned i)
{
	return i < LOG_TOPICS ? topics[i] : NULL;
}

static bool is_wanted(enum log_level level, const char *topic)
{
	unsigned i = 0;

	while (i < LOG_TOPICS - 1 && strcmp(topics[i], topic) != 0)
		i++;
	return (unsigned)level <= current.least[i];
}

/* A terminal knows no write that does not wait; its device, opened anew, has flags of its own. It stays open, for later a
 * process may open it no more (src/sandbox); in a child that has closed it, its number may be another file's. */
static ssize_t write_terminal(const struct stat *stderr_st, const char *line, size_t n)
{
	static int terminal = -1;
	struct stat st;

	if (terminal < 0)
		terminal = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0 || fstat(terminal, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != stderr_st->st_rdev)
		return write(STDERR_FILENO, line, n);
	return write(terminal, line, n);
}

/* Before Linux 6.4 a pipe knows none either: then poll alone says that there is room for a line. */
static ssize_t write_now(const char *line, size_t n)
{
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
	const struct iovec all = {(char *)line, n};
	struct stat st;
	ssize_t done;

	if (fstat(STDERR_FILENO, &st) < 0 || S_ISREG(st.st_mode))
		return write(STDERR_FILENO, line, n);
	if (poll(&room, 1, 0) == 0)
		return 0;
	if (S_ISCHR(st.st_mode))
		return write_terminal(&st, line, n);
	done = pwritev2(STDERR_FILENO, &all, 1, -1, RWF_NOWAIT);
	if (done < 0 && errno != EAGAIN && errno != EPIPE)
		done = write(STDERR_FILENO, line, n);
	return done;
}

/* false: there is no room for it. */
static bool put(const char *line, size_t n)
{
	ssize_t done;

	if (atomic_load(&is_cut) && write_now("\n", 1) != 1)
		return false;
	done = write_now(line, n);
	atomic_store(&is_cut, done > 0 && (size_t)done < n);
	return done == (ssize_t)n || (done < 0 && errno != EAGAIN); /* an error: there is nobody to tell */
}

/* What goes before the next line, in the same write. Its length. */
static int print_lost(unsigned n, char *ret, size_t n_ret)
{
	if (n == 0)
		return 0;
	return snprintf(ret, n_ret, "ringfeed: warn: serve: %u line%s of this log %s lost here: nobody read %s\n", n,
			n == 1 ? "" : "s", n == 1 ? "was" : "were", n == 1 ? "it" : "them");
}

void log_line(enum log_level level, const char *topic, const char *format, ...)
{
	char text[1400], *line;
	const size_t n_line = 1200;
	unsigned n_before;
	va_list args;
	int n;

	if (!is_wanted(level, topic))
		return;
	n_before = atomic_exchange(&n_lost, 0);
	line = text + print_lost(n_before, text, sizeof(text) - n_line);
	n = snprintf(line, n_line, "ringfeed: %s: %s: ", names[level], topic);
	va_start(args, format);
	n += vsnprintf(line + n, n_line - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)n_line - 2)
		n = (int)n_line - 2;
	reason_clean(line);
	line[n++] = '\n';
	if (!put(text, (size_t)(line - text + n)))
		atomic_fetch_add(&n_lost, n_before + 1);
}
