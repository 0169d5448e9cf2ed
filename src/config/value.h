/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One value: from its node to its member, by the type in its row. What is wrong is reported with what
 * would be accepted, and the member is left alone.
 *
 * Threads: one.
 */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/keys.h"
#include "config/report.h"
#include "config/tree.h"

/* base: the struct of the key's scope. environment: for ${NAME}, as environ. */
void value_read(struct report *r, const struct key *k, const struct node *n, void *base,
		char *const *environment);

/* The value of NAME in an environment; NULL when it is not there. */
const char *environment_value(char *const *environment, const char *name, size_t n_name);

#endif
