/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the tests of the configuration share: a smallest config, and reading text as "f.yaml". */
#ifndef TESTS_CONFIG_READ_H
#define TESTS_CONFIG_READ_H

#include "config/config.h"

#include <string.h>

/* Lines 1 to 7; a feed's keys can follow with four blanks before them. */
#define SMALLEST                                                                                   \
	"feeds:\n"                                                                                 \
	"  train:\n"                                                                               \
	"    source: {format: webdataset, shards: a.tar}\n"                                        \
	"    batch: {size: 8}\n"                                                                   \
	"    fields:\n"                                                                            \
	"      label: {from: cls, decode: integer}\n"

static inline int read_text(const char *text, const char *const *sets, size_t n_sets, char *const *environment,
			    struct config **ret, struct config_faults *ret_faults)
{
	const struct config_source source = {.name = "f.yaml",
					     .text = text,
					     .n_text = strlen(text),
					     .sets = sets,
					     .n_sets = n_sets,
					     .environment = environment};

	return config_read(&source, ret, ret_faults);
}

#endif
