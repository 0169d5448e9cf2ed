/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Makes one call fail, by LD_PRELOAD: at the first time that a chosen call site is reached, once or from then on every
 * call of that function in processes of that role.
 *
 * A call site is the function called, the role of the process (0 as started, 1 its child, 2 that one's child: the
 * daemon's core, clean parent and workers) and the two innermost return addresses in the program that is tested.
 *
 *   SWEEP_PROGRAM  the end of the path of the binary whose call sites count
 *   SWEEP_TOLD     a file of 1 MiB into whose memory what happens is written, a line each: "site role function key
 *                  address,address" for each site that is reached, "failed" when one was made to fail
 *   SWEEP_FAIL     "role key once" or "role key forever": the site that fails; without it sites are listed
 *
 * Threads: any. What is shared by all processes is mapped before the first fork: a worker may open and write nothing,
 * and a call of this library that it may not make would be its end.
 */
#undef _FILE_OFFSET_BITS /* open and open64 are two functions here */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FRAMES = 24, OURS = 2, SEEN_MAX = 16384, TOLD_BYTES = 1 << 20 };

static struct {
	_Atomic int has_fired;
	_Atomic(const char *) function; /* its name's address is the same after a fork */
	_Atomic uint64_t seen[SEEN_MAX];
} *shared;

static uintptr_t ours_from, ours_to; /* the program's mapped addresses */
static struct {
	_Atomic size_t n;
	char lines[TOLD_BYTES - sizeof(size_t)];
} *told;
static uint64_t wanted;
static int wanted_role = -1, role;
static bool is_listing, is_forever;
static _Thread_local int depth; /* backtrace() itself allocates */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t to, size_t n);

static int find_program(struct dl_phdr_info *info, size_t n, void *end)
{
	char path[PATH_MAX];

	if (!realpath(*info->dlpi_name ? info->dlpi_name : "/proc/self/exe", path) || strlen(path) < strlen(end) ||
	    strcmp(path + strlen(path) - strlen(end), end) != 0)
		return 0;
	ours_from = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			ours_to = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	return 1;
}

/* The file at that path as memory; NULL: not to be had. */
static void *mapped(const char *path)
{
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	void *ret;

	if (fd < 0)
		return NULL;
	ret = (void *)syscall(SYS_mmap, NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	return ret == MAP_FAILED ? NULL : ret;
}

static void begin_child(void)
{
	role++;
}

__attribute__((constructor)) static void begin(void)
{
	const char *fail = getenv("SWEEP_FAIL"), *program = getenv("SWEEP_PROGRAM");
	char how[16] = "";
	unsigned long long key;
	void *frames[2];

	depth++;
	backtrace(frames, 2); /* loads the unwinder */
	shared = (void *)syscall(SYS_mmap, NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	told = mapped(getenv("SWEEP_TOLD"));
	if (program && shared != MAP_FAILED && told && dl_iterate_phdr(find_program, (void *)program)) {
		is_listing = !fail;
		if (fail && sscanf(fail, "%d %llx %15s", &wanted_role, &key, how) == 3) {
			wanted = key;
			is_forever = strcmp(how, "forever") == 0;
		}
	}
	pthread_atfork(NULL, NULL, begin_child);
	unsetenv("LD_PRELOAD");
	depth--;
}

/* true: nobody has seen it before. */
static bool is_new(uint64_t key)
{
	for (unsigned i = 0; i < SEEN_MAX; i++) {
		uint64_t *at = (uint64_t *)&shared->seen[(key + i) % SEEN_MAX], none = 0;

		if (__atomic_compare_exchange_n(at, &none, key, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
		if (none == key)
			return false;
	}
	return false;
}

static void tell(const char *line)
{
	size_t n = strlen(line), at = atomic_fetch_add(&told->n, n);

	if (at + n > sizeof(told->lines))
		abort();
	memcpy(told->lines + at, line, n);
}

/* The key of the site that called, and its addresses; 0: not of this program. */
static uint64_t site(const char *function, uintptr_t *ret_at)
{
	uint64_t key = 0xcbf29ce484222325u;
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES), n_ours = 0;

	for (const char *c = function; *c; c++)
		key = (key ^ (unsigned char)*c) * 0x100000001b3u;
	key = (key ^ (unsigned)role) * 0x100000001b3u;
	for (int i = 0; i < n && n_ours < OURS; i++) {
		uintptr_t at = (uintptr_t)frames[i];

		if (at <= ours_from || at >= ours_to)
			continue;
		ret_at[n_ours++] = at - ours_from;
		for (unsigned b = 0; b < 64; b += 8)
			key = (key ^ ((at - ours_from) >> b & 255)) * 0x100000001b3u;
	}
	return n_ours ? key : 0;
}

/* Shall this call fail? errno is untouched else. */
static bool fails(const char *function, int error)
{
	int before = errno;
	uintptr_t at[OURS] = {0};
	bool is_hit = false;
	uint64_t key;
	char line[200];

	if (depth || !ours_to || (!is_listing && role != wanted_role) || (shared->has_fired && !is_forever))
		return false;
	depth++;
	if (shared->has_fired) {
		const char *chosen = atomic_load(&shared->function);

		is_hit = chosen && strcmp(chosen, function) == 0 && site(function, at);
	} else if ((key = site(function, at)) != 0) {
		if (is_listing && is_new(key)) {
			snprintf(line, sizeof(line), "site %d %s %016llx %lx,%lx\n", role, function, (unsigned long long)key,
				 (unsigned long)at[0], (unsigned long)at[1]);
			tell(line);
		}
		if (key == wanted && role == wanted_role && atomic_exchange(&shared->has_fired, 1) == 0) {
			atomic_store(&shared->function, function);
			tell("failed\n");
			is_hit = true;
		}
	}
	depth--;
	errno = is_hit ? error : before;
	return is_hit;
}

static void *real(const char *name)
{
	void *found;

	depth++;
	found = dlsym(RTLD_NEXT, name);
	depth--;
	if (!found)
		abort();
	return found;
}

/* The headers declare some of these with attributes that a definition need not repeat. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#endif
#pragma GCC visibility push(default)

/* An eventfd or a signalfd does not fail. */
static bool is_file(int fd)
{
	struct stat st;

	return syscall(SYS_fstat, fd, &st) == 0 && (st.st_mode & S_IFMT) != 0;
}

ssize_t read(int fd, void *into, size_t n)
{
	static ssize_t (*next)(int, void *, size_t);

	if (is_file(fd) && fails("read", EIO))
		return -1;
	if (!next)
		next = (ssize_t (*)(int, void *, size_t))real("read");
	return next(fd, into, n);
}

#define CALL(type, name, failure, error, parameters, arguments) \
	type name parameters \
	{ \
		static type (*next) parameters; \
		if (fails(#name, error)) \
			return failure; \
		if (!next) \
			next = (type (*) parameters)real(#name); \
		return next arguments; \
	}
#include "calls.def"
#undef CALL

void *malloc(size_t n)
{
	return fails("malloc", ENOMEM) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails("calloc", ENOMEM) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails("realloc", ENOMEM) ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t to, size_t n)
{
	return fails("aligned_alloc", ENOMEM) ? NULL : __libc_memalign(to, n);
}

int posix_memalign(void **ret, size_t to, size_t n)
{
	void *p = fails("posix_memalign", ENOMEM) ? NULL : __libc_memalign(to, n);

	if (p)
		*ret = p;
	return p ? 0 : ENOMEM;
}

int pthread_create(pthread_t *ret, const pthread_attr_t *a, void *(*run)(void *), void *data)
{
	static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (fails("pthread_create", EAGAIN))
		return EAGAIN;
	if (!next)
		next = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))real("pthread_create");
	return next(ret, a, run, data);
}

pid_t fork(void)
{
	static pid_t (*next)(void);

	if (fails("fork", EAGAIN))
		return -1;
	if (!next)
		next = (pid_t (*)(void))real("fork");
	return next();
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
	long r = syscall(SYS_openat, folder, path, flags, mode);

	return (int)r;
}

#define OPENS(name, what, folder, ...) \
	int name(__VA_ARGS__ const char *path, int flags, ...) \
	{ \
		va_list args; \
		mode_t mode; \
		va_start(args, flags); \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
		va_end(args); \
		return fails(what, EMFILE) ? -1 : open_at(folder, path, flags, mode); \
	}
OPENS(open, "open", AT_FDCWD, )
OPENS(open64, "open", AT_FDCWD, )
OPENS(openat, "openat", at, int at, )
OPENS(openat64, "openat", at, int at, )

#define CONTROLS(name) \
	int name(int fd, int command, ...) \
	{ \
		static int (*next)(int, int, ...); \
		va_list args; \
		void *argument; \
		va_start(args, command); \
		argument = va_arg(args, void *); \
		va_end(args); \
		if (fails("fcntl", EBUSY)) \
			return -1; \
		if (!next) \
			next = (int (*)(int, int, ...))real("fcntl64"); \
		return next(fd, command, argument); \
	}
CONTROLS(fcntl)
CONTROLS(fcntl64)
