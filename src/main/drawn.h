/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the transforms of a sample drew, recomputed from the position and the headers of its images; nothing is
 * decoded. Threads: one caller.
 */
#ifndef MAIN_DRAWN_H
#define MAIN_DRAWN_H

#include "config/config.h"
#include "main/member.h"

#include <jansson.h>

enum { DRAWN_MAX = 4096 };

struct drawn {
	const struct config_feed *feed;
	struct members members;
};

/* Both are borrowed. */
void drawn_init(struct drawn *d, const struct config_feed *feed, const struct samples *samples);
void drawn_deinit(struct drawn *d);
/* "image/0=random_resized_crop(top=41,left=245,height=179,width=202)" and so on, with tabs between them; "" where nothing
 * was drawn. A shard that cannot be read is told on stderr. */
void drawn_text(struct drawn *d, uint64_t epoch, uint64_t position, uint64_t sample, char text[DRAWN_MAX]);
/* The same as a list of strings. */
json_t *drawn_json(const char *text);

#endif
