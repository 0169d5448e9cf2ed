/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Numbers as the configuration writes them: decimal, without signs, zeros in front or anything behind,
 * with the unit that the key's type asks for. false: it is not that.
 *
 * Threads: any. Relies on the C locale, which ringfeed never leaves.
 */
#ifndef CONFIG_NUMBER_H
#define CONFIG_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

bool number_count(const char *text, uint64_t *ret);
bool number_size(const char *text, uint64_t *ret_bytes);
bool number_time(const char *text, uint64_t *ret_ns);
bool number_share(const char *text, double *ret); /* "0.1%" is 0.001 */
bool number_real(const char *text, double *ret);  /* may begin with a minus; always finite */

#endif
