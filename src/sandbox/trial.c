/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One process per role tries one thing after the other and notes in shared memory what it got; a worker is
 * killed for the first, so it takes one process for each thing. They all run at once.
 */
#include "sandbox/trial.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sanitizer.h"
#include "sandbox/filter.h"
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { C = 1 << SANDBOX_CORE, P = 1 << SANDBOX_PARENT, W = 1 << SANDBOX_WORKER };
enum verdict { NOT_TRIED, TRIED, REFUSED, LET_THROUGH };
enum { TRIALS_MAX = 16, CHANNEL = 1000 /* no descriptor of theirs */ };

/* ---- what is forbidden; each returns what the call did ---- */

static long read_file(void)
{
	return open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
}

static long write_file(void)
{
	return open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
}

static long make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long start_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long run_program(void)
{
	char nothing[] = "";
	char *const none[] = {nothing, NULL};

	return execve(nothing, none, none + 1);
}

static long trace_process(void)
{
	return ptrace(PTRACE_SEIZE, 0, NULL, NULL);
}

static long signal_parent(void)
{
	return kill(getppid(), 0);
}

static long write_other(void)
{
	return write(STDOUT_FILENO, "", 0);
}

static long make_code(void)
{
	return (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long protect_memory(void)
{
	return mprotect(NULL, 0, PROT_READ | PROT_WRITE);
}

static long raise_limit(void)
{
	const struct rlimit none = {0, 0};

	return setrlimit(RLIMIT_CORE, &none);
}

static long take_namespace(void)
{
	return unshare(0);
}

static long connect_port(void)
{
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		errno = EACCES; /* no socket, no port */
		return -1;
	}
	return connect(fd, (const struct sockaddr *)&to, sizeof(to));
}

/* by_files: Landlock forbids it from that ABI on; by_calls: which roles' filters do. */
static const struct trial {
	const char *name;
	long (*run)(void);
	unsigned by_calls, by_files;
	int abi;
} trials[] = {
	{"read a file", read_file, W, W, 1},
	{"write a file", write_file, P | W, C | W, 1},
	{"a socket", make_socket, C | P | W, 0, 0},
	{"a process", start_process, C | W, 0, 0},
	{"a program", run_program, C | P | W, 0, 0},
	{"trace", trace_process, C | P | W, 0, 0},
	{"signal its parent", signal_parent, C | P | W, W, 6},
	{"write a descriptor not its own", write_other, W, 0, 0},
	{"make code", make_code, C | P | W, 0, 0},
	{"make read bytes writable", protect_memory, W, 0, 0},
	{"raise a limit", raise_limit, C | W, 0, 0},
	{"a namespace", take_namespace, C | P | W, 0, 0},
	{"connect to a port", connect_port, 0, C | W, 4},
};

enum { TRIALS = sizeof(trials) / sizeof(trials[0]) };
_Static_assert((int)TRIALS <= (int)TRIALS_MAX, "a board holds all verdicts");

/* ---- inside a process that tries ---- */

/* Shared with those that try. */
struct board {
	int entered[SANDBOX_ROLES][2]; /* Landlock, filter: 1, or -errno */
	int files[SANDBOX_ROLES][TRIALS_MAX], calls[SANDBOX_ROLES][TRIALS_MAX];
};

static void attempt(const struct trial *t, volatile int *verdict)
{
	long r;

	*verdict = TRIED;
	errno = 0;
	r = t->run();
	*verdict = r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS) ? REFUSED : LET_THROUGH;
}

/* What a process tries once it has its filter. */
enum { ALL = -1, NOTHING = TRIALS };

/* First what Landlock alone forbids, unless this is one of many, then what the filter does. */
static void try_role(const struct sandbox_means *m, enum sandbox_role role, const struct sandbox_own *own,
		     struct board *b, int which)
{
	int r = sandbox_files(m, role, own);

	b->entered[role][0] = r < 0 ? r : 1;
	for (int i = 0; (which == ALL || which == NOTHING) && i < TRIALS; i++)
		if (trials[i].by_files & 1u << role && m->landlock >= trials[i].abi)
			attempt(&trials[i], &b->files[role][i]);
	if (r == 0) {
		r = sandbox_calls(m, role, own);
		b->entered[role][1] = r < 0 ? r : 1;
	}
	for (int i = 0; r == 0 && i < TRIALS; i++)
		if (trials[i].by_calls & 1u << role && (which == ALL || which == i))
			attempt(&trials[i], &b->calls[role][i]);
	_exit(0);
}

/* ---- outside ---- */

struct crew {
	const struct sandbox_means *means;
	struct board *board;
	struct {
		pid_t pid;
		enum sandbox_role role;
		int which;
	} list[TRIALS_MAX + SANDBOX_ROLES];
	unsigned n;
};

static int send_one(struct crew *c, enum sandbox_role role, const struct sandbox_own *own, int which)
{
	pid_t pid = fork();

	if (pid == 0)
		try_role(c->means, role, own, c->board, which);
	if (pid < 0)
		return fail(-errno);
	c->list[c->n].pid = pid;
	c->list[c->n].role = role;
	c->list[c->n++].which = which;
	return 0;
}

static int send_workers(struct crew *c)
{
	const struct sandbox_own own = {.channel = CHANNEL};
	int r = send_one(c, SANDBOX_WORKER, &own, NOTHING);

	for (int i = 0; r == 0 && i < TRIALS; i++)
		if (trials[i].by_calls & W)
			r = send_one(c, SANDBOX_WORKER, &own, i);
	return r;
}

/* Who was killed for a call has been refused it. */
static void wait_for_all(struct crew *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		int status;

		while (waitpid(c->list[i].pid, &status, 0) < 0 && errno == EINTR)
			;
		if (c->list[i].which >= 0 && c->list[i].which < TRIALS && WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGSYS)
			c->board->calls[c->list[i].role][c->list[i].which] = REFUSED;
	}
}

static void count(struct sandbox_finding *f, const char *name, int verdict)
{
	size_t n = strlen(f->let_through);

	if (verdict == NOT_TRIED)
		return;
	f->n_tried++;
	if (verdict == REFUSED)
		f->n_refused++;
	else
		snprintf(f->let_through + n, sizeof(f->let_through) - n, "%s%s", n ? ", " : "", name);
}

static void judge(const struct crew *c, enum sandbox_role role, struct sandbox_finding *ret)
{
	const int *entered = c->board->entered[role];

	for (int i = 0; i < TRIALS; i++) {
		count(ret, trials[i].name, c->board->files[role][i]);
		count(ret, trials[i].name, c->board->calls[role][i]);
	}
	if (entered[0] < 0)
		snprintf(ret->landlock_reason, sizeof(ret->landlock_reason), "%s", strerror(-entered[0]));
	if (entered[1] < 0)
		snprintf(ret->filter_reason, sizeof(ret->filter_reason), "%s", strerror(-entered[1]));
	ret->has_no_new_privs = entered[0] == 1;
	ret->landlock = entered[0] == 1 && role != SANDBOX_PARENT ? c->means->landlock : 0;
	ret->has_filter = entered[1] == 1 && c->means->has_filter;
}

/* ---- what the machine has ---- */

static const char *why_no_landlock(int error)
{
	switch (-error) {
	case EOPNOTSUPP:
		return "Landlock is built into the kernel but off: lsm= at boot does not name it";
	case ENOSYS:
		return "the kernel has no Landlock: it takes Linux 5.13, built with CONFIG_SECURITY_LANDLOCK";
	default:
		return "a seccomp filter around the daemon refuses Landlock's calls";
	}
}

static const char *why_no_filter(int error)
{
	if (error == -ENOSYS || error == -EINVAL || error == -EOPNOTSUPP)
		return "the kernel has no seccomp filters that kill: it takes Linux 4.14, built with CONFIG_SECCOMP_FILTER";
	return "a seccomp filter around the daemon refuses the call seccomp";
}

static void look(struct sandbox_report *ret)
{
	int filter = filter_probe(), landlock = landlock_probe();

	ret->means = (struct sandbox_means){.is_on = true, .has_filter = filter == 0,
					    .landlock = landlock > 0 ? landlock : 0};
	for (unsigned i = 0; i < SANDBOX_ROLES; i++) {
		struct sandbox_finding *f = &ret->roles[i];

		if (filter < 0)
			snprintf(f->filter_reason, sizeof(f->filter_reason), "%s", why_no_filter(filter));
		if (landlock <= 0)
			snprintf(f->landlock_reason, sizeof(f->landlock_reason), "%s", why_no_landlock(landlock));
	}
	snprintf(ret->roles[SANDBOX_PARENT].landlock_reason, sizeof(ret->roles[0].landlock_reason),
		 "by design: it looks up in /proc who maps a slot, which Landlock forbids");
}

static void sum_up(struct sandbox_report *r)
{
	struct sandbox_finding *worker = &r->roles[SANDBOX_WORKER];
	const char *between = "";
	char text[sizeof(r->missing.text)] = "";
	size_t n = 0;

	for (unsigned i = 0; n == 0 && i < SANDBOX_ROLES; i++)
		if (!r->roles[i].has_filter)
			n += (size_t)snprintf(text, sizeof(text), "seccomp%s%s: %s", r->means.has_filter ? " of the " : "",
					      r->means.has_filter ? sandbox_role_name(i) : "", r->roles[i].filter_reason);
	between = n ? "; " : "";
	if (!worker->landlock)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%sLandlock: %s", between, worker->landlock_reason);
	for (unsigned i = 0; i < SANDBOX_ROLES; i++) {
		between = n ? "; " : "";
		if (r->roles[i].has_filter && *r->roles[i].let_through && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%sthe %s may still: %s", between,
					      sandbox_role_name(i), r->roles[i].let_through);
	}
	reason_set(&r->missing, "%s", text);
}

void sandbox_leave_off(const char *why, struct sandbox_report *ret)
{
	*ret = (struct sandbox_report){.took_ns = 0};
	for (unsigned i = 0; i < SANDBOX_ROLES; i++) {
		snprintf(ret->roles[i].filter_reason, sizeof(ret->roles[i].filter_reason), "%s", why);
		snprintf(ret->roles[i].landlock_reason, sizeof(ret->roles[i].landlock_reason), "%s", why);
	}
	reason_set(&ret->missing, "%s", why);
}

int sandbox_try(const struct sandbox_own *core, struct sandbox_report *ret)
{
	const struct sandbox_own none = {.channel = CHANNEL};
	struct sandbox_report r = {.took_ns = 0};
	struct crew c = {.means = &r.means};
	uint64_t began = clock_ns();
	int error;

	if (HAS_SANITIZER) {
		sandbox_leave_off("this build has a sanitizer, which makes calls of its own", ret);
		return 0;
	}
	look(&r);
	c.board = mmap(NULL, sizeof(*c.board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c.board == MAP_FAILED)
		return fail(-errno);
	error = send_workers(&c);
	if (error == 0)
		error = send_one(&c, SANDBOX_PARENT, &none, ALL);
	if (error == 0)
		error = send_one(&c, SANDBOX_CORE, core, ALL);
	wait_for_all(&c);
	for (unsigned i = 0; i < SANDBOX_ROLES; i++)
		judge(&c, i, &r.roles[i]);
	munmap(c.board, sizeof(*c.board));
	sum_up(&r);
	r.took_ns = clock_ns() - began;
	*ret = r;
	return error;
}
