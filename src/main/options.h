/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The bits by which commands.def names options. Threads: any. */
#ifndef MAIN_OPTIONS_H
#define MAIN_OPTIONS_H

enum option_place {
#define OPTION(member, ...) OPTION_PLACE_##member,
#include "main/options.def"
#undef OPTION
};

enum option_bit {
#define OPTION(member, ...) OPT_##member = 1 << OPTION_PLACE_##member,
#include "main/options.def"
#undef OPTION
	OPTS_CONFIG = OPT_config | OPT_sets,
};

#endif
