/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The allocations of a test: counted, and one of them fails. Who writes behind one is ended when it is freed. The linker
 * puts these before libc's calloc and free (--wrap), in the test and in all of ringfeed that it is linked with. */
#ifndef TESTS_COUNTED_H
#define TESTS_COUNTED_H

#include <stddef.h>

extern struct counted {
	unsigned n_callocs, failing; /* failing: which one, from 1 on; 0: none */
	int n_live;
	size_t n_bytes; /* asked for, ever */
} counted;

/* From now on; which_fails as above. */
void counted_begin(unsigned which_fails);

#endif
