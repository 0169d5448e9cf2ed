/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * without-uring CALL ERRNO CMD...: runs CMD under a seccomp filter that answers ERRNO (a number) to
 * CALL (setup, enter or register of io_uring), as containers do.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char *const names[] = {"setup", "enter", "register"};
	unsigned long number = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	unsigned call = 0;

	while (argc > 3 && call < 3 && strcmp(argv[1], names[call]) != 0)
		call++;
	if (argc < 4 || call == 3 || number == 0 || number > 4095) {
		fprintf(stderr, "usage: without-uring setup|enter|register ERRNO CMD...\n");
		return 2;
	}
	struct sock_filter lines[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup + call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)number),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = {.len = 4, .filter = lines};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0) {
		fprintf(stderr, "without-uring: seccomp: %s\n", strerror(errno));
		return 77;
	}
	execvp(argv[3], argv + 3);
	fprintf(stderr, "without-uring: %s: %s\n", argv[3], strerror(errno));
	return 127;
}
