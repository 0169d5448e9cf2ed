/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * sandboxed ROLE WALL CALL [ARGUMENT…]: enters the role's sandbox with the daemon's own functions (WALL: files,
 * calls or both) and makes one system call. Exit code: 0, or its errno; a signal is a signal. 77: the machine
 * lacks the wall. `sandboxed known CALL` tells whether this architecture has the call.
 *
 * CALL is a name, a number, abort (3) or int80 (getpid of 32-bit programs). An argument is a number, or
 * s:TEXT, channel (the worker's), other (a descriptor that is not its own), tcp (a socket), buffer, shared (memory
 * that was made read-only), self, parent, child (a process that the core may kill), port (an address).
 * WRITABLE in the environment is the folder that the core may write in.
 */
#include "sandbox/filter.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARGUMENTS = 6, BYTES = 8192 };

static struct {
	int channel, other, tcp;
	char *buffer, *shared;
	struct sockaddr_in port;
	pid_t child;
} given;

static long number_of(char *text)
{
	if (strncmp(text, "s:", 2) == 0)
		return (long)(text + 2);
	if (strcmp(text, "channel") == 0)
		return given.channel;
	if (strcmp(text, "other") == 0)
		return given.other;
	if (strcmp(text, "tcp") == 0)
		return given.tcp;
	if (strcmp(text, "buffer") == 0)
		return (long)given.buffer;
	if (strcmp(text, "shared") == 0)
		return (long)given.shared;
	if (strcmp(text, "self") == 0)
		return getpid();
	if (strcmp(text, "parent") == 0)
		return getppid();
	if (strcmp(text, "child") == 0)
		return given.child;
	if (strcmp(text, "port") == 0)
		return (long)&given.port;
	return strtol(text, NULL, 0);
}

static void prepare(void)
{
	int pair[2], life[2];
	char none;

	given.port = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(1),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || send(pair[1], "x", 1, 0) < 0 || pipe(life) < 0)
		abort();
	given.channel = pair[0];
	given.other = pair[1];
	given.tcp = socket(AF_INET, SOCK_STREAM, 0);
	given.buffer = calloc(1, BYTES);
	given.shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mprotect(given.shared, BYTES, PROT_READ);
	given.child = fork();
	if (given.child == 0) { /* ends with us: Landlock would keep a signal of our death from it */
		close(life[1]);
		_exit(read(life[0], &none, 1) != 0);
	}
}

static int enter(const char *role_name, const char *wall)
{
	const char *writable = getenv("WRITABLE");
	const struct sandbox_means means = {.is_on = true, .has_filter = strcmp(wall, "files") != 0,
					    .landlock = strcmp(wall, "calls") != 0 ? landlock_probe() : 0};
	const struct sandbox_own own = {.channel = given.channel, .child = given.child, .writable = &writable,
					.n_writable = 1};
	enum sandbox_role role = SANDBOX_CORE;
	int r;

	while (role < SANDBOX_ROLES && strcmp(sandbox_role_name(role), role_name) != 0)
		role++;
	if (role == SANDBOX_ROLES)
		return 2;
	if ((means.has_filter && filter_probe() < 0) || means.landlock < 0)
		return 77;
	r = sandbox_files(&means, role, &own);
	if (r == 0)
		r = sandbox_calls(&means, role, &own);
	return r < 0 ? 3 : 0;
}

static long call(const char *name, const long *a)
{
	int number = name[0] >= '0' && name[0] <= '9' ? (int)strtol(name, NULL, 0) : seccomp_syscall_resolve_name(name);

	if (strcmp(name, "abort") == 0)
		abort();
#ifdef __x86_64__
	if (strcmp(name, "int80") == 0) {
		long r = 20;

		__asm__ volatile("int $0x80" : "+a"(r) : : "memory");
		return r;
	}
#endif
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int main(int argc, char **argv)
{
	const struct rlimit none = {0, 0};
	long a[ARGUMENTS] = {0};
	int r;

	if (argc == 3 && strcmp(argv[1], "known") == 0)
		return seccomp_syscall_resolve_name(argv[2]) < 0;
	if (argc < 4 || argc > 4 + ARGUMENTS) {
		fputs("usage: sandboxed ROLE files|calls|both CALL [ARGUMENT...]\n", stderr);
		return 2;
	}
	setrlimit(RLIMIT_CORE, &none);
	prepare();
	for (int i = 4; i < argc; i++)
		a[i - 4] = number_of(argv[i]);
	r = enter(argv[1], argv[2]);
	if (r)
		return r;
	errno = 0;
	_exit(call(argv[3], a) < 0 ? errno : 0);
}
