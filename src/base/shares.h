/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Weights -> whole shares of a block of positions, as proto/order.md ("Mixing sources by weight") has it. Here
 * because the configuration refuses by it and the order goes by it.
 *
 * Threads: any; no state.
 */
#ifndef BASE_SHARES_H
#define BASE_SHARES_H

#include <stddef.h>
#include <stdint.h>

enum { SHARES_ALL = 1024 }; /* M: what the shares make together, so the most sources with one each */

/* n weights, finite and above 0, whose sum is finite; 1 <= n <= SHARES_ALL. A share may be 0. */
void shares_make(const double *weights, size_t n, uint32_t *ret_shares);

#endif
