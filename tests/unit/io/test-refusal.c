/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * io_uring refused, as containers, sysctls and limits refuse it: `auto` reads on with threads and
 * says who refused and what to do. Runs itself under tests/without-uring with the word "probe".
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/backend.h"
#include "io/file.h"

static const char *launcher, *self;

/* Prints what io_engine_new said and made, and whether this program's first bytes could be read. */
static int probe(enum io_kind kind)
{
	struct io_engine *e = NULL;
	struct io_done done = {0};
	struct reason why;
	struct io_file f;
	char head[4] = "";
	int r = io_engine_new(kind, 4, NULL, &e, &why);

	if (r == 0 && io_file_open(self, false, &f) == 0) {
		struct pollfd p = {.fd = io_engine_fd(e), .events = POLLIN};

		io_engine_submit(
			e, &(struct io_request){.id = 1, .fd = f.fd, .n_bytes = 4, .into = head});
		io_engine_flush(e);
		while (poll(&p, 1, 20000) == 1 && io_engine_reap(e, &done, 1) == 0)
			;
		io_file_close(&f);
	}
	printf("%d %d %d %s\n", r, r == 0 ? (int)io_engine_kind(e) : -1,
	       done.n_bytes == 4 && memcmp(head, "\177ELF", 4) == 0, why.text);
	io_engine_free(e);
	return 0;
}

static void under(const char *call, int error, const char *kind, int want_r, bool want_threads,
		  const char *want_text)
{
	int r = 1, made = 0, is_read = 0, n = 0;
	char command[1024], line[1024] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "'%s' %s %d '%s' '%s' probe %s", launcher, call, error,
		 self, launcher, kind);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	assert_non_null(fgets(line, sizeof(line), pipe));
	assert_int_equal(pclose(pipe), 0);
	assert_int_equal(sscanf(line, "%d %d %d %n", &r, &made, &is_read, &n), 3);
	assert_int_equal(r, want_r);
	assert_int_equal(made, want_threads ? IO_THREADS : -1);
	assert_int_equal(is_read, want_threads);
	if (!strstr(line + n, want_text) || !strstr(line + n, "profile that allows io_uring_setup"))
		fail_msg("said: %s", line + n);
}

static void seccomp_refuses(void **state)
{
	under("setup", EPERM, "auto", 0, true,
	      "refused by a seccomp filter (io_uring_setup: Operation not");
	under("setup", ENOSYS, "auto", 0, true,
	      "refused by a seccomp filter (io_uring_setup: Function not");
	under("enter", EPERM, "auto", 0, true, "refused by a seccomp filter (io_uring_enter");
	under("register", EPERM, "auto", 0, true, "refused by a seccomp filter (io_uring_register");
	under("setup", EPERM, "uring", -EPERM, false,
	      "refused by a seccomp filter (io_uring_setup");
}

static void sentence(int error, int sysctl, bool is_filtered, const char *want)
{
	const struct refusal r = {"io_uring_setup", error, sysctl, is_filtered};
	struct reason why;

	refusal_tell(&r, &why);
	if (!strstr(why.text, want))
		fail_msg("%d, %d: %s", error, sysctl, why.text);
	assert_true(strlen(why.text) < sizeof(why.text) - 1);
}

static void each_has_its_sentence(void **state)
{
	sentence(EPERM, 2, true, "by sysctl kernel.io_uring_disabled = 2 (off for everyone)");
	sentence(EPERM, 1, false, "kernel.io_uring_group");
	sentence(EPERM, 0, true, "by a seccomp filter");
	sentence(EPERM, -1, true, "by a seccomp filter");
	sentence(ENOSYS, 0, true, "by a seccomp filter");
	sentence(ENOSYS, -1, false, "by the kernel");
	sentence(ENOMEM, 0, false, "by the memlock limit of");
	sentence(EMFILE, 0, false, "file descriptors");
	sentence(EINVAL, -1, false, "by the kernel");
	sentence(EOPNOTSUPP, -1, false, "Linux 5.6");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seccomp_refuses),
		cmocka_unit_test(each_has_its_sentence),
	};

	self = argv[0];
	launcher = argc > 1 ? argv[1] : "";
	if (argc == 4)
		return probe(strcmp(argv[3], "uring") == 0 ? IO_URING : IO_AUTO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
