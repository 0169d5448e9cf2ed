/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* In front of every file of a build that counts which lines are reached (tests/builds.py): a process that ends by
 * _exit() writes its counts, too. No header is included, so that no file sees more than it asked for. */
#define _exit count_and_exit

/* Weak: programs are linked without it while the build is set up. */
void __gcov_dump(void) __attribute__((weak));
void _Exit(int status) __attribute__((noreturn));
void count_and_exit(int status) __attribute__((weak, noreturn));

void count_and_exit(int status)
{
	if (__gcov_dump)
		__gcov_dump();
	_Exit(status);
}
